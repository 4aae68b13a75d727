"""Photos that clients put into storage themselves, by a signed link, before they submit them by key."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from orchestrator.ports import JobStore, ObjectNotFound, PortError, Reservation, Storage, UploadLink

log = logging.getLogger(__name__)

RESERVE_SECONDS = 120.0
"""Seconds that a submission may take. If its process dies, the key is free again after that time."""

INCOMING = "incoming/"
_KEY = re.compile(rf"{INCOMING}([0-9a-f]{{32}})(?:-([0-9a-f]{{16}}))?/photo")


def owner_mark(number: str, owner: str) -> str:
    """What the key of an upload says about its owner, without naming them; "" for callers without an API key. The
    storage has the photo under the whole key, so that nobody can put another mark to it."""
    return hashlib.sha256(f"{number} {owner}".encode()).hexdigest()[:16] if owner else ""


class NoSuchUpload(Exception):
    """No photo is stored under the key: it was not put yet, was deleted, or the key was not given to this caller."""


class UploadUsed(Exception):
    """The upload has been submitted, or is being submitted by another request."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A link by which one photo may be put into storage, and the key to submit it by."""

    key: str
    link: UploadLink


class DirectUploads:
    """Offers links for uploads. Only the client that got a key knows it, and a key is good for one submission. ``ttl``:
    seconds that a link works.

    A photo that was used is replaced by an empty object, which stays until the link has expired: a link stores nothing
    where an object is already.
    """

    def __init__(self, store: JobStore, storage: Storage, ttl: int) -> None:
        self._store, self._storage, self.ttl = store, storage, ttl

    async def offer(self, content_type: str, size: int, owner: str) -> Offer:
        """A link for a photo of exactly ``size`` bytes, which only ``owner`` may submit. Raises Unavailable."""
        number = uuid.uuid4().hex
        mark = owner_mark(number, owner)
        key = f"{INCOMING}{number}-{mark}/photo" if mark else f"{INCOMING}{number}/photo"
        link = await self._storage.upload_link(key, content_type=content_type, size=size, expires_in=self.ttl)
        return Offer(key=key, link=link)

    @asynccontextmanager
    async def reserved(self, key: str, owner: str, by: str = "") -> AsyncGenerator[Reservation]:
        """Reserve the key for one submission by its owner; of several at the same time, one succeeds. ``by`` is the
        same for tries of the same submission.

        When the block ends with an error, the key is free again, unless a job was queued with the reservation.
        Raises NoSuchUpload, UploadUsed, Unavailable.
        """
        found = _KEY.fullmatch(key)
        if not found or (found[2] or "") != owner_mark(found[1], owner):
            raise NoSuchUpload(key)
        # Longer than a photo is kept, including one that could not be replaced (see Retention).
        reservation = Reservation(name=key, owner=by or uuid.uuid4().hex, seconds=4 * self.ttl + 3600)
        if not await self._store.reserve(reservation, RESERVE_SECONDS):
            raise UploadUsed(key)
        try:
            yield reservation
        except BaseException:
            await asyncio.shield(self._free(reservation))
            raise

    async def read(self, key: str, limit: int, count_bytes: Callable[[int], None] | None = None) -> bytes:
        """The bytes of the upload. ``count_bytes`` gets their number, as in :meth:`orchestrator.ports.Storage.get`.

        Raises NoSuchUpload, UploadUsed, ObjectTooLarge (more than ``limit`` bytes), Unavailable.
        """
        try:
            photo = await self._storage.get(key, limit=limit, count_bytes=count_bytes)
        except ObjectNotFound:
            raise NoSuchUpload(key) from None
        if not photo:
            raise UploadUsed(key)
        return photo

    async def discard(self, key: str) -> None:
        """Replace the photo by an empty object, once a job has it or it was refused. Raises Unavailable."""
        await self._storage.put(key, b"", "application/octet-stream")

    async def _free(self, reservation: Reservation) -> None:
        try:
            await self._store.free(reservation)
        except PortError as error:
            log.warning("%s is free again only in %.0f s: %s", reservation.name, RESERVE_SECONDS, error)
