"""Where an agent learns what shall be live, and gets it from."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from export.releases.durable import write_whole
from export.releases.follower import Follower
from export.releases.places.folder import FULL
from export.releases.places.port import HOSTS, PlaceBusyError, PlaceError, UnreachableError
from export.releases.rollout import Rollout, RolloutError, read_rollout
from export.releases.served import follow_folder

POLL_SECONDS = 0.5
"""How often an object storage is asked."""

BUSY_SECONDS, FULL_SECONDS = 2.0, 60.0
"""How long a version waits that could not be brought: where somebody does not answer or is at work, and where the disk
is full, on which each try may fetch gigabytes before it fails."""


class Source(Protocol):
    """A folder, or an object storage."""

    def rollout(self) -> Rollout:
        """The document as it is; cheap enough for ten calls a second. Raises RolloutError, OSError."""

    def bring(self, version: int) -> None:
        """Make ``version`` lie whole in the host's folder. Raises SourceError."""

    def tell(self, name: str, document: bytes) -> None:
        """Leave a host's ``host.json`` where operators look for it. Raises nothing."""

    def forget(self, name: str) -> None:
        """Take it away, when the host serves no more. Raises nothing."""


class SourceError(Exception):
    """A version cannot be brought here; the message is one sentence. ``retry_after``: seconds after which the same call
    may succeed; None = nothing but another rollout helps."""

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class FolderSource:
    """A release folder, the host's own or one that it follows."""

    def __init__(self, folder: Path, *, shared: bool) -> None:
        self.folder, self._shared = folder, shared

    def rollout(self) -> Rollout:
        """See Source."""
        return read_rollout(self.folder)

    def bring(self, version: int) -> None:
        """See Source. The host's folder has links to this one."""
        if not (self.folder / "versions" / str(version) / "release.json").is_file():
            raise SourceError(f"there is no version {version} in {self.folder}")

    def tell(self, name: str, document: bytes) -> None:
        """See Source. Into the host's own folder the agent writes itself."""
        if self._shared:
            # A folder of an image cannot be written.
            with suppress(OSError):
                (self.folder / HOSTS).mkdir(exist_ok=True)
                write_whole(self.folder / HOSTS / f"{name}.json", document)

    def forget(self, name: str) -> None:
        """See Source."""
        if self._shared:
            with suppress(OSError):
                (self.folder / HOSTS / f"{name}.json").unlink()


class PlaceSource:
    """An object storage, from which the host's folder ``release`` gets its versions; ``name`` is its address."""

    def __init__(self, release: Path, name: str, report: Callable[[str], None]) -> None:
        """Raises PlaceError."""
        self._follower, self._report = Follower(release, name), report
        self._last = Rollout()
        self._asked_at = -POLL_SECONDS

    def rollout(self) -> Rollout:
        """See Source. Asks the storage every half second."""
        now = time.monotonic()
        if now - self._asked_at >= POLL_SECONDS:
            self._last = self._follower.wanted() or self._last
            self._asked_at = time.monotonic()
        if not self._last.revision and not self._last.live:
            raise RolloutError(self._follower.problem or "nothing was promoted there yet")
        return self._last

    def bring(self, version: int) -> None:
        """See Source."""
        try:
            self._follower.fetch(version, self._report)
        except (PlaceError, OSError) as error:
            raise SourceError(str(error), retry_after=_retry_after(error)) from error

    def tell(self, name: str, document: bytes) -> None:
        """See Source."""
        self._follower.tell(name, document)

    def forget(self, name: str) -> None:
        """See Source. It stays there: its member ``at`` says how old it is."""


def _retry_after(error: PlaceError | OSError) -> float | None:
    """See SourceError."""
    match error:
        case UnreachableError() | PlaceBusyError() | BlockingIOError():
            return BUSY_SECONDS
        case OSError(errno=number) if number in FULL:
            return FULL_SECONDS
    return None


def open_source(release: Path, source: str | None, report: Callable[[str], None]) -> Source:
    """What the agent of the folder ``release`` follows; ``source``: a folder, an object storage's address, or None =
    ``release`` itself. Raises PlaceError, ServedError, ReleaseDamaged, OSError."""
    if source is None:
        return FolderSource(release, shared=False)
    if "://" in source:
        release.mkdir(parents=True, exist_ok=True)
        return PlaceSource(release, source, report)
    follow_folder(release, Path(source))
    return FolderSource(Path(source), shared=True)
