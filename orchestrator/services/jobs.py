"""What the API does with jobs, through the ports alone."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from orchestrator.domain.events import EventRecord
from orchestrator.domain.job import (
    DEFAULT_TIER,
    RESULTS,
    TERMINAL,
    UPLOADS,
    Job,
    JobState,
    Priority,
)
from orchestrator.domain.keys import Caller
from orchestrator.domain.plans import Plans
from orchestrator.domain.preferences import Preferences, most_pictures
from orchestrator.domain.styles import StyleWords, counted_as
from orchestrator.domain.usage import Pricing
from orchestrator.ports import (
    JobNotFound,
    JobPage,
    JobStore,
    ListPlace,
    PortError,
    QueueFull,
    QueueStats,
    QuotaExceeded,
    Reservation,
    Storage,
    Unavailable,
    Wanted,
)
from orchestrator.services.cleaning import clean, delete_pictures
from orchestrator.services.submitting.costs import Estimate
from orchestrator.services.submitting.estimates import estimated_gpu_seconds
from orchestrator.services.submitting.quotas import admission, check_plan, over_limit, within_plan
from orchestrator.services.submitting.trees import Picture, children_of, parent_of, required
from orchestrator.telemetry import context, tracing
from orchestrator.telemetry.analytics import NO_ANALYTICS, Analytics, since

log = logging.getLogger(__name__)

FIRST_GUESS_SECONDS = 5.0
"""The estimate for a job before any job was measured, which happens once in the life of a Redis."""

RETRY_SECONDS = (2, 300)
"""The least and the most seconds that a client is asked to wait when the queue is full."""
_JOB_ID = re.compile(r"[0-9a-f]{32}")


class JobNotFinished(Exception):
    """Only a finished job can be erased."""


class TooManyJobs(Exception):
    """The queue is full: ``waiting`` jobs wait. ``retry_after``: seconds after which a tenth of them should have
    begun."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} jobs wait")
        self.waiting, self.retry_after = waiting, retry_after


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its owner sees it now. Times are in seconds; all three estimates are None once it is finished."""

    job: Job
    children: list[Job] = []
    """The records of a parent's children, in the order of ``job.children``, as far as they have not expired."""
    queue_position: int | None = None
    estimated_time: float | None = None
    """From its submission to its end."""
    estimated_time_remaining: float | None = None


class JobService:
    """Submits, reads, cancels, erases and watches jobs. At most ``max_queue`` jobs wait; each caller has the limits of
    one of the ``plans``; ``clock`` gives UNIX seconds."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        *,
        max_queue: int = 1000,
        plans: Plans | None = None,
        pricing: Pricing | None = None,
        clock: Callable[[], float] = time.time,
        analytics: Analytics = NO_ANALYTICS,
    ) -> None:
        self._analytics = analytics
        self._store, self._storage, self._max_queue, self._clock = store, storage, max_queue, clock
        self._plans, self._pricing = plans or Plans(), pricing or Pricing()

    async def check_capacity(self) -> None:
        """Raises TooManyJobs when a submission would be refused now, or Unavailable. Called before a photo is read."""
        stats = await self._store.stats()
        if stats.waiting >= self._max_queue:
            raise too_many(stats.waiting, stats)

    def planned(self, style: str, preferences: Preferences, caller: Caller) -> Preferences:
        """The preferences of a job within the caller's plan. Called before a photo is decoded. Raises NotInPlan."""
        plan = self._plans.of(caller.plan)
        check_plan(plan, style, preferences)
        return within_plan(plan, preferences)

    async def submit(
        self,
        photo: bytes,
        style: str,
        preferences: Preferences,
        caller: Caller,
        reservation: Reservation | None = None,
        keep_mask: bytes | None = None,
        *,
        reference: bytes | None = None,
        manifests: bytes = b"",
        photo_type: str = "",
        estimate: Estimate = Estimate(),  # noqa: B008 (it is frozen)
        pictures: Sequence[Picture] = (),
        job_id: str = "",
        again: bool = False,
        cancel_after: float | None = None,
        words: StyleWords | None = None,
    ) -> JobView:
        """Store the photo, the mask and the reference (JPEGs from the upload gate) and queue a job of the caller's,
        which uses up the reservation. ``preferences`` are those that :meth:`planned` gave; ``estimate`` is what they
        cost the models, for estimates and for the caller's share of them. With ``pictures`` a child is queued for
        each of them, and the job that is returned is their parent.

        ``manifests`` and ``photo_type`` are what the gate found in the photo's file beside its pixels.

        ``job_id`` is a new one unless given; with one that was queued before, nothing changes. ``again``: a try that
        queued no job may have left files under it, which are replaced: what was fetched may have changed since. After
        ``cancel_after`` seconds the job is cancelled, unless it has ended. ``words`` are the style's; None: the worker
        has them.

        Raises TooManyJobs, OverLimit, ReservationLost, Unavailable. After an error, a job that was queued nevertheless
        is cancelled, its reservation is free again, and the photo deleted. If the store does not answer, the photo
        stays, since the store may still queue the job.
        """
        stats = await self._store.stats()
        job_id, now = job_id or uuid.uuid4().hex, self._clock()
        plan = self._plans.of(caller.plan)
        context.job_id.set(job_id)
        job = Job(
            id=job_id,
            owner=caller.owner,
            style=style,
            style_words=words,
            preferences=preferences,
            original_key=f"{UPLOADS}{job_id}/original.jpg",
            mask_key=None if keep_mask is None else f"{UPLOADS}{job_id}/keep_mask.jpg",
            cancel_after=cancel_after,
            priority=Priority(plan.priority),
            weight=plan.weight,
            reference_key=None if reference is None else f"{UPLOADS}{job_id}/reference.jpg",
            manifests_key=f"{UPLOADS}{job_id}/manifests.c2pa" if manifests else None,
            photo_type=photo_type,
            requires=required(style, words, masked=keep_mask is not None, refers=reference is not None),
            photo_digest=await asyncio.to_thread(photo_digest, photo, caller.owner),
            price=self._pricing.price,
            currency=self._pricing.currency if self._pricing.price else "",
            cost=estimate.first,
            created_at=now,
            updated_at=now,
            request_id=context.request_id.get() or None,
        )
        if pictures:
            job = parent_of(job, pictures, estimate)
        try:
            stored = (
                (job.original_key, photo), (job.mask_key, keep_mask), (job.reference_key, reference),
                (job.manifests_key, manifests),
            )  # fmt: skip
            for key, file in stored:
                if key is not None and file is not None:
                    kind = "application/c2pa" if file is manifests else "image/jpeg"
                    await self._storage.put(key, file, kind, overwrite=again)
            with tracing.span("queue job", "PRODUCER", job__id=job_id, job__style=style):
                job = msgspec.structs.replace(job, traceparent=tracing.traceparent())
                children = children_of(job, pictures, estimate)
                position = await self._store.submit(
                    job,
                    children=children,
                    hold=estimate.hold,
                    max_waiting=self._max_queue,
                    reservation=reservation,
                    admission=admission(
                        plan,
                        estimated_gpu_seconds(job.cost * most_pictures(preferences), stats),
                        photo,
                        keep_mask,
                        reference,
                        manifests or None,
                    ),
                )
        except BaseException as error:
            await asyncio.shield(self._undo(job_id, reservation))
            if isinstance(error, QueueFull):
                raise too_many(error.waiting, stats) from error
            if isinstance(error, QuotaExceeded):
                raise over_limit(error, plan, now, job_seconds(stats)) from error
            raise
        for each in children or [job]:
            tier = preferences.quality or DEFAULT_TIER
            self._analytics.emit("submitted", style=counted_as(each.style), tier=tier)
        before = (position or 0) * stats.waiting_cost / max(1, stats.waiting)
        # The last of several begins when those before it have ended, as far as the models do not run them together.
        last = children[-1] if children else job
        remaining = seconds_remaining(last, before + job.cost - last.cost, stats)
        return self._estimated(JobView(job=job, children=children, queue_position=position), remaining)

    async def made_before(self, job_id: str, caller: Caller) -> tuple[JobView | None, str]:
        """The job that an earlier try of a submission made, or None, and the id for one that is to be made now.

        That try gave no answer, so nobody was told of its job. If it is cancelled, the try undid it itself. Raises
        Unavailable.
        """
        while True:
            try:
                view = await self.status(job_id, caller)
            except JobNotFound:
                return None, job_id
            if not (view.job.status is JobState.CANCELLED or view.job.cancel_requested):
                return view, job_id
            # The same for every further try, so that these find each other's jobs too.
            job_id = hashlib.sha256(job_id.encode()).hexdigest()[: len(job_id)]

    async def find(self, job_id: str, caller: Caller) -> Job:
        """The job's record as of now. Raises JobNotFound, also for a job of another owner, and Unavailable."""
        if not _JOB_ID.fullmatch(job_id):
            raise JobNotFound(job_id)
        context.job_id.set(job_id)
        job = await self._store.get(job_id)
        if not caller.owns(job.owner):
            raise JobNotFound(job_id)
        return job

    async def status(self, job_id: str, caller: Caller) -> JobView:
        """The job as of now; raises JobNotFound, Unavailable."""
        return await self._view(await self.find(job_id, caller))

    async def cancel(self, job_id: str, caller: Caller) -> JobView:
        """Cancel a job, a parent with its children; the photo of one that was waiting is deleted. Raises JobNotFound,
        JobFinished, Unavailable."""
        await self.find(job_id, caller)
        job = await self._store.cancel(job_id)
        if job.status in TERMINAL:
            self._analytics.emit(
                "cancelled",
                style=counted_as(job.style),
                tier=job.preferences.quality or DEFAULT_TIER,
                seconds=since(job.created_at),
            )
            # If this fails, a worker deletes the photo soon, as it does for jobs that end while they run.
            with contextlib.suppress(Unavailable):
                if not any(child.status is JobState.COMPLETED for child in job.children):
                    await clean(self._store, self._storage, [job_id])
        return await self._view(job)

    async def erase(self, job_id: str, caller: Caller) -> None:
        """Delete a finished job's pictures, then its record; those of a parent with all of its children's.

        Callers without a key may also delete the pictures of a job whose record has expired: nobody knows its owner
        any more, and retention deletes them soon. Raises JobNotFound, JobNotFinished, Unavailable.
        """
        try:
            job = await self.find(job_id, caller)
        except JobNotFound:
            if not await self._delete_forgotten(job_id, caller):
                raise
            return
        if job.status not in TERMINAL:
            raise JobNotFinished(job_id)
        ids = [*(child.id for child in job.children), job_id]
        for each in ids:
            await delete_pictures(self._storage, each)
        await self._store.erase(job_id)
        # A picture that was being made of them may have been stored meanwhile; who stores one from now on finds no
        # record, and deletes it. If this fails, a worker does it soon.
        with contextlib.suppress(Unavailable):
            await clean(self._store, self._storage, ids)
        if job.parent is not None:
            await self._child_erased(job.parent)

    async def page(
        self, caller: Caller, wanted: Wanted, *, after: ListPlace | None = None, limit: int
    ) -> JobPage:
        """Some of the caller's jobs, the newest first. Raises Unavailable."""
        return await self._store.list_jobs(caller.owner, wanted, after=after, limit=limit)

    async def views_of(self, listed: Sequence[Job]) -> list[JobView]:
        """Jobs of a page as their records say, without estimates; parents with their children. Raises Unavailable."""
        ids = [child.id for job in listed for child in job.children]
        children = await self._store.get_all(ids) if ids else []
        return [
            JobView(job=job, children=[child for child in children if child.parent == job.id])
            for job in listed
        ]

    async def set_favourite(self, job_id: str, favourite: bool, caller: Caller) -> JobView:
        """Mark a job as one to keep, or unmark it. Raises JobNotFound, NothingToKeep, Unavailable."""
        await self.find(job_id, caller)
        return await self._view(await self._store.set_favourite(job_id, favourite))

    def events(self, job: Job, after: str) -> AsyncGenerator[EventRecord, None]:
        """The events of a job that the caller was shown; see :meth:`orchestrator.ports.JobStore.events`."""
        return self._store.events(job.id, after)

    async def _child_erased(self, parent: str) -> None:
        """Delete the pictures of a parent that show the child; all of them, and the photo, with the last child."""
        try:
            await self._store.get(parent)
        except JobNotFound:
            await clean(self._store, self._storage, [parent])
        else:
            await self._storage.delete_prefix(f"{RESULTS}{parent}/")

    async def _delete_forgotten(self, job_id: str, caller: Caller) -> bool:
        """Delete the pictures of a job without a record; whether there were any."""
        if not _JOB_ID.fullmatch(job_id) or not caller.owns(""):
            return False
        try:
            await self._store.get(job_id)
        except JobNotFound:
            return await delete_pictures(self._storage, job_id) > 0
        return False

    async def _view(self, job: Job) -> JobView:
        children = await self._store.get_all([child.id for child in job.children]) if job.children else []
        view = JobView(job=job, children=children)
        if job.status in TERMINAL:
            return view
        running = [each for each in children or [job] if each.status not in TERMINAL | {JobState.QUEUED}]
        waiting = [each for each in children or [job] if each.status is JobState.QUEUED]
        stats = await self._store.stats()
        ends = [seconds_remaining(each, None, stats) for each in running]
        if waiting:
            # The last one ends last.
            last = await self._store.place(waiting[-1].id)
            ends.append(seconds_remaining(waiting[-1], last.cost_before if last else None, stats))
            first = last if len(waiting) == 1 or running else await self._store.place(waiting[0].id)
            if first and not running:
                view = msgspec.structs.replace(view, queue_position=first.position)
        return self._estimated(view, max(ends, default=0.0))

    def _estimated(self, view: JobView, remaining: float) -> JobView:
        elapsed = max(0.0, self._clock() - view.job.created_at)
        return msgspec.structs.replace(
            view,
            estimated_time=round(elapsed + remaining, 1),
            estimated_time_remaining=round(remaining, 1),
        )

    async def _undo(self, job_id: str, reservation: Reservation | None) -> None:
        try:
            with contextlib.suppress(JobNotFound):
                await self._store.cancel(job_id, reservation)
            await delete_pictures(self._storage, job_id)
        except PortError as error:
            log.warning(
                "job %s: it is not known whether it was queued, so its photo stays: %s", job_id, error
            )


def photo_digest(photo: bytes, owner: str = "") -> str:
    """What jobs of the same photo have in common, and with it what models keep of the photo for a while. Each ``owner``
    has digests of their own, so that none learns from the time of an answer what others have submitted."""
    return hashlib.sha256(f"{owner}\n".encode() + photo).hexdigest()


def seconds_remaining(job: Job, before: float | None, stats: QueueStats) -> float:
    """Seconds until an unfinished job is finished; the jobs that wait before it cost ``before``.

    Those end at the measured rate; then it takes as long as recent jobs did, in proportion to their cost and its own.
    """
    own = job_seconds(stats) * job.cost / (stats.mean_cost or 1.0)
    return (before or 0.0) / cost_rate(stats) + own * (1 - job.progress)


def cost_rate(stats: QueueStats) -> float:
    """The cost of the jobs that end per second when enough wait, as measured, or estimated from the time that one
    takes."""
    return stats.cost_rate or rate(stats) * (stats.mean_cost or 1.0)


def rate(stats: QueueStats) -> float:
    """Jobs that end per second when enough wait, as measured, or estimated from the time that one takes."""
    if stats.rate is not None:
        return stats.rate
    return max(1, stats.workers, stats.running) / job_seconds(stats)


def job_seconds(stats: QueueStats) -> float:
    """Seconds that a worker needs for one job, at least a millisecond."""
    return max(0.001, FIRST_GUESS_SECONDS if stats.mean_seconds is None else stats.mean_seconds)


def too_many(waiting: int, stats: QueueStats) -> TooManyJobs:
    least, most = RETRY_SECONDS
    return TooManyJobs(waiting, min(most, max(least, math.ceil(waiting / 10 / rate(stats)))))
