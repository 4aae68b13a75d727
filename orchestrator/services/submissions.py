"""Submitting a photo: it passes the gate, is stored, and becomes a job."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.domain.preferences import Preferences
from orchestrator.photos.gate import Photo, PhotoGate, PhotoRejected
from orchestrator.ports import ANEW, Begun, ObjectTooLarge, PortError
from orchestrator.services.costs import Costs
from orchestrator.services.direct_uploads import DirectUploads
from orchestrator.services.jobs import JobService, JobView
from orchestrator.services.once import fingerprint_of
from orchestrator.services.styles import StyleService

log = logging.getLogger(__name__)

DISCARD_SECONDS = 1.0
"""Seconds that an answer waits until the upload is discarded."""


class Submission(msgspec.Struct, frozen=True):
    """A client's request to restyle a photo."""

    photo: bytearray | str
    """Its bytes, or the key of an upload."""
    style: str
    preferences: Preferences
    keep_mask: bytes | bytearray | None = None
    """A picture of the photo's shape; its light pixels stay as photographed."""
    cancel_after: float | None = None
    """Seconds after which the job is cancelled, unless it has ended."""

    def fingerprint(self) -> str:
        """See :func:`orchestrator.services.once.fingerprint_of`. It reads the whole photo."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        large = {name: _digest(each) for name, each in fields.items() if isinstance(each, bytes | bytearray)}
        return fingerprint_of("submit", fields | large)


class Submissions:
    """Accepts submissions. ``max_bytes`` limits photos that were uploaded by key; the API limits those in a form."""

    def __init__(
        self,
        jobs: JobService,
        gate: PhotoGate,
        uploads: DirectUploads,
        max_bytes: int,
        costs: Costs,
        styles: StyleService,
    ) -> None:
        self._jobs, self._gate, self._uploads, self._max_bytes = jobs, gate, uploads, max_bytes
        self._costs, self._styles = costs, styles
        self._discarding: set[asyncio.Task[None]] = set()

    async def check_capacity(self) -> None:
        """Raises TooManyJobs when a submission would be refused now, or Unavailable. Called before a photo is read."""
        await self._jobs.check_capacity()

    async def submit(
        self,
        submission: Submission,
        caller: Caller,
        client: str | None,
        count_bytes: Callable[[int], None] | None = None,
        begun: Begun = ANEW,
    ) -> JobView:
        """Check the photo and queue a job of the caller's. ``client`` is their address; ``count_bytes`` counts the
        bytes of a photo that was uploaded by key. A key whose photo the gate refuses is used up as well.

        Raises NotInPlan, UnknownStyle, PhotoRejected, TooManyJobs, OverLimit, Unavailable, the errors of
        ``count_bytes``, and for a photo that was uploaded by key also NoSuchUpload, UploadUsed, ObjectTooLarge,
        ReservationLost.

        With ``begun``, the job has its id, so that another try of the same request finds it and makes no second one.
        """
        job_id = begun.id
        if begun.again:
            made, job_id = await self._jobs.made_before(job_id, caller)
            if made is not None:
                return made
        # What a job costs depends on the quality that the plan gives it.
        preferences = self._jobs.planned(submission.style, submission.preferences, caller)
        words = await self._styles.words(caller, submission.style)
        queue = partial(
            self._jobs.submit,
            style=submission.style,
            words=words,
            preferences=preferences,
            caller=caller,
            job_id=job_id,
            cancel_after=submission.cancel_after,
        )
        if not isinstance(submission.photo, str):
            photo = await self._gate.accept(submission.photo, client=client)
            mask = await self._mask(submission.keep_mask, photo, client)
            cost = await self._costs.cost(preferences, photo.height, photo.width)
            return await queue(photo.jpeg, keep_mask=mask, cost=cost)
        key = submission.photo
        async with self._uploads.reserved(key, caller.owner, job_id) as reservation:
            try:
                data = await self._uploads.read(key, self._max_bytes, count_bytes)
                photo = await self._gate.accept(data, client=client)
            except (PhotoRejected, ObjectTooLarge):
                await self._discard(key)
                raise
            # A refused mask leaves the photo where it is: the client may submit it again with another one.
            mask = await self._mask(submission.keep_mask, photo, client)
            cost = await self._costs.cost(preferences, photo.height, photo.width)
            view = await queue(photo.jpeg, reservation=reservation, keep_mask=mask, cost=cost)
        await self._discard_soon(key, view.job.id, caller)
        return view

    async def aclose(self) -> None:
        """Wait until all uploads are discarded."""
        await asyncio.gather(*self._discarding)

    async def _mask(self, data: bytes | bytearray | None, photo: Photo, client: str | None) -> bytes | None:
        """The mask as a JPEG of the photo's shape. Raises PhotoRejected for the field keep_mask, and Unavailable."""
        if data is None:
            return None
        try:
            mask = await self._gate.accept(data, client=client)
        except PhotoRejected as refused:
            raise PhotoRejected(refused.code, refused.detail, "keep_mask") from None
        # Both may have been scaled down, so that their sides are rounded.
        if abs(mask.width * photo.height - mask.height * photo.width) > max(photo.width, photo.height):
            detail = f"the photo is {photo.width}×{photo.height} and keep_mask {mask.width}×{mask.height}"
            raise PhotoRejected(ProblemCode.MASK_MISMATCH, detail, "keep_mask")
        return mask.jpeg

    async def _discard_soon(self, key: str, job_id: str, caller: Caller) -> None:
        """Discard the upload of a queued job: before the answer or, when the storage is slow, after it."""
        discarding = asyncio.create_task(self._discard(key))
        self._discarding.add(discarding)
        discarding.add_done_callback(self._discarding.discard)
        try:
            await asyncio.wait([discarding], timeout=DISCARD_SECONDS)
        except asyncio.CancelledError:
            # The client gets an error and no job id, so there must be no job.
            with contextlib.suppress(PortError):
                await self._jobs.cancel(job_id, caller)
            raise

    async def _discard(self, key: str) -> None:
        """Discard an upload. If that fails, a worker's retention deletes it later."""
        try:
            await self._uploads.discard(key)
        except PortError as error:
            log.warning("%s was not deleted; retention deletes it later: %s", key, error)


def _digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()
