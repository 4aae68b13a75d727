"""A release folder as a place of releases: a host's own, into which versions are fetched, or one that hosts share.

What arrives is kept beside the release folder, named by its digest, until a version is complete; a fetch that was
interrupted finds it there and goes on. Then the version is published as an export publishes one
(:func:`export.releases.publishing.publish`), so that at every moment the folder works.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from export.releases.checksums import MANIFEST, ReleaseDamaged, read_manifest, sha256, write_checked
from export.releases.device import this_device
from export.releases.durable import flush_folder, move, write_whole
from export.releases.folder import named_places, version_folder, versions
from export.releases.places.parts import parts_of
from export.releases.places.port import (
    HOSTS,
    NO_DOCUMENT,
    DamagedError,
    Part,
    PlaceBusyError,
    PlaceError,
    VersionMissingError,
    VersionTakenError,
)
from export.releases.publishing import publish
from export.releases.rollout import ROLLOUT, FolderRollouts, Rollout, decode, read_rollout
from export.releases.staging import staging_folder
from export.releases.verifying import has_manifest

PIECE_BYTES = 1024 * 1024
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of errors that mean that no more can be written."""

SPARE_BYTES = 100_000_000
"""What must stay free beyond what arrives."""


class FullError(OSError):
    """The disk is full, or would be, and nothing of what had arrived was kept; the message is one sentence."""

    def __str__(self) -> str:
        return str(self.strerror)


Reading = Callable[[int], AbstractContextManager[Iterator[bytes]]]
"""Opens a part's bytes from a number of them on."""


class FolderPlace:
    """The release folder ``release``, such as releases/dollhouse; it need not exist."""

    def __init__(self, release: Path) -> None:
        self.name, self.release = str(release), release
        self._incoming = release.parent / f".{release.name}.incoming"

    @property
    def rollouts(self) -> FolderRollouts:
        """See Place."""
        return FolderRollouts(self.release)

    def poll(self, tag: str) -> tuple[Rollout, str] | None:
        """See Place."""
        file = self.release / ROLLOUT
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            # Then what is live here counts.
            rollout = read_rollout(self.release)
            new = f"{NO_DOCUMENT}-{rollout.live}"
            return None if tag == new else (rollout, new)
        new = hashlib.sha256(content).hexdigest()
        return None if tag == new else (decode(content, str(file)), new)

    def versions(self) -> list[int]:
        """See Place."""
        return sorted(versions(self.release))

    def manifest(self, version: int) -> bytes:
        """See Place."""
        if not version_folder(self.release, version).is_dir():
            raise VersionMissingError(f"{self.name} has no version {version}: publish it there first")
        try:
            return (version_folder(self.release, version) / MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise PlaceError(
                f"version {version} of {self.name} was published before there were manifests: write one with `python "
                f"-m export release verify {self.name} {version} --seal`"
            ) from error

    def has(self, part: Part) -> bool:
        """See Place."""
        arrived = self._whole(part)
        # What arrived was compared with its digest then; but if it was published since, it may be damaged by now.
        kept = _has_size(arrived, part) and (arrived.stat().st_nlink == 1 or _is_sound(arrived, part))
        return kept or _is_sound(self.release / part.path, part)

    def store(self, part: Part, file: Path) -> None:
        """See Place."""
        if self.has(part):
            return

        @contextmanager
        def reading(start: int) -> Iterator[Iterator[bytes]]:
            with file.open("rb") as stream:
                stream.seek(start)
                yield iter(lambda: stream.read(PIECE_BYTES), b"")

        self.receive(part, reading)

    @contextmanager
    def read(self, part: Part, start: int = 0) -> Iterator[Iterator[bytes]]:
        """See Place."""
        file = self.release / part.path
        if not _has_size(file, part):
            raise DamagedError(f"{file} is gone or has another size: put back the published file")
        with file.open("rb") as stream:
            stream.seek(start)
            yield iter(lambda: stream.read(PIECE_BYTES), b"")

    def receive(self, part: Part, reading: Reading) -> None:
        """Take in a part, going on after what an interrupted call has of it.

        Raises DamagedError when its bytes are not those that it names; what ``reading`` raises passes through, and
        what has arrived stays.
        """
        self._incoming.mkdir(parents=True, exist_ok=True)
        partial = self._partial(part)
        digest, kept = _complete(partial, part, reading)
        if digest != part.sha256 and kept:
            # After a power cut a file may have other bytes than were written into it.
            partial.unlink()
            digest, _ = _complete(partial, part, reading)
        if digest != part.sha256:
            partial.unlink()
            raise DamagedError(
                f"{part.path} arrived with other bytes than its manifest names: put the published file back where it "
                "came from"
            )
        os.replace(partial, self._whole(part))

    def commit(self, version: int, manifest: bytes, release: bytes, by: str) -> None:
        """See Place. Files of this version that are damaged here are replaced by those that were stored."""
        parts = parts_of(manifest, version, f"{self.name}/versions/{version}/{MANIFEST}")
        self.check_agrees(version, manifest)
        self._publish(version, manifest, release, parts)
        # So that a start of Triton need not read all of it again.
        write_checked(self.release, version, [part.path for part in parts], by, this_device())
        for part in parts:
            self._whole(part).unlink(missing_ok=True)

    def _publish(self, version: int, manifest: bytes, release: bytes, parts: Sequence[Part]) -> None:
        with staging_folder(self.release.parent, self.release.name) as staging:
            own = version_folder(self.release, version)
            if own.is_dir():
                self._mend(parts)
                if not (own / MANIFEST).is_file() or (own / MANIFEST).read_bytes() != manifest:
                    write_whole(own / MANIFEST, manifest)
                return
            named = named_places(self.release)
            named_models = {model for model, _ in named}
            there = [
                part for part in parts if _graph_place(part) in named or _config_of(part) in named_models
            ]
            self._mend(there)
            coming = [part for part in parts if part not in there]
            for part in coming:
                self._lay_out(part, staging / part.path)
            new = version_folder(staging, version)
            (new / MANIFEST).write_bytes(manifest)
            (new / "release.json").write_bytes(release)
            # What an interrupted call left, and no version names, makes room for what was laid out.
            left = {
                self.release / "models" / model / ("" if model not in named_models else str(number))
                for model, number in filter(None, map(_graph_place, coming))
            }
            for index, folder in enumerate(sorted(filter(Path.exists, left))):
                move(folder, staging / f"left-behind-{index}")
            publish(staging, self.release, version, live=False)

    def tell(self, host: str, document: bytes) -> None:
        """See Place."""
        (self.release / HOSTS).mkdir(parents=True, exist_ok=True)
        write_whole(self.release / HOSTS / f"{host}.json", document)

    def check_agrees(self, version: int, manifest: bytes) -> None:
        """Raises VersionTakenError when this folder has another version under that number, PlaceError when it has
        other bytes under a path of that version, so that it is no copy of the place that the version comes from.
        """
        new = {part.path: part.sha256 for part in parts_of(manifest, version, MANIFEST)}
        for other in self.versions():
            try:
                found = read_manifest(self.release, other)
            except ReleaseDamaged:
                continue
            differing = [path for path, digest in found.items() if new.get(path, digest) != digest]
            fewer = has_manifest(self.release, other) and found.keys() != new.keys()
            if other == version and (differing or fewer):
                raise VersionTakenError(
                    f"{self.name} has a version {version} already, with other files: a published version is never "
                    "changed, so give yours another number"
                )
            if differing:
                raise PlaceError(
                    f"{self.name}/{differing[0]} belongs to version {other} and has other bytes than version {version} "
                    "wants there: these versions were not made one after the other, so keep them in separate folders"
                )

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Hold what only one process at a time may do: receive, and commit. Raises PlaceBusyError while another does.

        At the end what arrived and is of no more use is removed; after an error it stays, to go on from, unless the
        disk is full: then FullError is raised.
        """
        with _locked_folder(self._incoming, f"another fetch into {self.name} is at work: wait for it"):
            try:
                yield
            except BaseException as error:
                with suppress(OSError):
                    # It goes if it is empty.
                    self._incoming.rmdir()
                if not isinstance(error, OSError) or error.errno not in FULL:
                    raise
                shutil.rmtree(self._incoming, ignore_errors=True)
                if isinstance(error, FullError):
                    raise
                raise FullError(
                    error.errno,
                    f"the disk of {self.release.parent} is full, so nothing was kept: make room and run it again",
                ) from error
            shutil.rmtree(self._incoming, ignore_errors=True)

    def content(self, part: Part) -> bytes:
        """The bytes of a small part that this folder has, published or not yet."""
        arrived = self._whole(part)
        return (arrived if arrived.is_file() else self.release / part.path).read_bytes()

    def adopt(self, part: Part, found: Path) -> bool:
        """Take in ``found``, a file of this folder, as ``part`` if it has its bytes; on disk they are one file."""
        if not _is_sound(found, part):
            return False
        self._incoming.mkdir(parents=True, exist_ok=True)
        _link(found, self._whole(part))
        return True

    def known_files(self) -> dict[str, Path]:
        """A file of this folder's versions by the digest that it should have."""
        known: dict[str, Path] = {}
        for version in self.versions():
            with suppress(ReleaseDamaged):
                for path, digest in read_manifest(self.release, version).items():
                    known.setdefault(digest, self.release / path)
        return known

    def check_room(self, missing: Sequence[Part]) -> None:
        """Raises FullError when what has not arrived of ``missing``, and a reserve, do not fit on the disk."""
        folder = _first_existing(self.release.parent)
        free = shutil.disk_usage(folder).free
        needed = (
            sum(part.bytes - min(part.bytes, _size(self._partial(part))) for part in missing) + SPARE_BYTES
        )
        if free < needed:
            raise FullError(
                errno.ENOSPC,
                f"{folder} has {free / 1e9:.2f} GB free and {needed / 1e9:.2f} GB are needed: make room and run it "
                "again",
            )

    def _whole(self, part: Part) -> Path:
        return self._incoming / part.sha256

    def _partial(self, part: Part) -> Path:
        return self._whole(part).with_suffix(".part")

    def _mend(self, parts: Sequence[Part]) -> None:
        """Replace what is in its place by what arrived, which it did only where that was missing or damaged."""
        for part in parts:
            if (arrived := self._whole(part)).is_file():
                place = self.release / part.path
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(arrived, place)
                flush_folder(place.parent)

    def _lay_out(self, part: Part, place: Path) -> None:
        arrived = self._whole(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(arrived if arrived.is_file() else self.release / part.path, place)


def _complete(partial: Path, part: Part, reading: Reading) -> tuple[str, int]:
    """Add to ``partial`` what it lacks of a part; returns the SHA-256 of all, and how many bytes it had before."""
    digest = hashlib.sha256()
    with partial.open("a+b") as stream:
        if stream.tell() > part.bytes:
            stream.truncate(0)
        stream.seek(0)
        while piece := stream.read(PIECE_BYTES):
            digest.update(piece)
        if (kept := stream.tell()) < part.bytes:
            with reading(kept) as pieces:
                for piece in pieces:
                    stream.write(piece)
                    digest.update(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest(), kept


def _graph_place(part: Part) -> tuple[str, int] | None:
    match part.path.split("/"):
        case ["models", model, number, *_] if number.isdecimal():
            return model, int(number)
    return None


def _config_of(part: Part) -> str | None:
    match part.path.split("/"):
        case ["models", model, "config.pbtxt"]:
            return model
    return None


def _size(file: Path) -> int:
    """0 also where there is no such file."""
    return file.stat().st_size if file.exists() else 0


def _has_size(file: Path, part: Part) -> bool:
    try:
        return file.stat().st_size == part.bytes
    except FileNotFoundError:
        return False


def _is_sound(file: Path, part: Part) -> bool:
    return _has_size(file, part) and sha256(file) == part.sha256


def _link(file: Path, place: Path) -> None:
    """Make ``place`` the same file as ``file``, at once; a copy where the file system has no hard links."""
    new = place.with_name(f".{place.name}.new")
    new.unlink(missing_ok=True)
    if place.exists() and file.samefile(place):
        # Renaming one name of a file to another does nothing, and would leave both.
        return
    try:
        os.link(file, new)
    except OSError as error:
        if error.errno in FULL | {errno.ENOENT}:
            raise
        shutil.copyfile(file, new)
        with new.open("rb+") as stream:
            os.fsync(stream.fileno())
    os.replace(new, place)


def _first_existing(folder: Path) -> Path:
    return folder if folder.exists() else _first_existing(folder.absolute().parent)


@contextmanager
def _locked_folder(folder: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made. The kernel gives it up when the process ends."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PlaceBusyError(busy) from error
            # Whoever had it may have removed the folder between the two calls.
            if _is_same(handle, folder):
                yield
                return
        finally:
            os.close(handle)


def _is_same(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
