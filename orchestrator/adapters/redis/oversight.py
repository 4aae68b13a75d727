"""What administrators see, read from what the scripts keep of jobs and workers (lua/jobs/oversee.lua, levels.lua)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Any

import msgspec

from orchestrator.adapters.redis import record
from orchestrator.adapters.redis.connection import MAX_BLOCK, connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts, pairs
from orchestrator.domain.job import Job, JobState
from orchestrator.domain.levels import DayLevels
from orchestrator.ports.oversight import (
    COUNTED_JOBS,
    LATELY_FAILED,
    SHOWN_JOBS,
    Floor,
    Oversight,
    RunningJob,
    WaitingCount,
    WorkerState,
)

_CONNECTIONS = 4
_EPOCH = date(1970, 1, 1)
_log = logging.getLogger("reroom.store")


class RedisOversight(Oversight):
    """Belongs to one event loop; call :meth:`aclose` at the end. ``lease_seconds`` and ``clock``: as those of
    :class:`orchestrator.adapters.redis.RedisJobStore`."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reroom:",
        lease_seconds: float = 10.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys, clock)
        self._silence_ms = int((lease_seconds + MAX_BLOCK) * 1000)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def floor(self) -> Floor:
        workers, records, counts = await self._call(
            "oversee", limit=SHOWN_JOBS, look=COUNTED_JOBS, silence_ms=self._silence_ms
        )
        return Floor(
            workers=sorted((_worker(*each) for each in workers), key=lambda worker: worker.name),
            waiting=[job for job, _ in _readable(map(pairs, records))],
            counts=[WaitingCount(priority=priority, tier=tier, jobs=jobs) for priority, tier, jobs in counts],
        )

    async def levels(self, days: Sequence[str]) -> list[DayLevels]:
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                for day in days:
                    together.hgetall(f"{self._keys.levels}{(date.fromisoformat(day) - _EPOCH).days}")
                found: list[dict[str, str]] = await together.execute()
        return [_levels(day, fields) for day, fields in zip(days, found, strict=True)]

    async def lately_failed(self) -> list[Job]:
        with redis_calls():
            ids: Any = await self._client.lrange(self._keys.lately_failed, 0, LATELY_FAILED - 1)
            async with self._client.pipeline(transaction=False) as together:
                # A job that was replayed may have failed again.
                for job_id in dict.fromkeys(ids):
                    together.hgetall(f"{self._keys.job}{job_id}")
                found: list[dict[str, str]] = await together.execute()
        return [job for job, _ in _readable(filter(None, found)) if job.status is JobState.FAILED]


def _worker(name: str, heard: str, alive: int, since: str, records: list[list[str]]) -> WorkerState:
    running = [
        RunningJob(job=job, begun_at=float(fields["begun_at"]) if "begun_at" in fields else None)
        for job, fields in _readable(map(pairs, records))
    ]
    return WorkerState(
        name=name,
        heard_at=float(heard) / 1000,
        alive=bool(alive),
        since=float(since) / 1000 if since else None,
        jobs=running,
    )


def _readable(records: Iterable[dict[str, str]]) -> Iterator[tuple[Job, dict[str, str]]]:
    """The jobs of these records with their fields, without those that cannot be read."""
    for fields in records:
        try:
            yield record.from_hash(fields).job, fields
        except msgspec.ValidationError as error:
            _log.debug("job %s: its record cannot be read: %s", fields.get("id"), error)


def _levels(day: str, fields: dict[str, str]) -> DayLevels:
    ended: dict[str, int] = defaultdict(int)
    failures: dict[tuple[str, str], int] = {}
    times: dict[str, dict[float, int]] = {"wait": {}, "total": {}}
    for name, text in fields.items():
        what, _, of = name.partition(":")
        match what:
            case "ended":
                ended[of] += int(text)
            case "failed":
                code, _, style = of.partition(":")
                failures[code, style] = int(text)
            case "wait" | "total":
                times[what][float(of)] = int(text)
    return DayLevels(
        day=day,
        completed=ended[JobState.COMPLETED],
        failed=ended[JobState.FAILED],
        cancelled=ended[JobState.CANCELLED],
        failures=failures,
        waits=times["wait"],
        totals=times["total"],
    )
