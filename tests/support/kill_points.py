"""A program that kills (or fills the disk of) publishing, pruning and switching at each step that touches the disk.

    python kill_points.py FOLDER kill|full STEP

For every STEP-th moment it begins with the same release folder, lets a child process die at that moment, and checks
what it left: the live version is the same and whole, every model can be loaded, and the same command completes. It
prints how many moments there were. It runs in a process of its own, because forks and audit hooks have no place in a
test's.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from export.releases import changes
from export.releases.folder import documents, live_version
from export.releases.importing import publish_copy
from export.releases.pruning import plan, prune
from export.releases.rollout import FolderRollouts, read_rollout
from export.releases.staging import staging_folder
from export.releases.verifying import unverified, verify_rest, verify_version
from tests.support.made_releases import files_of, publish_made

EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Scenario(NamedTuple):
    """What is done to a release folder whose versions are 1, 2 and 3; version 2 is live, 1 the one before."""

    run: Callable[[Path], object]
    live: set[int]
    """What may be live after it was stopped."""
    done: Callable[[Path], bool]
    """Whether it was completed."""


def _export(release: Path) -> None:
    if 4 not in documents(release):
        names = {"text_encoder": "text_encoder-4"}
        publish_made(release, 4, seed={"denoiser": 4, "text_encoder": 4}, names=names, verified=False)
    verify_version(release, 4, "a test")


def _copy(release: Path) -> None:
    publish_copy(release.parents[1] / "elsewhere" / "made", 5, release, "a test")


def _prune(release: Path) -> None:
    prune(release, plan(release, read_rollout(release), [3] if 3 in documents(release) else [], newest=9))


def _promote(release: Path) -> None:
    changes.promote(release, FolderRollouts(release), 3, "cpu")


def _roll_back(release: Path) -> None:
    # A second one in a row is refused.
    with suppress(changes.ReleaseError):
        changes.roll_back(release, FolderRollouts(release))


def _gone(release: Path) -> bool:
    places = [release / "versions/3", *release.glob("models/*/3"), *release.glob("versions/.*")]
    return not any(place.exists() for place in places)


SCENARIOS = {
    "export": Scenario(_export, {2}, lambda release: unverified(release, 4) is None),
    "copy": Scenario(_copy, {2}, lambda release: unverified(release, 5) is None),
    "prune": Scenario(_prune, {2}, _gone),
    "promote": Scenario(
        _promote, {2, 3}, lambda release: live_version(release) == read_rollout(release).live == 3
    ),
    "rollback": Scenario(_roll_back, {2, 1}, lambda release: live_version(release) == 1),
}


LONG = {"export", "copy", "prune"}


def prepare(folder: Path) -> Path:
    """The release folder that every moment begins with."""
    release = folder / "base" / "made"
    publish_made(release, 1, live=True)
    publish_made(release, 2, seed={"denoiser": 2})
    changes.promote(release, FolderRollouts(release), 2, "cpu")
    publish_made(release, 3, seed={"denoiser": 3, "depth": 3}, names={"depth": "depth-3"})
    other = folder / "elsewhere" / "made"
    shutil.copytree(release, other)
    publish_made(other, 5, seed={"denoiser": 5, "depth": 5})
    return release


class Moment:
    """Counts what touches the disk, and stops at the n-th."""

    def __init__(self, wanted: int, full: bool) -> None:
        self.count, self._wanted, self._full = 0, wanted, full

    @property
    def reached(self) -> bool:
        """Whether it came to that moment."""
        return self.count >= self._wanted

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook. What is about to be written is written by half."""
        opened = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        if event not in EVENTS and not opened and event != "flush":
            return
        self.count += 1
        if self.count != self._wanted:
            return
        if self._full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if opened and not isinstance(arguments[0], int):
            Path(os.fsdecode(arguments[0])).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def stopped(run: Callable[[Path], object], release: Path, wanted: int, full: bool) -> bool:
    """Run in a child that is stopped at a moment; whether there was such a moment."""
    child = os.fork()
    if child == 0:
        moment = Moment(wanted, full)
        os.fsync = lambda fd: moment("flush", ())
        sys.addaudithook(moment)
        try:
            run(release)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                os._exit(2)
        os._exit(0 if moment.reached else 1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0 if full else -signal.SIGKILL, 1), code
    return code != 1


def check(release: Path, scenario: Scenario) -> None:
    """What must hold after a stop, and that the same command completes."""
    live = live_version(release)
    assert live in scenario.live, live
    for version in {live} | {1, 2} & set(documents(release)):
        assert verify_version(release, version, "a test").problems == [], version
    assert verify_rest(release).problems == []
    for model in (release / "models").iterdir():
        versions = [folder for folder in model.iterdir() if folder.is_dir()]
        assert (model / "config.pbtxt").stat().st_size, model
        assert versions, model
        for folder in versions:
            assert sorted(file.name for file in folder.iterdir()) == files_of(model.name), folder
            assert all(file.stat().st_size > 4 for file in folder.iterdir()), folder
    scenario.run(release)
    assert scenario.done(release)
    for version in documents(release):
        assert verify_version(release, version, "a test").problems == [], version
    assert verify_rest(release) == type(verify_rest(release))(), verify_rest(release)
    with staging_folder(release.parent, release.name):
        pass
    assert [path.name for path in release.parent.iterdir()] == [release.name]


def main(folder: Path, mode: str, step: int) -> None:
    # A kill loses nothing that was written: a flush is a moment like others, and need not take time.
    os.fsync = lambda fd: None
    base = prepare(folder)
    for name, scenario in SCENARIOS.items():
        moments = 0
        # Switching has few moments, and each is looked at.
        for moment in count(1, step if name in LONG else 1):
            work = folder / f"{name}-{moment}"
            # Whatever wrote into a file that is there would spoil the next moments too.
            shutil.copytree(base, work / "made", copy_function=os.link)
            if not stopped(scenario.run, work / "made", moment, mode == "full"):
                assert scenario.done(work / "made")
                break
            moments += 1
            try:
                check(work / "made", scenario)
            except AssertionError as error:
                raise AssertionError(f"{name}, moment {moment}, in {work}") from error
            shutil.rmtree(work)
        print(name, moments, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
