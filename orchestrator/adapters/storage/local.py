"""Storage on local disk: for one machine, or for several that share the folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

from orchestrator.adapters.storage.common import check_key, check_prefix, to_its_end
from orchestrator.adapters.storage.private import close_to_others, make_folder, new_file
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    SignedFiles,
    Storage,
    StorageStats,
    Unavailable,
    UploadLink,
)

T = TypeVar("T")

LEFTOVER_SECONDS = 3600.0
"""Seconds after which an unfinished write counts as left by a process that died."""
LEAST_FREE = 64 * 2**20
"""Free bytes below which the disk counts as full: room for a few photos and their pictures."""
_RENAME_TRIES = 10


class LocalStorage(Storage, SignedFiles):
    """Objects are files under ``root`` that only this process's user can read. URLs lead to this API, which checks
    their signature."""

    def __init__(self, root: Path, signer: UrlSigner) -> None:
        # Unfinished writes are stored beside the objects: a rename is atomic only within one file system.
        self._objects, self._incoming = root / "objects", root / "incoming"
        self._signer = signer
        for folder in (self._objects, self._incoming):
            close_to_others(folder)
        _remove_leftovers(self._incoming)

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        """``content_type`` is not stored: the key's suffix implies it."""
        target = self._objects / check_key(key)
        await to_its_end(self._run(lambda: self._write(target, data, overwrite)))

    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        path = self._objects / check_key(key)
        if count_bytes is not None:
            size = await self._run(lambda: _size(path))
            if size is not None and (limit is None or size <= limit):
                count_bytes(size)
                limit = size
        # One byte more than the limit, to recognise a longer object.
        data = await self._run(lambda: _read(path, None if limit is None else limit + 1))
        if data is None:
            raise ObjectNotFound(key)
        if limit is not None and len(data) > limit:
            raise ObjectTooLarge(key)
        return data

    async def delete_prefix(self, prefix: str) -> int:
        folder = self._objects / check_prefix(prefix)
        return await self._run(lambda: _remove(folder))

    async def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        folder = self._objects / check_prefix(prefix)
        for path in await self._run(lambda: _older(folder, time.time() - seconds)):
            yield path.relative_to(self._objects).as_posix()

    async def url(self, key: str, expires_in: int) -> str:
        return self._signer.url(check_key(key), expires_in)

    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        url = self._signer.upload_url(check_key(key), content_type, size, expires_in)
        return UploadLink(url=url, headers={"Content-Type": content_type})

    async def open(self, key: str, expires: str, signature: str) -> bytes:
        self._signer.verify(key, expires, signature)
        return await self.get(key)

    def check_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        self._signer.verify_upload(key, content_type, size, expires, signature)

    async def stats(self) -> StorageStats:
        sizes = [stat.st_size for _, stat in await self._run(lambda: _stats(self._objects))]
        return StorageStats(objects=len(sizes), bytes=sum(sizes))

    async def ping(self) -> None:
        probe = self._incoming / f"probe-{uuid.uuid4().hex}"

        def write_and_read() -> None:
            make_folder(self._incoming)
            try:
                with new_file(probe) as file:
                    file.write(b"probe")
                if probe.read_bytes() != b"probe":
                    raise OSError("read back other bytes than were written")
                if shutil.disk_usage(self._incoming).free < LEAST_FREE:
                    raise OSError(errno.ENOSPC, f"less than {LEAST_FREE >> 20} MiB are free")
            finally:
                probe.unlink(missing_ok=True)

        await self._run(write_and_read)

    def _write(self, target: Path, data: bytes, overwrite: bool) -> None:
        make_folder(self._incoming)
        temporary = self._incoming / uuid.uuid4().hex
        try:
            with new_file(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _move(temporary, target, os.replace if overwrite else os.link)
            with contextlib.suppress(FileNotFoundError):  # deleted already
                _sync_folder(target.parent)
        except FileExistsError:
            if _read(target, None) != data:
                raise ObjectExists(target.relative_to(self._objects).as_posix()) from None
        finally:
            temporary.unlink(missing_ok=True)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"storage: {error.strerror or error}") from error


def _remove_leftovers(incoming: Path) -> None:
    for path in incoming.glob("*"):
        # Another process may remove it at the same time. Errors of the disk show in the first real call.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                path.unlink()


def _read(path: Path, limit: int | None) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _move(temporary: Path, target: Path, move: Callable[[Path, Path], None]) -> None:
    """Move into place; repeated when a delete removes the new folder meanwhile."""
    for left in reversed(range(_RENAME_TRIES)):
        try:
            make_folder(target.parent)
            move(temporary, target)
            return
        except FileExistsError:
            # Either the object exists (then a link fails), or its folder was being made or deleted.
            if not left or target.is_file():
                raise
        except FileNotFoundError:
            if not left:
                raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stats(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Every file below ``folder`` with its status, except those that are deleted meanwhile."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found.append((path, path.stat()))
    return found


def _older(folder: Path, than: float) -> list[Path]:
    return [path for path, stat in _stats(folder) if stat.st_mtime < than]


def _remove(folder: Path) -> int:
    """Delete a folder and all in it, even while another process deletes or adds files; returns how many files."""
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
