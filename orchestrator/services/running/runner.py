"""Runs the job of a lease: runs the model, publishes events, stores the picture, commits, and renews the lease."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.events import Cancelled, Completed, Failed, Terminal
from orchestrator.domain.job import FEATURES, MAX_OUTAGES, RESULTS, Job, JobError, JobResult
from orchestrator.domain.marks import MAX_MANIFESTS
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import Style, StyleWords
from orchestrator.photos import pictures
from orchestrator.photos.marking import Marker
from orchestrator.ports import (
    UNAVAILABLE,
    Inference,
    InferenceError,
    JobNotFound,
    JobStore,
    Lease,
    LeaseLost,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    Unavailable,
)
from orchestrator.services.releases.trials import TrialOfJob, Trials
from orchestrator.services.running.finishing import (
    LABELLED,
    LOSSLESS,
    THUMBNAIL,
    TRANSFORMED,
    Marks,
    finished,
    share_kept,
)
from orchestrator.services.running.photos_at_hand import Photo, PhotosAtHand
from orchestrator.services.running.record_of_run import RecordOfRun
from orchestrator.services.running.translation import ProgressTranslator, metadata, request
from orchestrator.telemetry import context, metrics, tracing
from orchestrator.telemetry.analytics import NO_ANALYTICS, Analytics
from reroom import triton

OUTAGE_PATIENCE = 120.0
"""Seconds that an attempt waits for the job store or the storage to come back before it is given up."""

STALL_SECONDS = 300.0
"""Seconds without an event after which the model counts as hanging. A step of Stable Diffusion takes 30 s on a CPU."""

STOP_SECONDS = 10.0
"""Seconds that stopping the model's stream may take."""

CANCEL_POLL = 0.25
"""Seconds between reads of the cancel flag. A read is cheaper than a renewal, which Redis writes to disk."""

OUTAGE_DOUBLINGS = 5
"""How often the delay after an outage doubles at most. It grows at random, so that a job which crashes the server each
time returns at another time than the jobs that ran beside it."""

REFERENCE_SIDE = 512
"""Pixels: colours and contrasts of a reference are the same at every size."""

_RENEWALS_PER_LEASE = 5
_log = logging.getLogger("reroom.runner")
T = TypeVar("T")


class Runner:
    """Runs the jobs of leases, any number at once."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        inference: Inference,
        styles: Mapping[str, Style],
        *,
        lease_seconds: float,
        retry_delay: float,
        analytics: Analytics = NO_ANALYTICS,
        marker: Marker | None = None,
        trials: Trials | None = None,
    ) -> None:
        self._store, self._storage, self._inference = store, storage, inference
        self._marker, self._trials = marker or Marker(), trials or Trials()
        self._styles = styles
        self._renew_every = lease_seconds / _RENEWALS_PER_LEASE
        self._retry_delay, self._analytics = retry_delay, analytics
        self._photos = PhotosAtHand()
        self._tidying: set[asyncio.Task[None]] = set()
        self.kind = kind_of_worker(styles)

    async def run(self, lease: Lease, halt: asyncio.Event) -> None:
        """Run the job until it has an outcome or the lease is lost; when ``halt`` is set, stop and release the job.

        A job that says nothing of its style, and whose style this version does not know, is declined.
        """
        job = lease.job
        context.job_id.set(job.id)
        context.request_id.set(job.request_id or "")
        words = job.style_words or self._styles.get(job.style)
        if words is None:
            metrics.JOB_RETURNS.labels("decline").inc()
            await self._decline(lease)
            return
        with (
            metrics.JOBS_RUNNING.track_inprogress(),
            tracing.span(
                "run job", "CONSUMER", job.traceparent, job__id=job.id, job__style=job.style
            ) as span,
        ):
            span.note(job__attempt=lease.attempt)
            await self._run(lease, halt, words, RecordOfRun(lease, self._analytics))

    async def _run(self, lease: Lease, halt: asyncio.Event, words: StyleWords, record: RecordOfRun) -> None:
        trial = await self._trials.begin(lease.job)
        work = asyncio.create_task(self._work(lease, words, record, trial))
        watch = asyncio.create_task(self._watch(lease))
        halted = asyncio.create_task(halt.wait())
        tasks = (work, watch, halted)
        lost = False
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                outcome = work.result()
                await self._commit(lease, outcome, record)
                if isinstance(outcome, Completed):
                    await trial.completed()
                elif isinstance(outcome, JobError) and outcome.code == UNAVAILABLE:
                    await trial.cut_off()
            elif watch.done():
                watch.result()
                await _stop(work)
                await self._commit(lease, Cancelled(), record)
            else:
                await _stop(work)
                await self._patiently(lambda: self._store.release(lease))
                record.returned("release")
        except LeaseLost:
            lost = True
            record.returned("lost")
            _log.warning("job %s, attempt %d: lost to another worker", lease.job.id, lease.attempt)
        except Unavailable as error:
            _log.error("job %s, attempt %d: left to other workers: %s", lease.job.id, lease.attempt, error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if lost or not work.done():
            self._tidying.add(tidying := asyncio.create_task(self._tidy(lease, work)))
            tidying.add_done_callback(self._tidying.discard)

    async def _tidy(self, lease: Lease, work: asyncio.Task[Terminal | JobError]) -> None:
        """Delete the pictures of an attempt that was not committed, once it has stored the last of them: storage may
        take longer than STOP_SECONDS, and then the job's objects may have been deleted before."""
        await asyncio.wait([work])
        try:
            await self._storage.delete_prefix(_folder(lease))
        except Unavailable as error:
            _log.warning("job %s, attempt %d: its pictures stay: %s", lease.job.id, lease.attempt, error)

    async def _decline(self, lease: Lease) -> None:
        try:
            await self._store.decline(lease, [f"style {lease.job.style}"])
        except (LeaseLost, Unavailable) as error:
            _log.warning("job %s: not declined, so its lease will run out: %s", lease.job.id, error)

    async def _commit(self, lease: Lease, outcome: Terminal | JobError, record: RecordOfRun) -> None:
        _log.info("job %s, attempt %d: %s", lease.job.id, lease.attempt, _summary(outcome))
        if isinstance(outcome, JobError) and outcome.code == UNAVAILABLE:
            again = await self._patiently(partial(self._postpone, lease))
            record.returned("outage") if again else record.failed(FailureCode.TOO_MANY_OUTAGES)
        elif isinstance(outcome, JobError):
            # At random, so that jobs which failed together do not come back together.
            delay = self._retry_delay * random.uniform(0.5, 1.0) * 2.0 ** (lease.job.attempts - 1)
            again = await self._patiently(lambda: self._store.retry(lease, outcome, delay))
            record.returned("retry") if again else record.failed(outcome.code)
        else:
            await self._patiently(lambda: self._store.finish(lease, outcome))
            record.ended(outcome)

    async def _postpone(self, lease: Lease) -> bool:
        """Give the job back without counting the attempt, since the job did not cause the outage."""
        delay = self._retry_delay * random.uniform(0.5, 1.0) * 2.0 ** min(lease.job.outages, OUTAGE_DOUBLINGS)
        detail = (
            f"A service that it needs went away {MAX_OUTAGES} times while the job ran, and it was given up."
        )
        return await self._store.postpone(
            lease, JobError(code=FailureCode.TOO_MANY_OUTAGES, detail=detail), delay
        )

    async def _watch(self, lease: Lease) -> None:
        """Renews the lease; returns when a cancel was requested, raises LeaseLost."""
        renew_at = time.monotonic()
        while True:
            try:
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + self._renew_every
                    cancel = await self._store.renew(lease)
                else:
                    cancel = (await self._store.get(lease.job.id)).cancel_requested
                if cancel:
                    return
            except JobNotFound as error:
                raise LeaseLost(lease.job.id) from error
            except Unavailable as error:
                # The model continues: if the lease is lost meanwhile, the store refuses the commit.
                _log.warning("job %s: cannot renew: %s", lease.job.id, error)
                renew_at = time.monotonic()
            await asyncio.sleep(min(CANCEL_POLL, self._renew_every))

    async def _work(
        self, lease: Lease, words: StyleWords, record: RecordOfRun, trial: TrialOfJob
    ) -> Terminal | JobError:
        """Run the attempt. Returns the job's outcome, or a JobError when the job should be tried again."""
        try:
            return Completed(result=await self._restyle(lease, words, record, trial))
        except InferenceError as error:
            reason = JobError(code=error.code, detail=error.detail)
            return reason if error.retryable else Failed(error=reason)
        except ObjectNotFound:
            return Failed(
                error=JobError(code=FailureCode.ORIGINAL_MISSING, detail="The uploaded photo is gone.")
            )
        except pictures.BrokenPicture as error:
            return Failed(
                error=JobError(code=FailureCode.BROKEN_IMAGE, detail=f"The photo cannot be decoded: {error}.")
            )
        except Unavailable as error:
            return JobError(code=UNAVAILABLE, detail=f"A service was out of reach for too long: {error}.")
        except LeaseLost:
            raise
        except Exception:
            _log.exception("job %s, attempt %d: unexpected error", lease.job.id, lease.attempt)
            return JobError(
                code=FailureCode.INTERNAL_ERROR,
                detail="The worker had an unexpected error while it ran the job.",
            )

    async def _restyle(
        self, lease: Lease, words: StyleWords, record: RecordOfRun, trial: TrialOfJob
    ) -> JobResult:
        started = time.monotonic()
        job = lease.job
        original, photo = await self._photo(job)
        mask = await self._keep_mask(job, photo)
        translator = ProgressTranslator()
        reference = await self._reference(job)
        asked = request(job, words, photo, mask, lease.photo_id, reference)
        marks = Marks(
            self._marker,
            job.id,
            original,
            share_kept(mask),
            photo_type=job.photo_type,
            manifests=await self._manifests(job),
        )
        with tracing.span("restyle"):
            result = await self._infer_by_release(lease, asked, translator, record, marks, trial)
        if result.selection is not None:
            # What was named is known only now.
            marks = msgspec.structs.replace(marks, kept=result.selection["share"])
        wishes = job.preferences
        files = await asyncio.to_thread(
            finished,
            result.image,
            marks,
            result.release,
            label=wishes.label,
            lossless=wishes.lossless is not None,
        )
        keys = {name: f"{_folder(lease)}{name}.{'png' if name == LOSSLESS else 'jpg'}" for name in files}
        for name, picture in files.items():
            # No other lease has this attempt number, so another picture under the key is a bug and must raise an error.
            kind = "png" if name == LOSSLESS else "jpeg"
            await self._patiently(
                partial(self._storage.put, keys[name], picture, f"image/{kind}", overwrite=False)
            )
        took = time.monotonic() - started
        return JobResult(
            transformed_key=keys[TRANSFORMED],
            thumbnail_key=keys[THUMBNAIL],
            labelled_key=keys.get(LABELLED),
            lossless_key=keys.get(LOSSLESS),
            stored_bytes=sum(map(len, files.values())),
            metadata=msgspec.to_builtins(metadata(job, result, translator, took, marks.kept)),
        )

    async def _photo(self, job: Job) -> Photo:
        async def read() -> Photo:
            original = await self._patiently(lambda: self._storage.get(job.original_key))
            return original, await asyncio.to_thread(pictures.decode, original)

        return await read() if job.parent is None else await self._photos.get(job.original_key, read)

    async def _keep_mask(self, job: Job, photo: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        key = job.mask_key
        if key is None:
            return None
        stored = await self._patiently(lambda: self._storage.get(key))
        return await asyncio.to_thread(pictures.decode_mask, stored, *photo.shape[:2])

    async def _reference(self, job: Job) -> NDArray[np.uint8] | None:
        key = job.reference_key
        if key is None:
            return None
        stored = await self._patiently(lambda: self._storage.get(key))
        return await asyncio.to_thread(pictures.decode, stored, REFERENCE_SIDE)

    async def _manifests(self, job: Job) -> bytes:
        """Those that the upload carried; empty where nothing is signed, or they are gone: a job does without them."""
        key = job.manifests_key
        if key is None or not self._marker.signs:
            return b""
        try:
            return await self._patiently(lambda: self._storage.get(key, limit=MAX_MANIFESTS))
        except (ObjectNotFound, ObjectTooLarge):
            return b""

    async def _infer_by_release(
        self,
        lease: Lease,
        asked: triton.RestyleRequest,
        translator: ProgressTranslator,
        record: RecordOfRun,
        marks: Marks,
        trial: TrialOfJob,
    ) -> triton.Result:
        """Run the model of the release that the trial says, or else the live one. Raises InferenceError."""
        while True:
            named = msgspec.structs.replace(asked, release=trial.release)
            try:
                result = await self._infer(lease, named, translator, record, marks)
            except InferenceError as error:
                if not trial.goes_on_without(error):
                    raise
            else:
                trial.made(asked, result)
                return result

    async def _infer(
        self,
        lease: Lease,
        asked: triton.RestyleRequest,
        translator: ProgressTranslator,
        record: RecordOfRun,
        marks: Marks,
    ) -> triton.Result:
        """Run the model and publish its events, previews marked. Returns its result; raises InferenceError."""
        try:
            async with (
                aclosing(self._inference.restyle(asked)) as stream,
                asyncio.timeout(STALL_SECONDS) as limit,
            ):
                async for event in stream:
                    record.saw(event)
                    if isinstance(event, triton.Preview):
                        marked = await asyncio.to_thread(marks.mark, event.jpeg)
                        event = msgspec.structs.replace(event, jpeg=marked)
                    if translated := translator.translate(event):
                        await self._patiently(
                            partial(
                                self._store.publish,
                                lease,
                                translator.published,
                                translated,
                                translator.release,
                            )
                        )
                    if isinstance(event, triton.Result):
                        return event
                    limit.reschedule(asyncio.get_running_loop().time() + STALL_SECONDS)
        except TimeoutError as error:
            detail = f"The model sent nothing for {STALL_SECONDS:.0f} s."
            raise InferenceError(FailureCode.STALLED, detail, retryable=True) from error
        finally:
            record.stages_ended()
        raise InferenceError(FailureCode.MODEL_ERROR, "The model ended without a result.", retryable=True)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the call during an outage; raises Unavailable after OUTAGE_PATIENCE seconds."""
        give_up, pause = time.monotonic() + OUTAGE_PATIENCE, 0.1
        while True:
            try:
                return await call()
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)


def kind_of_worker(styles: Mapping[str, Style]) -> str:
    """A digest of everything that jobs may ask of this worker: equal for workers that understand the same jobs."""
    known = [
        sorted((field.name, str(field.type)) for field in msgspec.structs.fields(Preferences)),
        sorted(FEATURES),
        sorted(styles),
    ]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _folder(lease: Lease) -> str:
    """Where the attempt stores its pictures; no other has the same."""
    return f"{RESULTS}{lease.job.id}/{lease.attempt}/"


async def _stop(work: asyncio.Task[Terminal | JobError]) -> None:
    work.cancel()
    _, pending = await asyncio.wait([work], timeout=STOP_SECONDS)
    if pending:
        _log.error("the model's stream did not stop within %.0f s", STOP_SECONDS)


def _summary(outcome: Terminal | JobError) -> str:
    match outcome:
        case Completed():
            return "completed"
        case Cancelled():
            return "cancelled"
        case Failed(error=error):
            return f"failed: {error.code}: {error.detail}"
        case JobError(code=code, detail=detail):
            return f"to be tried again: {code}: {detail}"
