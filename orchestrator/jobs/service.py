"""What the API can do with jobs. Knows the ports only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable

import msgspec

from orchestrator.jobs.events import EventRecord
from orchestrator.jobs.models import RESULTS, TERMINAL, UPLOADS, Job, JobState, Preferences
from orchestrator.ports import JobNotFound, JobStore, PortError, QueueStats, Storage

log = logging.getLogger(__name__)

FIRST_GUESS_SECONDS = 15.0
"""What a job is taken to need before any has been measured."""
_JOB_ID = re.compile(r"[0-9a-f]{32}")


class JobNotFinished(Exception):
    """Only a finished job can be erased; cancel it first."""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its owner sees it now. Times in seconds; all three estimates are None once it is finished."""

    job: Job
    queue_position: int | None = None
    estimated_time: float | None = None
    """From its submission to its end."""
    estimated_time_remaining: float | None = None


class JobService:
    """Submit, look at, cancel, erase and watch jobs. ``clock`` gives UNIX seconds."""

    def __init__(self, store: JobStore, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._store, self._storage, self._clock = store, storage, clock

    async def submit(self, photo: bytes, style: str, preferences: Preferences) -> JobView:
        """Store the photo (a JPEG from the upload gate) and queue a job for it.

        Raises Unavailable. A job that was queued all the same is cancelled and the photo deleted then, unless the
        store does not answer: then the photo stays, because the store may yet queue the job.
        """
        stats = await self._store.stats()
        job_id, now = uuid.uuid4().hex, self._clock()
        job = Job(
            id=job_id,
            style=style,
            preferences=preferences,
            original_key=f"{UPLOADS}{job_id}/original.jpg",
            created_at=now,
            updated_at=now,
        )
        try:
            await self._storage.put(job.original_key, photo, "image/jpeg", overwrite=False)
            await self._store.submit(job)
        except BaseException:
            await asyncio.shield(self._take_back(job_id))
            raise
        return self._estimated(job, stats.queued, stats)

    async def status(self, job_id: str) -> JobView:
        """The job as of now; raises JobNotFound, Unavailable."""
        return await self._view(await self._store.get(_checked(job_id)))

    async def cancel(self, job_id: str) -> JobView:
        """Cancel a job; raises JobNotFound, JobFinished, Unavailable."""
        return await self._view(await self._store.cancel(_checked(job_id)))

    async def erase(self, job_id: str) -> None:
        """Delete a finished job's pictures, then its record; the pictures also when the record has expired.

        Raises JobNotFound, JobNotFinished, Unavailable.
        """
        _checked(job_id)
        try:
            job = await self._store.get(job_id)
        except JobNotFound:
            if not await self._delete_objects(job_id):
                raise
            return
        if job.status not in TERMINAL:
            raise JobNotFinished(job_id)
        await self._delete_objects(job_id)
        await self._store.erase(job_id)

    def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        """See :meth:`orchestrator.ports.JobStore.events`."""
        return self._store.events(_checked(job_id), after)

    async def _view(self, job: Job) -> JobView:
        if job.status in TERMINAL:
            return JobView(job=job)
        position = await self._store.queue_position(job.id) if job.status is JobState.QUEUED else None
        return self._estimated(job, position, await self._store.stats())

    def _estimated(self, job: Job, position: int | None, stats: QueueStats) -> JobView:
        remaining = seconds_remaining(job, position, stats)
        elapsed = max(0.0, self._clock() - job.created_at)
        return JobView(
            job=job,
            queue_position=position,
            estimated_time=round(elapsed + remaining, 1),
            estimated_time_remaining=round(remaining, 1),
        )

    async def _take_back(self, job_id: str) -> None:
        try:
            with contextlib.suppress(JobNotFound):
                await self._store.cancel(job_id)
            await self._delete_objects(job_id)
        except PortError as error:
            log.warning("job %s may not be queued, its photo stays: %s", job_id, error)

    async def _delete_objects(self, job_id: str) -> int:
        return sum([await self._storage.delete_prefix(f"{kind}{job_id}/") for kind in (UPLOADS, RESULTS)])


def seconds_remaining(job: Job, position: int | None, stats: QueueStats) -> float:
    """Seconds until a job that is not finished will be.

    That is the mean time of recent jobs, for each round of the queue before it and for its own rest.
    """
    mean = FIRST_GUESS_SECONDS if stats.mean_seconds is None else stats.mean_seconds
    rounds_before = (position or 0) / max(1, stats.workers)
    return float(mean * (rounds_before + 1 - job.progress))


def _checked(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFound(job_id)
    return job_id
