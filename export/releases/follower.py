"""How a host learns what it shall serve, and gets it.

Every host follows the same rollout document. Where that lies in an object storage, the host keeps a copy in its own
folder: while the storage is away, and after a restart without it, the host goes on with what it knew last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from export.releases.durable import write_whole
from export.releases.places.folder import FolderPlace
from export.releases.places.opening import open_place
from export.releases.places.port import NO_DOCUMENT, Place, PlaceError
from export.releases.rollout import LOCK, ROLLOUT, Rollout, RolloutError, encode, locked, read_rollout
from export.releases.transfer import Moved, Report, fetch

TELL_SECONDS = 2.0
"""Between two things that a host tells."""

REST_SECONDS = 2.0
"""After an answer that did not come the place is not asked for so long."""


class Follower:
    """For the release folder ``release`` of this host and the place ``source`` (as of open_place) that it follows.

    ``source`` None: the folder's own document counts, and there is nowhere to fetch from. ``clock`` gives seconds;
    ``environment`` has the keys of a bucket (None = this process's environment). Raises PlaceError.
    """

    def __init__(
        self,
        release: Path,
        source: str | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._source, self._clock = FolderPlace(release), source, clock
        self._environment = environment
        self._asked: Place = open_place(source, environment, hasty=True) if source else self._host
        self._tag, self._given, self._rest_until = "", False, 0.0
        self._told, self._tell_at = b"", 0.0
        self.problem: str | None = None
        """Why the document could not be read the last time, in one sentence; None = it could."""

    def wanted(self) -> Rollout | None:
        """The document, the first time and whenever it has changed since; else None.

        Call it every half second. It takes a few milliseconds, or up to five seconds when the place does not answer;
        then it raises nothing, since the last document goes on to count.
        """
        if self._clock() < self._rest_until:
            return None
        try:
            found = self._asked.poll(self._tag)
            self.problem = None
        except (PlaceError, RolloutError, OSError) as error:
            self.problem = str(error)
            self._rest_until = self._clock() + REST_SECONDS
            return None if self._given else self._known()
        if found is None:
            return None
        rollout, self._tag = found
        if not self._source:
            self._given = True
            return rollout
        if self._tag == NO_DOCUMENT:
            return None if self._given else self._known()
        self._given = True
        self._keep(rollout)
        return rollout

    def fetch(self, version: int, report: Report = lambda _: None) -> Moved:
        """Bring a version to this host's folder, whole and checked: see :func:`export.releases.transfer.fetch`.

        It may take minutes, so call it in a thread; `wanted` may be called meanwhile. Without a source it raises
        PlaceError when the version is not in the folder.
        """
        if self._source:
            return fetch(open_place(self._source, self._environment), self._host, version, report)
        if version not in self._host.versions():
            raise PlaceError(
                f"{self._host.name} has no version {version}, and no place is named to fetch it from"
            )
        return Moved(version, 0, 0)

    def tell(self, host: str, document: bytes) -> None:
        """Leave a host's host.json where operators look for it, in the place that is followed. Nothing is raised: what
        could not be told, or was told in the same second, is told by the next call."""
        if self._source and document != self._told and self._clock() >= self._tell_at:
            # R2 takes one write a second to a key.
            self._tell_at = self._clock() + TELL_SECONDS
            with suppress(PlaceError, OSError):
                self._asked.tell(host, document)
                self._told = document

    def _known(self) -> Rollout | None:
        """What this host knew last; asked once."""
        try:
            known = read_rollout(self._host.release)
        except (RolloutError, OSError) as error:
            self.problem = self.problem or str(error)
            return None
        self._given = True
        return known

    def _keep(self, rollout: Rollout) -> None:
        folder = self._host.release
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / LOCK):
                write_whole(folder / ROLLOUT, encode(rollout))
        except OSError as error:
            # It counts all the same, only not after a restart without the storage.
            self.problem = f"{folder / ROLLOUT} cannot be written: {error.strerror}"
