"""Hugging Face's cache, which other tools share: a file gets into it whole and verified, or not at all.

::

    <cache>/models--<owner>--<name>/
        blobs/<etag>                       the bytes; <etag> is their SHA-256, or the Git blob's id for small files
        blobs/<etag>.reroom.incomplete     ours: what is loaded so far. The next process goes on at its end.
        snapshots/<commit>/<file>          a link to the blob
    <cache>/.locks/…/<etag>.lock           whoever loads the file holds it, other tools too
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import Timeout
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from export.bundle import BundleError
from export.sources.hub_client import Hub, Passing, Remote
from export.sources.lock import Locked
from export.sources.wanted import Repo

_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PART = ".reroom.incomplete"


class Mismatch(Exception):
    """A file is not what it should be; the message says in what."""


class Progress(Protocol):
    """Who is told how the loading goes."""

    def begin(self, what: str, files: int, size: int) -> None:
        """A new count: ``what`` is done with so many files and bytes."""

    def file(self, name: str) -> None:
        """The next file of that count."""

    def advance(self, count: int) -> None:
        """So many bytes more are done; negative when some must be loaded again."""

    def note(self, text: str) -> None:
        """Something that the user may wonder about."""


def snapshot(hub: Hub, repo: Repo) -> Path:
    """The folder with the files of a repository at its commit, in the layout that ``from_pretrained`` reads."""
    return _storage(hub, repo) / "snapshots" / repo.revision


def loaded(hub: Hub, remote: Remote) -> int:
    """Bytes of a file that need not be loaded any more."""
    blob = _blob(hub, remote)
    for path in (blob, _part(blob)):
        if path.is_file():
            return min(path.stat().st_size, remote.size)
    return 0


def check_space(hub: Hub, needed: int) -> None:
    """Raises BundleError when the cache's disk has fewer than ``needed`` bytes free."""
    there = next(folder for folder in (hub.cache, *hub.cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise BundleError(
            f"{hub.cache}: {gigabytes(needed)} are to be loaded and {gigabytes(free)} are free: free some, or name "
            "another disk with HF_HOME"
        )


def gigabytes(size: int) -> str:
    """As hubs and disks count: 10⁹ bytes."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def verify_cached(path: Path, known: Locked, etag: str | None, progress: Progress) -> Locked:
    """What is known of the file of a snapshot at ``path``, once it is found to be that of the lock.

    ``etag`` is what the hub says of it, None = ask the cache, whose blobs are named so. Raises BundleError.
    """
    blob = path.resolve()
    try:
        return _verify(blob, known, etag or blob.name, progress)
    except Mismatch as error:
        raise BundleError(
            f"{blob} (the cache's {path.name}) {error}: delete it, and it is loaded again"
        ) from error
    except OSError as error:
        raise BundleError(f"{blob} cannot be read: {error.strerror}") from error


def fetch_file(hub: Hub, remote: Remote, known: Locked, progress: Progress) -> Locked:
    """Load a file into the cache, from where an earlier process stopped, verify it, and put it into the snapshot.

    Returns what is known of it now. Raises BundleError; what is loaded stays to be continued, unless it is wrong.
    """
    blob = _blob(hub, remote)
    pointer = snapshot(hub, remote.repo) / remote.file
    try:
        for folder in (blob.parent, pointer.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with _alone(hub, remote, progress):
            if blob.is_file():
                found = verify_cached(blob, known, remote.etag, progress)
            else:
                found = _load(hub, remote, known, blob, progress)
            if not pointer.exists():
                _link(blob, pointer)
    except OSError as error:
        if error.errno in _FULL:
            raise BundleError(
                f"{hub.cache}: the disk is full: free {gigabytes(remote.size)}, or name another with HF_HOME, and run "
                "the command again: it goes on where it was"
            ) from error
        raise BundleError(
            f"{hub.cache} cannot be written: {error.strerror}: name another with HF_HOME"
        ) from error
    return found


def _load(hub: Hub, remote: Remote, known: Locked, blob: Path, progress: Progress) -> Locked:
    part = _part(blob)
    resumed = part.is_file()
    while True:
        _complete(hub, remote, part, progress)
        try:
            found = _verify(part, known, remote.etag, None)
        except Mismatch as error:
            part.unlink()
            if not resumed:
                raise BundleError(
                    f"{remote.repo}: {remote.file} from {hub.endpoint} {error}: nothing of it was kept; try again, and "
                    "if that does not help, take another hub or mirror (HF_ENDPOINT)"
                ) from error
            # Whatever an earlier process wrote may be what is wrong, as after a loss of power.
            progress.note(f"{remote.file} {error}: it is loaded anew")
            progress.advance(-remote.size)
            resumed = False
        else:
            os.replace(part, blob)
            return found


def _complete(hub: Hub, remote: Remote, part: Path, progress: Progress) -> None:
    """Load what is missing at the end of ``part``. Raises BundleError when the hub fails too often."""
    what, tries = f"{remote.repo.name}/{remote.file}", 0
    with part.open("ab") as out:
        if out.tell() > remote.size:
            out.truncate(0)
        size = os.fstat(out.fileno()).st_size
        while size < remote.size:
            try:
                with hub.read(remote, size) as (begin, chunks):
                    if begin not in (0, size):
                        raise Passing("sends another part of the file than was asked for")
                    if begin != size:
                        out.truncate(0)
                        progress.advance(-size)
                        size = 0
                    for chunk in chunks:
                        out.write(chunk)
                        # At once, so that nothing is lost to a kill.
                        out.flush()
                        size, tries = size + len(chunk), 0
                        progress.advance(len(chunk))
                        if size > remote.size:
                            part.unlink()
                            raise BundleError(
                                f"{what}: {hub.endpoint} sends more than the {remote.size} bytes that it says the file "
                                "has: nothing of it was kept; take another hub or mirror (HF_ENDPOINT)"
                            )
                if size < remote.size:
                    raise Passing("broke the connection")
            except FileNotFoundError as error:
                raise BundleError(
                    f"{what}: {hub.endpoint} names the file but does not send it (404)"
                ) from error
            except Passing as failure:
                if tries == len(hub.waits):
                    hub.give_up(what, failure)
                time.sleep(hub.waits[tries])
                tries += 1
                # A link to elsewhere lasts minutes.
                remote = hub.look(remote.repo, remote.file) or remote


def _verify(path: Path, known: Locked, etag: str, progress: Progress | None) -> Locked:
    """Size and SHA-256 of a file. Raises Mismatch when they are not those of the lock, or of the hub's ETag."""
    size = path.stat().st_size
    if known.size is not None and size != known.size:
        raise Mismatch(f"has {size} bytes, not {known.size}")
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    small = _GIT.fullmatch(etag) is not None
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            sha256.update(chunk)
            if small:
                git.update(chunk)
            if progress is not None:
                progress.advance(len(chunk))
    found = sha256.hexdigest()
    if known.sha256 is not None and found != known.sha256:
        raise Mismatch(f"has the SHA-256 {found}, not {known.sha256}, which the lock file names")
    if _SHA256.fullmatch(etag) and found != etag:
        raise Mismatch(f"has the SHA-256 {found}, not {etag}, which the hub names")
    if small and git.hexdigest() != etag:
        raise Mismatch(f"is Git blob {git.hexdigest()}, not {etag}, which the hub names")
    return Locked(size=size, sha256=found)


@contextmanager
def _alone(hub: Hub, remote: Remote, progress: Progress) -> Iterator[None]:
    """Holds the cache's lock of a file, which huggingface_hub's own downloads respect."""
    lock = hub.cache / ".locks" / _storage(hub, remote.repo).name / f"{remote.etag}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with WeakFileLock(lock, timeout=0.2):
            yield
            return
    except Timeout:
        progress.note(f"another process is loading {remote.file}: waiting for it")
    with WeakFileLock(lock):
        yield


def _link(blob: Path, pointer: Path) -> None:
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except FileExistsError:
        pass
    except OSError:
        # A file system without symbolic links.
        os.link(blob, pointer)


def _storage(hub: Hub, repo: Repo) -> Path:
    return hub.cache / repo_folder_name(repo_id=repo.name, repo_type="model")


def _blob(hub: Hub, remote: Remote) -> Path:
    return _storage(hub, remote.repo) / "blobs" / remote.etag


def _part(blob: Path) -> Path:
    return blob.with_name(blob.name + _PART)
