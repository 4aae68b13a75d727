"""A storage whose calls are timed, counted and traced; otherwise it is the one that it wraps."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager

from orchestrator.ports import SignedFiles, Storage, StorageStats, Unavailable, UploadLink
from orchestrator.telemetry import metrics, tracing


def observed(storage: Storage) -> Storage:
    """The storage with its calls observed; it is ``SignedFiles`` too if ``storage`` is."""
    if isinstance(storage, SignedFiles):
        return _ObservedFiles(storage, storage)
    return _Observed(storage)


@contextmanager
def _seen(call: str, key: str = "") -> Iterator[None]:
    """``key`` is noted in the trace without the name of its job's folder, which the trace has anyway."""
    began = time.perf_counter()
    with tracing.span(f"storage {call}", "CLIENT") as span:
        if key:
            span.note(kind=key.partition("/")[0], name=key.rpartition("/")[2])
        try:
            yield
        except Unavailable:
            metrics.STORAGE_ERRORS.labels(call).inc()
            raise
        finally:
            metrics.STORAGE_SECONDS.labels(call).observe(time.perf_counter() - began)


class _Observed(Storage):
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        with _seen("put", key):
            await self._storage.put(key, data, content_type, overwrite=overwrite)

    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        with _seen("get", key):
            return await self._storage.get(key, limit=limit, count_bytes=count_bytes)

    async def delete_prefix(self, prefix: str) -> int:
        with _seen("delete"):
            return await self._storage.delete_prefix(prefix)

    async def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        # Not timed: its caller works between two keys.
        async with aclosing(self._storage.older(prefix, seconds)) as keys:
            async for key in keys:
                yield key

    async def url(self, key: str, expires_in: int) -> str:
        return await self._storage.url(key, expires_in)  # computed here

    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        return await self._storage.upload_link(
            key, content_type=content_type, size=size, expires_in=expires_in
        )

    async def stats(self) -> StorageStats:
        with _seen("stats"):
            return await self._storage.stats()

    async def ping(self) -> None:
        with _seen("ping"):
            await self._storage.ping()


class _ObservedFiles(_Observed, SignedFiles):
    def __init__(self, storage: Storage, files: SignedFiles) -> None:
        super().__init__(storage)
        self._files = files

    async def open(self, key: str, expires: str, signature: str) -> bytes:
        with _seen("open", key):
            return await self._files.open(key, expires, signature)

    def check_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        self._files.check_upload(key, content_type, size, expires, signature)
