"""The contract of the storage for photos and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable

import msgspec


class StorageStats(msgspec.Struct, frozen=True, kw_only=True):
    objects: int
    bytes: int


CACHE_CONTROL = "private, max-age=60"
"""The header of every object that a link gives. Links are secret, so shared caches may not keep the object; browsers
may keep it for a minute only, since it may be erased."""


class UploadLink(msgspec.Struct, frozen=True, kw_only=True):
    """A right to store one object: ``PUT url`` with exactly these headers and ``Content-Length``."""

    url: str
    headers: dict[str, str]


class Storage(ABC):
    """Private objects under keys such as ``uploads/{job}/original.jpg``. Clients read and write them through signed,
    expiring URLs.

    Only this project makes keys: segments of [A-Za-z0-9._-] joined by "/", none of them "." or "..";
    anything else raises ValueError. All methods raise Unavailable when the store cannot be reached.
    """

    @abstractmethod
    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        """Store an object atomically: a reader gets the old one, the new one or none, never a part.

        Without ``overwrite`` it raises ObjectExists when the key has an object with other bytes, which then stays. The
        same bytes are no error, since a write whose answer was lost is repeated. A cancellation takes effect only after
        the write has ended; a write that continued could restore an object that is deleted next.
        """

    @abstractmethod
    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        """The object's bytes. Raises ObjectNotFound, and ObjectTooLarge when there are more than ``limit``.

        ``count_bytes`` is called with their number before they are read; an error that it raises ends the call.
        """

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects under ``prefix`` (ends with "/"); returns how many, which may be 0."""

    @abstractmethod
    def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        """The keys under ``prefix`` (ends with "/") whose objects were last written more than ``seconds`` ago."""

    @abstractmethod
    async def url(self, key: str, expires_in: int) -> str:
        """An absolute URL for GET. The call does not check that the object exists.

        The URL works for at least half of ``expires_in`` seconds and at most for all of them. For half of them, every
        process returns the same URL, so that a page which asks again need not load the object again.
        """

    @abstractmethod
    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        """A link by which a client may store one object of exactly ``size`` bytes and ``content_type``, for
        ``expires_in`` seconds. Once the key has an object, a PUT of other bytes is refused (409 or 412)."""

    @abstractmethod
    async def stats(self) -> StorageStats:
        """The number of objects and of their bytes."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer or refuses us."""


class SignedFiles(ABC):
    """What a storage adapter adds when its URLs lead to this API's ``/files``. The methods take the parts of such a URL
    as the client sent them."""

    @abstractmethod
    async def open(self, key: str, expires: str, signature: str) -> bytes:
        """The bytes of the object that a URL of :meth:`Storage.url` leads to.

        Raises BadSignature, LinkExpired, ObjectNotFound, Unavailable.
        """

    @abstractmethod
    def check_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        """Raises BadSignature or LinkExpired unless a link of :meth:`Storage.upload_link` allows this PUT now."""
