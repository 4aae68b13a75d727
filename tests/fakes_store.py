"""A job store in memory, for tests of what stands above the port: one process, no leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import msgspec

from orchestrator.jobs.events import (
    Cancelled,
    Completed,
    Event,
    EventRecord,
    Failed,
    Progress,
    Terminal,
    seq_key,
)
from orchestrator.jobs.models import TERMINAL, Job, JobError, JobState
from orchestrator.ports import JobFinished, JobNotFound, JobStore, Lease, QueueStats, Unavailable


class MemoryJobStore(JobStore):
    """``down`` makes every call raise Unavailable; ``mean_seconds`` and ``workers`` are what stats say."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.waiting: list[str] = []
        self.down = False
        self.mean_seconds: float | None = None
        self.workers = 1
        self._events: dict[str, list[EventRecord]] = {}
        self._news = asyncio.Condition()

    async def submit(self, job: Job) -> None:
        self._check()
        if job.id not in self.jobs:
            self.jobs[job.id] = job
            self._events[job.id] = []
            self.waiting.append(job.id)

    async def get(self, job_id: str) -> Job:
        self._check()
        try:
            return self.jobs[job_id]
        except KeyError:
            raise JobNotFound(job_id) from None

    async def cancel(self, job_id: str) -> Job:
        job = await self.get(job_id)
        if job.status in TERMINAL:
            raise JobFinished(job_id)
        if job_id in self.waiting:
            self.waiting.remove(job_id)
            await self._append(job_id, Cancelled(), status=JobState.CANCELLED)
        else:
            self.jobs[job_id] = msgspec.structs.replace(job, cancel_requested=True)
        return self.jobs[job_id]

    async def erase(self, job_id: str) -> None:
        if (await self.get(job_id)).status not in TERMINAL:
            raise ValueError(job_id)
        del self.jobs[job_id], self._events[job_id]
        async with self._news:
            self._news.notify_all()

    async def queue_position(self, job_id: str) -> int | None:
        self._check()
        return self.waiting.index(job_id) if job_id in self.waiting else None

    async def take(self, worker: str, wait: float) -> Lease | None:
        self._check()
        if not self.waiting:
            return None
        job_id = self.waiting.pop(0)
        job = self.jobs[job_id]
        self.jobs[job_id] = msgspec.structs.replace(job, status=JobState.ANALYZING, attempts=job.attempts + 1)
        return Lease(job=self.jobs[job_id], entry_id="0-1", worker=worker, attempt=job.attempts + 1)

    async def renew(self, lease: Lease) -> bool:
        return (await self.get(lease.job.id)).cancel_requested

    async def publish(self, lease: Lease, number: int, event: Progress) -> None:
        self._check()
        await self._append(lease.job.id, event, progress=event.progress)

    async def finish(self, lease: Lease, outcome: Terminal) -> None:
        self._check()
        match outcome:
            case Completed(result=result):
                await self._append(
                    lease.job.id, outcome, status=JobState.COMPLETED, progress=1.0, result=result
                )
            case Failed(error=error):
                await self._append(lease.job.id, outcome, status=JobState.FAILED, error=error)
            case Cancelled():
                await self._append(lease.job.id, outcome, status=JobState.CANCELLED)

    async def retry(self, lease: Lease, error: JobError, delay: float) -> bool:
        await self.release(lease)
        return True

    async def release(self, lease: Lease) -> None:
        self._check()
        self.waiting.insert(0, lease.job.id)

    async def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        self._check()
        seen = seq_key(after)
        while job_id in self._events:
            fresh = [record for record in self._events[job_id] if seq_key(record.seq) > seen]
            for record in fresh:
                seen = seq_key(record.seq)
                yield record
                if isinstance(record.event, Terminal):
                    return
            if not fresh:
                async with self._news:
                    await self._news.wait()

    async def sweep(self, worker: str) -> int:
        self._check()
        return 0

    async def stats(self) -> QueueStats:
        self._check()
        running = sum(job.status not in TERMINAL for job in self.jobs.values()) - len(self.waiting)
        return QueueStats(
            queued=len(self.waiting),
            running=running,
            delayed=0,
            dead_letters=0,
            workers=self.workers,
            mean_seconds=self.mean_seconds,
        )

    async def ping(self) -> None:
        self._check()

    async def _append(self, job_id: str, event: Event, **changes: object) -> None:
        seq = f"{len(self._events[job_id]) + 1}-0"
        self._events[job_id].append(EventRecord(seq=seq, event=event))
        self.jobs[job_id] = msgspec.structs.replace(
            self.jobs[job_id], last_seq=seq, updated_at=time.time(), **changes
        )
        async with self._news:
            self._news.notify_all()

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the store is down")
