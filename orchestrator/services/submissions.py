"""Submitting: a photo passes the gate, is stored, and becomes a job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from orchestrator.domain.preferences import Preferences
from orchestrator.photos.gate import PhotoGate, PhotoRejected
from orchestrator.ports import ObjectTooLarge, PortError
from orchestrator.services.direct_uploads import DirectUploads
from orchestrator.services.jobs import JobService, JobView

log = logging.getLogger(__name__)

DISCARD_SECONDS = 1.0
"""How long an answer waits until the upload is discarded."""


class Submission(msgspec.Struct, frozen=True):
    """What a client asks for."""

    photo: bytearray | str
    """Its bytes, or the key that it was uploaded under before."""
    style: str
    preferences: Preferences


class Submissions:
    """Accepts submissions. ``max_bytes`` limits a photo that was uploaded before; the API limits one in a form."""

    def __init__(self, jobs: JobService, gate: PhotoGate, uploads: DirectUploads, max_bytes: int) -> None:
        self._jobs, self._gate, self._uploads, self._max_bytes = jobs, gate, uploads, max_bytes
        self._discarding: set[asyncio.Task[None]] = set()

    async def make_sure_of_a_place(self) -> None:
        """Asked before any work on a submission: raises TooManyJobs when it would be refused now, or Unavailable."""
        await self._jobs.make_sure_of_a_place()

    async def submit(
        self, submission: Submission, client: str | None, take: Callable[[int], None] | None = None
    ) -> JobView:
        """The queued job. ``client`` is the submitter, by address; ``take`` counts the bytes of a photo that was
        uploaded before. What the gate refuses of those is used up too.

        Raises PhotoRejected, TooManyJobs, Unavailable, what ``take`` raises, and for a photo that was uploaded before
        NoSuchUpload, UploadUsed, ObjectTooLarge, ClaimLost.
        """
        style, preferences = submission.style, submission.preferences
        if not isinstance(submission.photo, str):
            photo = await self._gate.accept(submission.photo, client=client)
            return await self._jobs.submit(photo.jpeg, style, preferences)
        key = submission.photo
        async with self._uploads.claimed(key) as claim:
            try:
                data = await self._uploads.read(key, self._max_bytes, take)
                photo = await self._gate.accept(data, client=client)
            except (PhotoRejected, ObjectTooLarge):
                await self._discard(key)
                raise
            view = await self._jobs.submit(photo.jpeg, style, preferences, claim)
        await self._discard_soon(key, view.job.id)
        return view

    async def aclose(self) -> None:
        """Wait for the discarding that is still running."""
        await asyncio.gather(*self._discarding)

    async def _discard_soon(self, key: str, job_id: str) -> None:
        """Discard the upload of a queued job: before the answer or, when the storage is slow, after it."""
        discarding = asyncio.create_task(self._discard(key))
        self._discarding.add(discarding)
        discarding.add_done_callback(self._discarding.discard)
        try:
            await asyncio.wait([discarding], timeout=DISCARD_SECONDS)
        except asyncio.CancelledError:
            # The client is answered that there is no job.
            with contextlib.suppress(PortError):
                await self._jobs.cancel(job_id)
            raise

    async def _discard(self, key: str) -> None:
        """If that fails now, a worker's retention does it later."""
        try:
            await self._uploads.discard(key)
        except PortError as error:
            log.warning("%s stays until it is old: %s", key, error)
