"""``rollout.json``: which version of a release the operator wants to serve, on every host the same document.

It is changed by compare-and-swap: who has read revision r may write r + 1 as long as it is still r. So of two people
who promote at the same moment one succeeds, and the other reads in one sentence what came first.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from export.releases.checksums import ReleaseDamaged, read_manifest
from export.releases.durable import write_whole
from export.releases.folder import agent_runs, is_live, live_version, make_live, versions

ROLLOUT = "rollout.json"
LOCK = "rollout.lock"
FORMAT = 1


class RolloutError(Exception):
    """The rollout cannot be read or changed; the message is one sentence."""


class RolloutConflictError(RolloutError):
    """Somebody else changed it first; nothing was written."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A version on trial beside the live one."""

    version: int
    mode: Literal["share", "shadow"]
    """Whether users get its pictures, or only the comparison does."""
    share: float
    """Of the jobs, 0 … 1."""
    since: str
    """ISO 8601, UTC."""
    id: str
    """Names this trial: who is in its share depends on it."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    format: int = FORMAT
    revision: int = 0
    """0 = there is no document yet."""
    live: int = 0
    """0 = none."""
    previous: int | None = None
    """What a rollback goes to."""
    withdrawn: list[int] = []
    """These get no jobs any more, whoever asks."""
    changed: str = ""
    """When the last change was made: ISO 8601, UTC."""
    by: str = ""
    """Who or what made it, in words."""
    canary: Canary | None = None


class Rollouts(Protocol):
    """A place of the document of one bundle: a folder, or an object storage."""

    def read(self) -> Rollout:
        """The document as it is. Raises RolloutError."""

    def write(self, new: Rollout, after: int) -> Rollout:
        """Write ``new`` as revision ``after`` + 1, if the place has revision ``after``; returns what was written.

        Raises RolloutConflictError when it has another one, RolloutError when it has not a version that is to go live
        or on trial, RolloutError or OSError when it cannot be written.
        """

    def follow(self) -> bool:
        """Complete a write that was stopped after the document, where there is more to it; whether there was one.

        Raises RolloutError, OSError.
        """

    def versions(self) -> list[int]:
        """Those that are there, the newest first. Raises RolloutError."""

    def first_missing(self, version: int) -> str | None:
        """A sentence about a file of ``version`` that is not there; None = all are. Reads no graph."""


class FolderRollouts:
    """The document in a release folder, such as releases/dollhouse, and its ``live``, unless an agent of this host
    writes that when it has loaded the graphs."""

    def __init__(self, release: Path) -> None:
        self._release = release

    def read(self) -> Rollout:
        """See Rollouts."""
        return read_rollout(self._release)

    def write(self, new: Rollout, after: int) -> Rollout:
        """See Rollouts."""
        with locked(self._release / LOCK):
            found = self.read()
            check_revision(found, after)
            for version in newly_served(found, new) - set(self.versions()):
                raise RolloutError(
                    f"{self._release} has no version {version}: publish or push it there first"
                )
            written = msgspec.structs.replace(new, format=FORMAT, revision=after + 1)
            write_whole(self._release / ROLLOUT, encode(written))
            self._take_live(written.live)
        return written

    def follow(self) -> bool:
        """See Rollouts."""
        with locked(self._release / LOCK):
            return self._take_live(self.read().live)

    def _take_live(self, live: int) -> bool:
        """With the lock, so that ``live`` is not older than the document; returns whether it was another one."""
        there = live in self.versions()
        if not there or agent_runs(self._release) or is_live(self._release, live):
            return False
        make_live(self._release, live)
        return True

    def versions(self) -> list[int]:
        """See Rollouts."""
        return versions(self._release)

    def first_missing(self, version: int) -> str | None:
        """See Rollouts."""
        try:
            expected = read_manifest(self._release, version)
        except ReleaseDamaged as error:
            return str(error)
        return next((f"{path} is missing" for path in expected if not (self._release / path).is_file()), None)


def read_rollout(release: Path) -> Rollout:
    """The document of a release folder; one without it wants what is live there. Raises RolloutError."""
    file = release / ROLLOUT
    try:
        return decode(file.read_bytes(), str(file))
    except FileNotFoundError:
        pass
    try:
        return Rollout(live=live_version(release))
    except ReleaseDamaged as error:
        raise RolloutError(str(error)) from error


def decode(content: bytes, name: str) -> Rollout:
    """The document from its bytes; ``name`` is what an error calls it. Raises RolloutError."""
    try:
        rollout = msgspec.json.decode(content, type=Rollout)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RolloutError(
            f"{name} cannot be read ({error}): restore it, or remove it and promote what shall be live"
        ) from error
    if rollout.format > FORMAT:
        raise RolloutError(f"{name} was written by a newer version of reroom: use that one")
    return rollout


def encode(rollout: Rollout) -> bytes:
    """The document's bytes."""
    return msgspec.json.format(msgspec.json.encode(rollout), indent=1) + b"\n"


def check_revision(found: Rollout, after: int) -> None:
    """Raises RolloutConflictError when the place has another revision than ``after``."""
    if found.revision != after:
        raise RolloutConflictError(
            f"another change came first (version {found.live} is live since {found.changed}, by {found.by}) and "
            "nothing was done: look at it, and ask again if it is still what you want"
        )


def newly_served(found: Rollout, new: Rollout) -> set[int]:
    """The versions that go live or on trial by ``new``, which takes the place of ``found``."""
    before, after = ({each.live, each.canary.version if each.canary else 0} for each in (found, new))
    return after - before - {0}


def changed(rollout: Rollout, by: str | None = None, **members: object) -> Rollout:
    """``rollout`` with these members, changed now; ``by`` None = this user on this machine."""
    return msgspec.structs.replace(rollout, changed=now(), by=by or this_user(), **members)


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def this_user() -> str:
    """Who is at work, for people."""
    return f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()}"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock ``file``, which is made; waits for it. A process that dies gives it up."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
