"""The job store over Redis. What the scripts do stands in ``lua/``; this file gives them their arguments."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from orchestrator.jobs.events import Cancelled, EventRecord, Failed, Progress, Terminal
from orchestrator.jobs.models import MAX_DELIVERIES, Job, JobError, JobState
from orchestrator.ports import JobFinished, JobNotFound, JobStore, Lease, LeaseLost, QueueStats
from orchestrator.redis_jobs import record
from orchestrator.redis_jobs.connection import MAX_BLOCK, connect, redis_calls
from orchestrator.redis_jobs.hub import Hub
from orchestrator.redis_jobs.keys import PARKED, Keys
from orchestrator.redis_jobs.scripts import Scripts

EVENTS_TTL = 3600
"""Seconds that a finished job's events, previews among them, are kept; its record lives on and says how it ended."""

DEAD_LETTERS = 10_000
"""About how many dead letters are kept."""

_CONNECTIONS = 32
_EXHAUSTED = JobError(
    code="too_many_attempts", detail="The job stopped its worker too often and was given up."
)
_BROKEN_RECORD = JobError(code="broken_record", detail="The job's record was damaged.")
_log = logging.getLogger("reroom.store")


class RedisJobStore(JobStore):
    """Jobs on Redis Streams. Use :meth:`aclose` at the end; it belongs to the event loop that uses it.

    ``lease_seconds``: a worker that has been silent for so long is taken for dead.
    ``job_ttl``: how long a job is remembered after its end, in seconds.
    Raises ValueError for an URL that is not Redis's.
    """

    def __init__(
        self, url: str, *, prefix: str = "reroom:", lease_seconds: float = 10.0, job_ttl: int = 7 * 86400
    ) -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._blocking = connect(url, max_connections=_CONNECTIONS, retries=0)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys)
        self._hub = Hub(self._client, self._blocking, self._keys, f"{prefix}hub:{uuid.uuid4().hex}")
        self._lease_seconds = lease_seconds
        self._ending: dict[str, Any] = {
            "ttl": job_ttl,
            "events_ttl": min(job_ttl, EVENTS_TTL),
            "dead_letters": DEAD_LETTERS,
            "max_deliveries": MAX_DELIVERIES,
            "cancelled": record.terminal_change(Cancelled()),
        }
        self._expiry: dict[str, Any] = self._ending | {
            "lease_ms": int(lease_seconds * 1000),
            "exhausted": record.failure(_EXHAUSTED),
        }

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._hub.aclose()
        await self._client.aclose()
        await self._blocking.aclose()

    async def submit(self, job: Job) -> None:
        change = record.status_change(JobState.QUEUED)
        await self._call("submit", job=job.id, record=record.to_fields(job), change=change)

    async def get(self, job_id: str) -> Job:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.job + job_id)
        if not fields:
            raise JobNotFound(job_id)
        return record.from_hash(fields)

    async def cancel(self, job_id: str) -> Job:
        reply = await self._call("cancel", job=job_id, nonce=uuid.uuid4().hex, **self._ending)
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply == "finished":
            raise JobFinished(job_id)
        return record.from_hash(_pairs(reply))

    async def erase(self, job_id: str) -> None:
        reply = await self._call("erase", job=job_id, nonce=uuid.uuid4().hex)
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply == "running":
            raise ValueError(f"job {job_id} is not finished")

    async def queue_position(self, job_id: str) -> int | None:
        with redis_calls():
            rank: Any = await self._client.zrank(self._keys.waiting, job_id)
        return None if rank is None else int(rank)

    async def take(self, worker: str, wait: float) -> Lease | None:
        if not worker or worker == PARKED or " " in worker:
            raise ValueError(f"{worker!r} cannot be a worker's name")
        deadline = time.monotonic() + min(wait, MAX_BLOCK)
        begin = record.status_change(JobState.ANALYZING)
        while True:
            nonce = uuid.uuid4().hex
            reply = await self._call("take", worker=worker, nonce=nonce, begin=begin, **self._expiry)
            if isinstance(reply, list):
                try:
                    return _lease(worker, _pairs(reply))
                except msgspec.DecodeError as error:
                    await self._fail_broken(worker, _pairs(reply), error)
                    continue
            left = deadline - time.monotonic()
            if left <= 0.001:
                return None
            # Only wakes this worker up: which job it gets, the script decides.
            with redis_calls():
                await self._blocking.xread({self._keys.queue: reply}, count=1, block=int(left * 1000) or 1)

    async def _fail_broken(self, worker: str, fields: dict[str, str], error: Exception) -> None:
        _log.error("job %s: its record cannot be read: %s", fields["id"], error)
        lease = {
            "job": fields["id"],
            "entry": fields["entry"],
            "worker": worker,
            "attempt": fields["begun"],
        }
        change = record.terminal_change(Failed(error=_BROKEN_RECORD))
        await self._call("finish", lease=lease, change=change, completed=False, **self._ending)

    async def renew(self, lease: Lease) -> bool:
        reply = await self._call("renew", lease=_names(lease))
        if reply < 0:
            raise LeaseLost(lease.job.id)
        return bool(reply)

    async def publish(self, lease: Lease, number: int, event: Progress) -> None:
        change = record.progress_change(event)
        if not await self._call(
            "publish", lease=_names(lease), number=number, progress=event.progress, change=change
        ):
            raise LeaseLost(lease.job.id)

    async def finish(self, lease: Lease, outcome: Terminal) -> None:
        change = record.terminal_change(outcome)
        completed = change["fields"][1] == JobState.COMPLETED
        if not await self._call(
            "finish", lease=_names(lease), change=change, completed=completed, **self._ending
        ):
            raise LeaseLost(lease.job.id)

    async def retry(self, lease: Lease, error: JobError, delay: float) -> bool:
        return await self._give_back(lease, "retry", delay, failed=record.failure(error)) == "retry"

    async def release(self, lease: Lease) -> None:
        await self._give_back(lease, "release", 0.0)

    async def _give_back(self, lease: Lease, act: str, delay: float, **more: Any) -> str:
        reply: str = await self._call(
            "give_back",
            lease=_names(lease),
            act=act,
            delay_ms=int(delay * 1000),
            queued=record.status_change(JobState.QUEUED),
            **self._ending,
            **more,
        )
        if reply == "lost":
            raise LeaseLost(lease.job.id)
        return reply

    def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        return self._hub.events(job_id, after)

    async def sweep(self, worker: str) -> int:
        ended: int = await self._call("sweep", worker=worker, **self._expiry)
        return ended

    async def stats(self) -> QueueStats:
        silence_ms = int((self._lease_seconds + MAX_BLOCK) * 1000)
        queued, running, delayed, dead, workers, mean = await self._call("stats", silence_ms=silence_ms)
        return QueueStats(
            queued=queued,
            running=running,
            delayed=delayed,
            dead_letters=dead,
            workers=workers,
            mean_seconds=float(mean) if mean else None,
        )

    async def ping(self) -> None:
        with redis_calls():
            await self._client.ping()


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _lease(worker: str, fields: dict[str, str]) -> Lease:
    job = record.from_hash(fields)
    return Lease(job=job, entry_id=fields["entry"], worker=worker, attempt=int(fields["begun"]))


def _names(lease: Lease) -> dict[str, str]:
    return {
        "job": lease.job.id,
        "entry": lease.entry_id,
        "worker": lease.worker,
        "attempt": str(lease.attempt),
    }
