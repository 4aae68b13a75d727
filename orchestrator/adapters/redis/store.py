"""The job store on Redis. The scripts in ``lua/`` make the changes; this file calls them."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec

from orchestrator.adapters.redis import record
from orchestrator.adapters.redis.connection import MAX_BLOCK, connect, redis_calls
from orchestrator.adapters.redis.hub import Hub
from orchestrator.adapters.redis.keys import PARKED, Keys
from orchestrator.adapters.redis.scripts import Scripts, admission_args, lease_args, pairs, reservation_args
from orchestrator.domain.codes import FailureCode
from orchestrator.domain.events import Cancelled, EventRecord, Failed, Preview, Progress, Terminal
from orchestrator.domain.job import MAX_DELIVERIES, MAX_OUTAGES, Job, JobError, JobState, StoredFile
from orchestrator.domain.usage import Admission, Pricing
from orchestrator.ports import (
    PHOTO_ID_SECONDS,
    DeadLetter,
    JobCount,
    JobFinished,
    JobNotFound,
    JobPage,
    JobStore,
    Lease,
    LeaseLost,
    ListPlace,
    NothingToKeep,
    NotReplayed,
    Place,
    QueueFull,
    QueueStats,
    QuotaExceeded,
    Reservation,
    ReservationLost,
    Wanted,
)

EVENTS_TTL = 3600
"""Seconds that a finished job's events, previews among them, are kept by default."""

DEAD_LETTERS = 10_000
"""The approximate number of dead letters that are kept."""

DECLINE_SECONDS = 1800.0
"""Seconds that a job waits for a worker that understands it: longer than a rolling upgrade takes."""

_CONNECTIONS = 32
_CLEAN_AT_ONCE = 100
_SCAN_AT_ONCE = 500
_LOOK_AT = 1000
"""Jobs that one page looks at, where few fit what is wanted: a millisecond or two of Redis's time."""
_EXHAUSTED = JobError(
    code=FailureCode.TOO_MANY_ATTEMPTS, detail="The job stopped its worker too often and was given up."
)
_NOT_UNDERSTOOD = JobError(
    code=FailureCode.NOT_UNDERSTOOD,
    detail="The job was made by a newer version of the service, and no worker of that version came by.",
)
_BROKEN_RECORD = JobError(code=FailureCode.BROKEN_RECORD, detail="The job's record was damaged.")
_NOT_REPLAYED = {
    "missing": "its record has expired: submit the photo again",
    "not_failed": "it waits, runs or has ended again since it was given up",
    "cleaned": "its photo was deleted meanwhile: submit it again",
}
_log = logging.getLogger("reroom.store")


class RedisJobStore(JobStore):
    """Jobs on Redis Streams. A store belongs to one event loop; call :meth:`aclose` at the end.

    ``lease_seconds``: a worker that has not renewed its lease for this long counts as dead.
    ``job_ttl``: seconds that the record of a job is kept after its end.
    ``pricing``: by which the usage of jobs is counted; the same in all processes.
    ``letters_ttl``: seconds that photos of dead letters are kept. ``events_ttl``: seconds that a finished job's events
    are kept, previews among them; its record, with the outcome, is kept longer.
    ``clock``: a simulation's clock, in seconds since 1970; None is the Redis server's.
    Raises ValueError for a URL that is not Redis's.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reroom:",
        lease_seconds: float = 10.0,
        job_ttl: int = 7 * 86400,
        decline_seconds: float = DECLINE_SECONDS,
        pricing: Pricing | None = None,
        letters_ttl: int = 0,
        events_ttl: int = EVENTS_TTL,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._blocking = connect(url, max_connections=_CONNECTIONS, retries=0)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys, clock)
        wake_key = f"{prefix}hub:{uuid.uuid4().hex}"
        self._hub = Hub(self._client, self._blocking, self._call, self._keys, wake_key)
        self._lease_seconds = lease_seconds
        self._photo_ttl = min(job_ttl, PHOTO_ID_SECONDS)
        self._pricing = pricing or Pricing()
        self._ending: dict[str, Any] = {
            "pricing": self._pricing,
            "ttl": job_ttl,
            "events_ttl": min(job_ttl, events_ttl),
            "keep_letters_ms": min(job_ttl, letters_ttl) * 1000,
            "dead_letters": DEAD_LETTERS,
            "max_deliveries": MAX_DELIVERIES,
            "max_outages": MAX_OUTAGES,
            "cancelled": record.terminal_change(Cancelled()),
        }
        self._expiry: dict[str, Any] = self._ending | {
            "lease_ms": int(lease_seconds * 1000),
            "exhausted": record.failure(_EXHAUSTED),
            "not_understood": record.failure(_NOT_UNDERSTOOD),
            "decline_ms": int(decline_seconds * 1000),
        }

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._hub.aclose()
        await self._client.aclose()
        await self._blocking.aclose()

    async def submit(
        self,
        job: Job,
        *,
        children: Sequence[Job] = (),
        hold: bool = False,
        max_waiting: int | None = None,
        reservation: Reservation | None = None,
        admission: Admission | None = None,
    ) -> int | None:
        reply = await self._call(
            "submit",
            job=job.id,
            record=record.to_fields(job),
            cost=job.cost,
            change=record.status_change(JobState.QUEUED),
            cancel_after_ms=None if job.cancel_after is None else int(job.cancel_after * 1000),
            max_waiting=max_waiting,
            reservation=reservation_args(reservation, reservation.seconds) if reservation else None,
            admission=admission_args(admission, job, children or [job]) if admission else None,
            pricing=self._pricing,
            children=[
                {"job": child.id, "record": record.to_fields(child), "cost": child.cost} for child in children
            ]
            or None,
            hold=hold or None,
        )
        match reply:
            case ["full", waiting]:
                raise QueueFull(waiting)
            case ["quota", limit, taken]:
                raise QuotaExceeded(limit, taken)
            case ["reserved"]:
                raise ReservationLost(reservation.name if reservation else "")
            case ["ok", int(position)]:
                return position
        return None

    async def reserve(self, reservation: Reservation, seconds: float) -> bool:
        return bool(await self._call("reserve", reservation=reservation_args(reservation, seconds)))

    async def free(self, reservation: Reservation) -> None:
        await self._call("free", reservation=reservation_args(reservation, 0))

    async def get(self, job_id: str) -> Job:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.job + job_id)
        if not fields:
            raise JobNotFound(job_id)
        return record.from_hash(fields).job

    async def get_all(self, job_ids: Sequence[str]) -> list[Job]:
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                for job_id in job_ids:
                    together.hgetall(self._keys.job + job_id)
                found: list[dict[str, str]] = await together.execute()
        return [record.from_hash(fields).job for fields in found if fields]

    async def add_file(self, job: Job, name: str, file: StoredFile) -> bool:
        seen = {child.id: child.status for child in job.children}
        return bool(
            await self._call("add_file", job=job.id, name=name, key=file.key, bytes=file.bytes, seen=seen)
            == "added"
        )

    async def cancel(self, job_id: str, undone: Reservation | None = None) -> Job:
        reply = await self._call(
            "cancel",
            job=job_id,
            nonce=uuid.uuid4().hex,
            reservation=reservation_args(undone, 0) if undone else None,
            **self._ending,
        )
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply == "finished":
            raise JobFinished(job_id)
        return record.from_hash(pairs(reply)).job

    async def erase(self, job_id: str) -> None:
        reply = await self._call("erase", job=job_id, nonce=uuid.uuid4().hex, ttl=self._ending["ttl"])
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply == "running":
            raise ValueError(f"job {job_id} is not finished")

    async def place(self, job_id: str) -> Place | None:
        reply: Any = await self._call("place", job=job_id)
        return Place(reply[0], float(reply[1])) if reply else None

    async def list_jobs(
        self, owner: str, wanted: Wanted, *, after: ListPlace | None = None, limit: int
    ) -> JobPage:
        until = None if wanted.created_until is None else micros(wanted.created_until) - 1
        goes_on = after is not None and (until is None or after.made <= until)
        reply = await self._call(
            "list",
            owner=owner,
            favourites=wanted.favourite is True,
            unmarked=wanted.favourite is False,
            limit=limit,
            scan=max(limit, _LOOK_AT),
            most=after.made if after and goes_on else until,
            last=after.job_id if after and goes_on else None,
            least=None if wanted.created_from is None else micros(wanted.created_from),
            states=None if wanted.states is None else dict.fromkeys(wanted.states, True),
            style=wanted.style,
        )
        records, place = reply
        jobs = []
        for each in map(pairs, records):
            try:
                jobs.append(record.from_hash(each).job)
            except msgspec.ValidationError as error:
                _log.warning("job %s: its record cannot be read: %s", each.get("id"), error)
        return JobPage(jobs, ListPlace(int(float(place[0])), place[1]) if place else None)

    async def set_favourite(self, job_id: str, favourite: bool) -> Job:
        reply = await self._call("favourite", job=job_id, on=favourite, ttl=self._ending["ttl"])
        if reply == "missing":
            raise JobNotFound(job_id)
        if reply == "ended":
            raise NothingToKeep(job_id)
        return record.from_hash(pairs(reply)).job

    async def claim(self, worker: str, wait: float, kind: str = "") -> Lease | None:
        if not worker or worker == PARKED or " " in worker:
            raise ValueError(f"{worker!r} cannot be a worker's name")
        deadline = time.monotonic() + min(wait, MAX_BLOCK)
        begin, queued = record.status_change(JobState.ANALYZING), record.status_change(JobState.QUEUED)
        named = {"worker": worker, "kind": kind, "begin": begin, "queued": queued}
        while True:
            once = {"nonce": uuid.uuid4().hex, "photo_id": uuid.uuid4().hex}
            reply = await self._call("claim", **once, photo_ttl=self._photo_ttl, **named, **self._expiry)
            if isinstance(reply, list):
                if lease := await self._lease(worker, kind, pairs(reply)):
                    return lease
                continue
            left = deadline - time.monotonic()
            if left <= 0.001:
                return None
            # This read only wakes the worker up; the script decides which job it gets.
            with redis_calls():
                await self._blocking.xread({self._keys.queue: reply}, count=1, block=int(left * 1000) or 1)

    async def _lease(self, worker: str, kind: str, fields: dict[str, str]) -> Lease | None:
        """The lease of a claimed job; None when this worker must not run it and has declined or failed it."""
        try:
            reading = record.from_hash(fields)
        except msgspec.ValidationError as error:
            await self._fail_broken(worker, fields, str(error))
            return None
        if reading.damage:
            await self._fail_broken(worker, fields, reading.damage)
            return None
        lease = Lease(
            job=reading.job,
            entry_id=fields["entry"],
            worker=worker,
            attempt=int(fields["begun"]),
            kind=kind,
            photo_id=fields.get("photo_id"),
        )
        if reading.unknown:
            await self.decline(lease, reading.unknown)
            return None
        return lease

    async def _fail_broken(self, worker: str, fields: dict[str, str], error: str) -> None:
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
        reply = await self._call("renew", lease=lease_args(lease), lease_ms=self._expiry["lease_ms"])
        if reply < 0:
            raise LeaseLost(lease.job.id)
        return bool(reply)

    async def publish(self, lease: Lease, number: int, event: Progress, release: int | None = None) -> None:
        change = record.progress_change(event, release)
        preview = isinstance(event, Preview)
        if not await self._call(
            "publish",
            lease=lease_args(lease),
            number=number,
            progress=event.progress,
            change=change,
            preview=preview,
        ):
            raise LeaseLost(lease.job.id)

    async def finish(self, lease: Lease, outcome: Terminal) -> None:
        change = record.terminal_change(outcome)
        completed = change["fields"][1] == JobState.COMPLETED
        if not await self._call(
            "finish", lease=lease_args(lease), change=change, completed=completed, **self._ending
        ):
            raise LeaseLost(lease.job.id)

    async def retry(self, lease: Lease, error: JobError, delay: float) -> bool:
        return await self._return(lease, "retry", delay, failed=record.failure(error)) == "retry"

    async def postpone(self, lease: Lease, error: JobError, delay: float) -> bool:
        return await self._return(lease, "postpone", delay, failed=record.failure(error)) == "postpone"

    async def release(self, lease: Lease) -> None:
        await self._return(lease, "release", 0.0)

    async def decline(self, lease: Lease, unknown: list[str]) -> None:
        _log.warning("job %s: declined for newer workers, because of %s", lease.job.id, ", ".join(unknown))
        await self._return(lease, "decline", 0.0, kind=lease.kind)

    async def _return(self, lease: Lease, act: str, delay: float, **more: Any) -> str:
        reply: str = await self._call(
            "release",
            lease=lease_args(lease),
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
        reply = await self._call("stats", silence_ms=silence_ms)
        queued, running, delayed, declined, dead, workers, *rest = reply
        measured = [float(each) if each else None for each in rest]
        mean, ends, span, work, mean_cost, waiting_cost, oldest_wait = measured
        return QueueStats(
            queued=queued,
            running=running,
            delayed=delayed,
            declined=declined,
            dead_letters=dead,
            workers=workers,
            mean_seconds=mean,
            mean_cost=mean_cost or 1.0,
            rate=ends / span if ends and span else None,
            cost_rate=(work or ends) / span if ends and span else None,
            waiting_cost=waiting_cost or 0.0,
            oldest_wait=oldest_wait or 0.0,
        )

    async def counts(self) -> list[JobCount]:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.stats)
        found = []
        for name, jobs in fields.items():
            if name.startswith("count:"):
                _, what, style, tier = name.split(":")
                outcome = None if what == "submitted" else what
                found.append(JobCount(outcome=outcome, style=style, tier=tier, jobs=int(jobs)))
        return found

    async def to_clean(self) -> list[str]:
        found: list[str] = await self._call("to_clean", count=_CLEAN_AT_ONCE)
        return found

    async def cleaned(self, job_ids: list[str]) -> None:
        await self._call("cleaned", jobs=job_ids)

    async def unstore_forgotten(self) -> int:
        count, cursor = 0, 0
        while True:
            with redis_calls():
                found: Any = await self._client.hscan(self._keys.stored, cursor, count=_SCAN_AT_ONCE)
            cursor, entries = found
            if entries:
                count += await self._call("unstore_forgotten", jobs=list(entries))
            if not cursor:
                return count

    async def dead_letters(self, limit: int | None = None) -> list[DeadLetter]:
        with redis_calls():
            found: Any = await self._client.xrevrange(self._keys.dead, count=limit)
        return [
            DeadLetter(
                id=entry,
                job_id=fields["job"],
                code=fields["code"],
                detail=fields["detail"],
                attempts=int(fields["attempts"]),
                at=int(entry.partition("-")[0]) / 1000,
            )
            for entry, fields in found
        ]

    async def replay(self, letter: DeadLetter) -> None:
        reply = await self._call(
            "replay",
            job=letter.job_id,
            letter=letter.id,
            nonce=uuid.uuid4().hex,
            queued=record.status_change(JobState.QUEUED),
        )
        if reply != "replayed":
            raise NotReplayed(_NOT_REPLAYED[reply])

    async def drop(self, letter: DeadLetter) -> None:
        await self._call("drop", job=letter.job_id, letter=letter.id)

    async def releases_in_use(self) -> list[int]:
        with redis_calls():
            entries: Any = await self._client.xrange(self._keys.queue)
            async with self._client.pipeline(transaction=False) as together:
                for _, fields in entries:
                    together.hget(self._keys.job + fields["job"], "release")
                found = await together.execute()
        return sorted({int(text) for text in found if text})

    async def ping(self) -> None:
        with redis_calls():
            await self._client.ping()

    async def probe(self) -> None:
        await self._call("probe")


def micros(seconds: float) -> int:
    """UNIX seconds in the unit by which jobs are listed."""
    return math.floor(seconds * 1_000_000 + 0.5)
