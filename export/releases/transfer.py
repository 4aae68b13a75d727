"""Brings versions of a release from one place to another: push (a folder → a place), fetch (a place → a host's folder).

Only what is missing travels, every file is compared with the digest that its manifest names before anybody sees it, and
a version is there whole or not at all. So both may be killed at any moment; the same call again goes on.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from export.releases.checksums import MANIFEST
from export.releases.places.folder import FolderPlace
from export.releases.places.parts import bundle_of, parts_of
from export.releases.places.port import DamagedError, Part, Place, PlaceError, UnreachableError
from export.releases.rollout import this_user

FILES_AT_ONCE = 4
FAILURES = 6
"""How often in a row a file may break off without a byte of it arriving. With the waits between that takes a minute."""
LONGEST_WAIT = 20.0
"""Seconds between two tries, at most."""

Report = Callable[[str], None]

T = TypeVar("T")


@dataclass(frozen=True)
class Moved:
    """What a transfer did."""

    version: int
    files: int
    """How many travelled; the others were there already."""
    bytes: int


def push(source: FolderPlace, place: Place, version: int, report: Report = lambda _: None) -> Moved:
    """Bring a version of a folder to ``place``, where nobody sees it until it is whole. It does not go live by that.

    Raises VersionMissingError, DamagedError when a file is not what was published, VersionTakenError when the place has
    another version of that number, UnreachableError, PlaceError, OSError.
    """
    manifest = source.manifest(version)
    parts = parts_of(manifest, version, f"{source.name}/versions/{version}/{MANIFEST}")
    for part in parts:
        if not source.has(part):
            raise DamagedError(
                f"{source.release / part.path} is not the file that was published: nothing was pushed; put it back, or "
                "export the version again under another number"
            )
    _check_same_bundle(manifest, place)
    release = (source.release / f"versions/{version}/release.json").read_bytes()
    sent: list[Part] = []
    with place.arriving() if isinstance(place, FolderPlace) else nullcontext():
        for part in parts:
            if not place.has(part):
                report(f"pushing {part.path}, {_megabytes(part.bytes)}")
                place.store(part, source.release / part.path)
                sent.append(part)
        place.commit(version, manifest, release, f"a push by {this_user()}")
    return Moved(version, len(sent), sum(part.bytes for part in sent))


def fetch(
    place: Place,
    host: FolderPlace,
    version: int,
    report: Report = lambda _: None,
    wait: Callable[[float], object] | None = None,
    by: str | None = None,
) -> Moved:
    """Bring a version of ``place`` to a host's folder, where nobody sees it until it is whole and checked.

    What is live there is not touched. A version that the folder has already is checked, and damaged files of it are
    replaced. What breaks off is continued, for about a minute without a byte; ``wait`` sleeps for seconds, and
    ``by`` is who checks it, for the record.
    Raises VersionMissingError, DamagedError when the place has other bytes than its manifest names, UnreachableError,
    PlaceBusyError while another fetch into the folder is at work and BlockingIOError while an export or a prune is,
    PlaceError, FullError when there is too little room, OSError.
    """
    tries = _Tries(report, wait)
    with host.arriving():
        manifest = tries.call(lambda: place.manifest(version))
        parts = parts_of(manifest, version, f"{place.name}/versions/{version}/{MANIFEST}")
        if (bundle := bundle_of(manifest)) != host.release.name:
            raise PlaceError(
                f"{place.name} holds versions of {bundle}: fetch them into a folder of that name, not into {host.name}"
            )
        host.check_agrees(version, manifest)
        known = host.known_files()
        # All are looked at: of two files with the same bytes one may be damaged.
        missing = [
            part
            for part in _once_each([part for part in parts if not host.has(part)])
            if not (part.sha256 in known and host.adopt(part, known[part.sha256]))
        ]
        host.check_room(missing)
        _receive(place, host, missing, tries)
        release = next(part for part in parts if part.path == f"versions/{version}/release.json")
        host.commit(version, manifest, host.content(release), by or f"a fetch from {place.name}")
    return Moved(version, len(missing), sum(part.bytes for part in missing))


def _receive(place: Place, host: FolderPlace, missing: list[Part], tries: _Tries) -> None:
    """Fetch several files at once; the first error ends all."""
    done = 0
    counting = threading.Lock()

    def receive(part: Part) -> None:
        nonlocal done
        tries.report(f"fetching {part.path}, {_megabytes(part.bytes)}")
        tries.call(lambda: host.receive(part, lambda start: tries.reading(place, part, start)))
        with counting:
            done += 1
            tries.report(f"{done} of {len(missing)} files are here")

    pool = ThreadPoolExecutor(FILES_AT_ONCE)
    try:
        for future in as_completed([pool.submit(receive, part) for part in missing]):
            future.result()
    except BaseException:
        tries.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Tries:
    """Tries again what a place did not answer, with waits that grow, as long as something arrives between."""

    def __init__(self, report: Report, wait: Callable[[float], object] | None) -> None:
        self.report, self.stop = report, threading.Event()
        self._wait = wait or self.stop.wait
        self._arrived = threading.local()

    def call(self, work: Callable[[], T]) -> T:
        failures = 0
        while True:
            self._arrived.some = False
            try:
                return work()
            except UnreachableError as error:
                failures = 1 if self._arrived.some else failures + 1
                if failures >= FAILURES or self.stop.is_set():
                    raise
                seconds = min(LONGEST_WAIT, 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)
                self.report(f"{error}; trying again in {seconds:.0f} s")
                self._wait(seconds)

    @contextmanager
    def reading(self, place: Place, part: Part, start: int) -> Iterator[Iterator[bytes]]:
        with place.read(part, start) as pieces:
            yield self._noted(pieces)

    def _noted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self.stop.is_set():
                raise UnreachableError("another file could not be fetched")
            self._arrived.some = True
            yield piece


def _check_same_bundle(manifest: bytes, place: Place) -> None:
    """Raises PlaceError when the place has versions of another bundle."""
    ours = bundle_of(manifest)
    for version in place.versions()[-1:]:
        theirs = bundle_of(place.manifest(version))
        if theirs != ours:
            raise PlaceError(
                f"{place.name} holds versions of {theirs}, and this is {ours}: give each bundle a place of its own"
            )


def _once_each(parts: list[Part]) -> list[Part]:
    """Without those whose bytes an earlier one has."""
    return list({part.sha256: part for part in reversed(parts)}.values())[::-1]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
