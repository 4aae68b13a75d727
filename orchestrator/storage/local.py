"""Storage on local disk: for one machine, or for several that share the folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from orchestrator.ports import ObjectNotFound, SignedFiles, Storage, StorageStats, Unavailable
from orchestrator.storage.signing import UrlSigner

T = TypeVar("T")

LEFTOVER_SECONDS = 3600.0
"""An unfinished write that is older was left by a process that died."""
_RENAME_TRIES = 10
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}")


def check_key(key: str) -> str:
    """The key itself; raises ValueError if it is not one (see the port)."""
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key


class LocalStorage(Storage, SignedFiles):
    """Objects are files under ``root``; URLs lead to this API, which checks the signature."""

    def __init__(self, root: Path, signer: UrlSigner) -> None:
        # Unfinished writes lie beside the objects: a rename is atomic only within one file system.
        self._objects, self._incoming = root / "objects", root / "incoming"
        self._signer = signer
        _remove_leftovers(self._incoming)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store an object; on local disk the key's suffix stands for ``content_type``.

        When cancelled, it ends only after the write did: a write that went on could bring back what is erased next.
        """
        target = self._objects / check_key(key)
        writing = asyncio.create_task(self._run(lambda: self._write(target, data)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            while not writing.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()  # nobody else asks for it
            raise

    async def get(self, key: str) -> bytes:
        path = self._objects / check_key(key)
        data = await self._run(lambda: _read(path))
        if data is None:
            raise ObjectNotFound(key)
        return data

    async def delete_prefix(self, prefix: str) -> int:
        if not prefix.endswith("/"):
            raise ValueError(f"a prefix ends with a slash: {prefix!r}")
        folder = self._objects / check_key(prefix[:-1])
        return await self._run(lambda: _remove(folder))

    async def url(self, key: str, expires_in: int) -> str:
        return self._signer.url(check_key(key), expires_in)

    async def open(self, key: str, expires: str, signature: str) -> bytes:
        self._signer.verify(key, expires, signature)
        return await self.get(key)

    async def stats(self) -> StorageStats:
        sizes = await self._run(lambda: _sizes(self._objects))
        return StorageStats(objects=len(sizes), bytes=sum(sizes))

    async def ping(self) -> None:
        probe = self._incoming / f"probe-{uuid.uuid4().hex}"

        def write_and_read() -> None:
            self._incoming.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"probe")
                if probe.read_bytes() != b"probe":
                    raise OSError("read back something else than was written")
            finally:
                probe.unlink(missing_ok=True)

        await self._run(write_and_read)

    def _write(self, target: Path, data: bytes) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        temporary = self._incoming / uuid.uuid4().hex
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, target)
            with contextlib.suppress(FileNotFoundError):  # deleted already
                _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"storage: {error.strerror or error}") from error


def _remove_leftovers(incoming: Path) -> None:
    for path in incoming.glob("*"):
        # Others may remove it at the same time; a disk in trouble shows in the first real call.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                path.unlink()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _rename(temporary: Path, target: Path) -> None:
    """Move into place; again when a delete took the new folder away meanwhile."""
    for left in reversed(range(_RENAME_TRIES)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
            return
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue  # deleted while we were counting
    return sizes


def _remove(folder: Path) -> int:
    """Delete files and folders, also while another process deletes or adds some."""
    count = 0
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(path, name))
                count += 1
        with contextlib.suppress(FileNotFoundError):
            _remove_if_empty(path)
    return count


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
