"""Photos that clients put into storage themselves, by a signed link, before they submit them by key."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import msgspec

from orchestrator.ports import ObjectNotFound, Storage, UploadLink

INCOMING = "incoming/"
_KEY = re.compile(rf"{INCOMING}[0-9a-f]{{32}}/photo")


class NoSuchUpload(Exception):
    """Nothing is stored under the key: not yet, not any more, or it was never given out."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Where one photo may be put, and the key to submit it by."""

    key: str
    link: UploadLink


class Incoming:
    """A key is known to whom it was given only, and good for one submission. ``ttl``: seconds that a link works."""

    def __init__(self, storage: Storage, ttl: int) -> None:
        self._storage, self.ttl = storage, ttl

    async def offer(self, content_type: str, size: int) -> Offer:
        """A place for a photo of exactly ``size`` bytes; raises Unavailable."""
        key = f"{INCOMING}{uuid.uuid4().hex}/photo"
        link = await self._storage.upload_link(key, content_type=content_type, size=size, expires_in=self.ttl)
        return Offer(key=key, link=link)

    async def read(self, key: str, limit: int, take: Callable[[int], None] | None = None) -> bytes:
        """What was put there; raises NoSuchUpload, ObjectTooLarge (more than ``limit`` bytes), Unavailable.

        ``take`` hears how many bytes it has, as of :meth:`orchestrator.ports.Storage.get`.
        """
        if not _KEY.fullmatch(key):
            raise NoSuchUpload(key)
        try:
            return await self._storage.get(key, limit=limit, take=take)
        except ObjectNotFound:
            raise NoSuchUpload(key) from None

    async def discard(self, key: str) -> None:
        """Delete it, once it has become a job's photo or was refused; raises Unavailable."""
        await self._storage.delete_prefix(key.removesuffix("photo"))
