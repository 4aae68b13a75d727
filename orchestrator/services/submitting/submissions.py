"""Submitting a photo: it passes the gate, is stored, and becomes a job."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping

import msgspec

from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import drawn_seed, variation_seed
from orchestrator.domain.keys import Caller
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import StyleWords
from orchestrator.photos.gate import Photo, PhotoGate, PhotoRejected
from orchestrator.ports import ANEW, Begun, ObjectTooLarge, PortError, Reservation
from orchestrator.services.jobs import JobService, JobView
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.costs import Costs
from orchestrator.services.submitting.direct_uploads import DirectUploads
from orchestrator.services.submitting.fetching import FIELD, PhotoFetcher
from orchestrator.services.submitting.once import fingerprint_of
from orchestrator.services.submitting.trees import Picture

log = logging.getLogger(__name__)

DISCARD_SECONDS = 1.0
"""Seconds that an answer waits until the upload is discarded."""


class PhotoUrl(msgspec.Struct, frozen=True):
    """Where a photo is to be fetched."""

    url: str


class Submission(msgspec.Struct, frozen=True):
    """A client's request to restyle a photo."""

    photo: bytearray | str | PhotoUrl
    """Its bytes, the key of an upload, or where it is."""
    style: str
    preferences: Preferences
    keep_mask: bytes | bytearray | None = None
    """A picture of the photo's shape; its light pixels stay as photographed."""
    reference: bytes | bytearray | None = None
    """A picture whose colours and contrasts are wanted."""
    cancel_after: float | None = None
    """Seconds after which the job is cancelled, unless it has ended."""
    styles: tuple[str, ...] = ()
    """All of the styles, ``style`` first, when there are several."""
    variations: int = 1
    """Pictures of each style."""

    def pictures(self, words: Mapping[str, StyleWords]) -> list[Picture]:
        """By their places: all variations of the first style, then those of the next. ``words`` are the styles'."""
        return [
            Picture(style, variation, _varied(self.preferences, variation), words.get(style))
            for style in self.styles or (self.style,)
            for variation in range(1, self.variations + 1)
        ]

    def fingerprint(self) -> str:
        """See :func:`orchestrator.services.submitting.once.fingerprint_of`. It reads the whole photo."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        # As an API of a version before these would say it.
        for name, single in (("styles", ()), ("variations", 1)):
            if fields[name] == single:
                del fields[name]
        large = {name: _digest(each) for name, each in fields.items() if isinstance(each, bytes | bytearray)}
        return fingerprint_of("submit", fields | large)


class Submissions:
    """Accepts submissions. ``max_bytes`` limits photos that were uploaded by key or are fetched; the API limits those
    in a form."""

    def __init__(
        self,
        jobs: JobService,
        gate: PhotoGate,
        uploads: DirectUploads,
        max_bytes: int,
        costs: Costs,
        styles: StyleService,
        fetcher: PhotoFetcher,
    ) -> None:
        self._jobs, self._gate, self._uploads, self._max_bytes = jobs, gate, uploads, max_bytes
        self._costs, self._styles, self._fetcher = costs, styles, fetcher
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
        bytes of a photo that was uploaded by key or is fetched. A key whose photo the gate refuses is used up as well.

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
        preferences, words = submission.preferences, {}
        for style in submission.styles or (submission.style,):
            preferences = self._jobs.planned(style, submission.preferences, caller)
            words[style] = await self._styles.words(caller, style)
        if submission.variations > 1 and preferences.seed is None:
            preferences = msgspec.structs.replace(preferences, seed=drawn_seed())
        submission = msgspec.structs.replace(submission, preferences=preferences)
        pictures = submission.pictures(words)

        async def queue(photo: Photo, reservation: Reservation | None = None) -> JobView:
            # A refused mask leaves an upload where it is: the client may submit it again with another one.
            mask = await self._mask(submission.keep_mask, photo, client)
            reference = await self._reference(submission.reference, client)
            return await self._jobs.submit(
                photo.jpeg,
                submission.style,
                preferences,
                caller,
                reservation,
                mask,
                estimate=await self._costs.estimate(preferences, photo.height, photo.width, len(pictures)),
                reference=reference,
                manifests=photo.manifests,
                photo_type=photo.source_type,
                job_id=job_id,
                again=begun.again,
                cancel_after=submission.cancel_after,
                words=words[submission.style],
                pictures=pictures if len(pictures) > 1 else (),
            )

        if not isinstance(submission.photo, str):
            return await queue(await self._photo(submission.photo, client, count_bytes))
        key = submission.photo
        async with self._uploads.reserved(key, caller.owner, job_id) as reservation:
            try:
                data = await self._uploads.read(key, self._max_bytes, count_bytes)
                photo = await self._gate.accept(data, client=client, keep_manifests=True)
            except (PhotoRejected, ObjectTooLarge):
                await self._discard(key)
                raise
            view = await queue(photo, reservation)
        await self._discard_soon(key, view.job.id, caller)
        return view

    async def aclose(self) -> None:
        """Wait until all uploads are discarded."""
        await asyncio.gather(*self._discarding)

    async def _photo(
        self, given: bytearray | PhotoUrl, client: str | None, count_bytes: Callable[[int], None] | None
    ) -> Photo:
        if not isinstance(given, PhotoUrl):
            return await self._gate.accept(given, client=client, keep_manifests=True)
        data = await self._fetcher.fetch(given.url, self._max_bytes, count_bytes)
        try:
            return await self._gate.accept(data, client=client, keep_manifests=True)
        except PhotoRejected as refused:
            raise PhotoRejected(refused.code, refused.detail, FIELD) from None

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

    async def _reference(self, data: bytes | bytearray | None, client: str | None) -> bytes | None:
        """The reference as a JPEG. Raises PhotoRejected for the field reference, and Unavailable."""
        if data is None:
            return None
        try:
            return (await self._gate.accept(data, client=client)).jpeg
        except PhotoRejected as refused:
            raise PhotoRejected(refused.code, refused.detail, "reference") from None

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


def _varied(preferences: Preferences, variation: int) -> Preferences:
    seed = variation_seed(preferences.seed, variation)
    return msgspec.structs.replace(preferences, seed=seed)


def _digest(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()
