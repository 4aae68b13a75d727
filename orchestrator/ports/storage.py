"""The contract of the storage for photos and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable

import msgspec


class StorageStats(msgspec.Struct, frozen=True, kw_only=True):
    objects: int
    bytes: int


CACHE_CONTROL = "private, max-age=60"
"""What a link gives. It is a secret: shared caches may not keep it, nor browsers for long what may be erased."""


class UploadLink(msgspec.Struct, frozen=True, kw_only=True):
    """How whoever has it may store one object: ``PUT url`` with exactly these headers and ``Content-Length``."""

    url: str
    headers: dict[str, str]


class Storage(ABC):
    """Private objects under keys such as ``uploads/{job}/original.jpg``; read and written by others through signed,
    expiring URLs.

    Keys are made by this project only: segments of [A-Za-z0-9._-] joined by "/", none of them "." or "..";
    anything else raises ValueError. All methods raise Unavailable when the store cannot be reached.
    """

    @abstractmethod
    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        """Store an object, atomically: a reader sees the old one, the new one or none, never half.

        Without ``overwrite`` it raises ObjectExists when other bytes are there already, which then stay; the same bytes
        are no error, since a write whose answer was lost is repeated. When cancelled, it ends only after the write did:
        one that went on could bring back what is deleted next.
        """

    @abstractmethod
    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        """The object's bytes; raises ObjectNotFound, and ObjectTooLarge when there are more than ``limit``.

        ``count_bytes`` is called with their number before they are read; what it raises ends the call.
        """

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete everything under ``prefix`` (ends with "/"); returns how many objects. None there is not an error."""

    @abstractmethod
    def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        """The keys under ``prefix`` (ends with "/") whose objects were last written more than ``seconds`` ago."""

    @abstractmethod
    async def url(self, key: str, expires_in: int) -> str:
        """An absolute URL that gives the object by GET. Does not check that it exists.

        It works for ``expires_in`` seconds at most and for half of them at least, and is the same for half of them from
        every process, so that pages which ask again need not load the object again.
        """

    @abstractmethod
    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        """Lets others store one object of exactly ``size`` bytes and ``content_type``, for ``expires_in`` seconds,
        while there is none under the key: where one is, a PUT of other bytes is refused (409 or 412)."""

    @abstractmethod
    async def stats(self) -> StorageStats:
        """How much is stored."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer or refuses us."""


class SignedFiles(ABC):
    """What a storage adapter adds when its URLs lead to this API's ``/files``: the URLs' parts, as they came."""

    @abstractmethod
    async def open(self, key: str, expires: str, signature: str) -> bytes:
        """The object that a URL of :meth:`Storage.url` gives.

        Raises BadSignature, LinkExpired, ObjectNotFound, Unavailable.
        """

    @abstractmethod
    def check_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        """Raises BadSignature or LinkExpired unless :meth:`Storage.upload_link` allows to put just this there now."""
