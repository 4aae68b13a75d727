"""Jobs of three owners under faults at random moments, and an audit of what became of each.

The same for the whole stack (`benchmarks/resilience.py`) and for a small one in the tests
(`tests/chaos/test_resilience.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

import redis

from benchmarks.faulty_relay import AWAY, LOSE, REFUSE, SLOW, FaultyRelay
from measuring.figures import percentile
from measuring.memory import stubs_of
from orchestrator.adapters.redis import RedisJobStore, open_keys
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.job import RESULTS, UPLOADS
from orchestrator.domain.keeping import Times
from orchestrator.domain.keys import Scope
from orchestrator.ports import Storage
from orchestrator.services.keys import KeyService
from orchestrator.services.retention import Retention
from orchestrator.services.submitting.direct_uploads import INCOMING
from reroom import AsyncClient, Conflict, ReroomError, RetryPolicy
from stack.supervisor import Supervisor

OWNERS = {"many": 0.6, "some": 0.3, "few": 0.1}
"""The share of the jobs of each."""
CANCELLED = 0.1
"""The share of jobs that are cancelled, at a random moment within CANCEL_SECONDS."""
CANCEL_SECONDS = 3.0
PATIENT = RetryPolicy(attempts=100, base=0.05, longest=3.0, watch_seconds=120.0)
SECONDS = 120.0
"""How long anything may take before the run itself fails."""
STOP, STUB, FULL_DISK = "stop", "stub", "full-disk"
"""Faults beside kill -9 of a part: a part is stopped for longer than a lease, then goes on; a model's process is killed
within a Triton; a part can write no byte into any file (RLIMIT_FSIZE = 0, which needs no rights), its logs included."""
UNREPLICATED, REPLICA, FULL = "without-replicas", "replica", "full"
"""States of a Redis that takes no writes: it has lost its replicas, it is a replica whose master is away, or it has
used up its memory."""
RELAYED = (LOSE, SLOW, REFUSE, AWAY)
"""What the relay before a part does: see `faulty_relay.py`."""


@dataclass(frozen=True)
class Fault:
    part: str
    how: str = "kill"

    def __str__(self) -> str:
        return f"{self.how} {self.part}"


@dataclass
class Outcome:
    """What became of the jobs."""

    lost: list[str] = field(default_factory=list)
    """Accepted, but without an end; or completed without a picture."""
    doubled: list[str] = field(default_factory=list)
    """Ended twice; or made twice of one submission."""
    cancelled_and_completed: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    """Stored objects that neither the clean-up nor the search for old ones took, when all times were over."""
    reserved: list[str] = field(default_factory=list)
    """Quotas of which something was still reserved when all jobs had ended."""
    answers_lost: Counter[str] = field(default_factory=Counter)
    """By the kind of call. The call was done; its answer was lost and its connection cut."""
    never_lost: Counter[str] = field(default_factory=Counter)
    """Kinds of calls that passed the same relays in runs in which none of theirs was lost, with their number."""
    ended: Counter[str] = field(default_factory=Counter)
    """By state, failed ones with their code."""
    attempts_spent: int = 0
    given_up: int = 0
    """Submissions that the client gave up."""
    faults: Counter[str] = field(default_factory=Counter)
    recovery: list[float] = field(default_factory=list)
    """Seconds from each fault until a job that another owner submitted right then was completed."""
    undisturbed: list[float] = field(default_factory=list)
    """The same without a fault."""

    def __add__(self, other: Outcome) -> Outcome:
        """Of two runs together."""
        return Outcome(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        )

    def document(self) -> dict[str, Any]:
        return {
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "cancelled_and_completed": len(self.cancelled_and_completed),
            "orphan_objects": len(self.orphans),
            "quotas_still_reserved": len(self.reserved),
            "recovery_p50_s": median(self.recovery),
            "recovery_p95_s": percentile(self.recovery, 95),
            "undisturbed_p50_s": median(self.undisturbed),
            "jobs": sum(self.ended.values()),
            "ended": dict(sorted(self.ended.items())),
            "attempts_spent": self.attempts_spent,
            "submissions_given_up": self.given_up,
            "faults": dict(sorted(self.faults.items())),
            "answers_lost": dict(sorted(self.answers_lost.items())),
            "calls_of_kinds_that_lost_none": {
                kind: count
                for kind, count in sorted(self.never_lost.items())
                if kind not in self.answers_lost
            },
        }


class Chaos:
    """``parts`` serve at ``url``, with jobs in the Redis at ``redis_url`` and pictures in ``storage``, both reached
    without a relay; ``relays`` are those before parts, by the parts' names. ``lease_seconds`` are those of the workers,
    ``lasting`` is how long a fault lasts that is not over at once. A part that dies must be started again by itself."""

    def __init__(
        self,
        parts: Supervisor,
        *,
        url: str,
        redis_url: str,
        storage: AbstractAsyncContextManager[Storage],
        photo: bytes,
        preferences: Mapping[str, Any],
        lease_seconds: float,
        seed: int,
        relays: Mapping[str, FaultyRelay] | None = None,
        lasting: float = 3.0,
    ) -> None:
        self._parts, self._url, self._redis_url, self._storage = parts, url, redis_url, storage
        self._relays, self._lasting = dict(relays or {}), lasting
        self._photo, self._preferences, self._lease_seconds = photo, preferences, lease_seconds
        self._chance = random.Random(seed)
        self._outcome = Outcome()
        self._accepted: list[str] = []
        self._cancelled: list[str] = []
        """Jobs whose cancel was accepted."""

    async def run(self, jobs: int, faults: Sequence[Fault], pause: tuple[float, float]) -> Outcome:
        """Submit ``jobs`` while the faults happen in random order, with so many seconds between them."""
        plan = list(faults)
        self._chance.shuffle(plan)
        async with open_keys(self._redis_url, "reroom:") as store, AsyncExitStack() as clients:
            keys = KeyService(store)
            by_owner = {}
            for name in [*OWNERS, "probe"]:
                made = await keys.create(name, [Scope.TRANSFORM, Scope.READ])
                client = AsyncClient(self._url, api_key=made.text, retry=PATIENT)
                by_owner[name] = await clients.enter_async_context(client)
            probe = by_owner.pop("probe")
            self._outcome.undisturbed = [await self._probed(probe) for _ in range(3)]
            done = asyncio.Event()
            submitting = [
                asyncio.create_task(self._submit(by_owner[name], round(jobs * share), done, len(plan), pause))
                for name, share in OWNERS.items()
            ]
            for fault in plan:
                await asyncio.sleep(self._chance.uniform(*pause))
                await self._strike(fault, probe)
            done.set()
            await asyncio.gather(*submitting)
        await self._until_idle()
        async with self._storage as storage:
            await self._audit(storage)
            await self._sweep(storage)
        for relay in self._relays.values():
            self._outcome.answers_lost += relay.lost
            self._outcome.never_lost += Counter({k: n for k, n in relay.calls.items() if k not in relay.lost})
        self._tell()
        return self._outcome

    def _tell(self) -> None:
        """Print what should not have happened: which jobs and objects, with the records of the jobs."""
        found = self._outcome
        for name in ("lost", "doubled", "cancelled_and_completed", "orphans", "reserved"):
            for each in getattr(found, name):
                with self._redis() as client:
                    record = client.hgetall(Keys.under("reroom:").job + each)
                known = "accepted" if each in self._accepted else "never accepted"
                print(f"{name}: {each}, {known}: {record}", flush=True)

    async def _submit(
        self, client: AsyncClient, count: int, done: asyncio.Event, faults: int, pause: tuple[float, float]
    ) -> None:
        """Spread over the time that the faults take; what is left at their end comes at once."""
        gap = faults * (sum(pause) / 2 + 2.0) / count
        chance = random.Random(self._chance.random())
        cancels = set()
        for _ in range(count):
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), chance.uniform(0, 2 * gap))
            try:
                job = await client.submit(self._photo, "boho", self._preferences)
            except ReroomError:
                self._outcome.given_up += 1
                continue
            self._accepted.append(job.job_id)
            if chance.random() < CANCELLED:
                moment = chance.uniform(0, CANCEL_SECONDS)
                cancels.add(asyncio.create_task(self._cancel(client, job.job_id, moment)))
        await asyncio.gather(*cancels)

    async def _cancel(self, client: AsyncClient, job_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(Conflict):  # it has ended
            await client.cancel(job_id)
            self._cancelled.append(job_id)

    async def _strike(self, fault: Fault, probe: AsyncClient) -> None:
        """Let it happen, and wait until it is over and a job that was submitted as it began is completed."""
        began = time.monotonic()
        self._outcome.faults[str(fault)] += 1
        over = asyncio.create_task(self._happen(fault))
        await asyncio.sleep(0)  # it begins
        await self._probed(probe)
        self._outcome.recovery.append(time.monotonic() - began)
        print(f"{fault}: {self._outcome.recovery[-1]:.1f} s", flush=True)
        await over

    async def _happen(self, fault: Fault) -> None:
        if fault.how in ("kill", STUB):
            os.kill(self._pid(fault), signal.SIGKILL)
            return
        longer_than_a_lease = 1.5 * self._lease_seconds
        with self._lasting_fault(fault):
            await asyncio.sleep(longer_than_a_lease if fault.how in (STOP, AWAY) else self._lasting)

    @contextmanager
    def _lasting_fault(self, fault: Fault) -> Iterator[None]:
        if fault.how in RELAYED:
            relay = self._relays[fault.part]
            relay.every = self._chance.randint(2, 6)
            relay.begin(fault.how)
            try:
                yield
            finally:
                relay.end()
        elif fault.how == STOP:
            pid = self._pid(fault)
            os.kill(pid, signal.SIGSTOP)
            try:
                yield
            finally:
                os.kill(pid, signal.SIGCONT)
        elif fault.how == FULL_DISK:
            pid = self._pid(fault)
            before, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
            try:
                yield
            finally:
                with suppress(ProcessLookupError):  # Redis ends
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (before, most))
        else:
            with self._redis() as client, _without_writes(client, fault.how):
                yield

    def _pid(self, fault: Fault) -> int:
        """The process to strike: the part's own, or one of a model in it."""
        pid = self._parts.pid(fault.part)
        if fault.how != STUB:
            return pid
        stubs = stubs_of(pid)
        return stubs[self._chance.choice(sorted(stubs))]

    async def _probed(self, client: AsyncClient) -> float:
        """Seconds that a job of another owner takes now."""
        began = time.monotonic()
        job = await client.submit(self._photo, "modern", self._preferences)
        self._accepted.append(job.job_id)
        await client.wait(job, timeout=SECONDS)
        return time.monotonic() - began

    async def _until_idle(self) -> None:
        deadline = time.monotonic() + SECONDS
        keys = Keys.under("reroom:")
        while True:
            with suppress(redis.ConnectionError), self._redis() as client:
                if client.xlen(keys.queue) == 0:
                    return
            if time.monotonic() > deadline:
                return  # the audit names what has not ended
            await asyncio.sleep(0.2)

    async def _audit(self, storage: Storage) -> None:
        keys, found = Keys.under("reroom:"), self._outcome
        objects = {key for kind in (UPLOADS, RESULTS) async for key in everything(storage, kind)}
        with self._redis() as client:
            for job_id in self._accepted:
                record = client.hgetall(keys.job + job_id)
                events = [
                    json.loads(fields["event"])["type"] for _, fields in client.xrange(keys.events + job_id)
                ]
                self._judge(job_id, record, events, objects)
            stored = {
                key.removeprefix(keys.job)
                for key in client.scan_iter(f"{keys.job}*", count=1000)
                # A submission that failed may have undone its job, and the client's next try made another.
                if client.hget(key, "status") != "cancelled"
            }
            found.reserved += client.scan_iter(f"{keys.reserved}*", count=1000)
            for account in client.scan_iter(f"{keys.account}*", count=1000):
                if client.hget(account, "reserved") not in (None, "0"):
                    found.reserved.append(account)
        unknown = sorted(stored - set(self._accepted))
        # A submission that the client gave up may be a job.
        found.doubled += unknown[found.given_up :]
        found.doubled += [each for each, count in Counter(self._accepted).items() if count > 1]

    async def _sweep(self, storage: Storage) -> None:
        """What workers do in time, as if all times were over; whatever it leaves would be left for ever."""
        store = RedisJobStore(self._redis_url)
        try:
            retention = Retention(store, storage, upload_ttl=-60, times=Times(record=-60))
            await retention.clean()
            await retention.sweep()
        finally:
            await store.aclose()
        for kind in (UPLOADS, RESULTS, INCOMING):
            self._outcome.orphans += [key async for key in everything(storage, kind)]

    def _judge(self, job_id: str, record: dict[str, str], events: list[str], objects: set[str]) -> None:
        found, status = self._outcome, record.get("status", "missing")
        ends = [event for event in events if event in ("completed", "failed", "cancelled")]
        if len(ends) > 1:
            found.doubled.append(job_id)
        elif ends != [status]:
            found.lost.append(job_id)
        if status == "completed":
            result = json.loads(record["result"])
            photo = any(key.startswith(f"{UPLOADS}{job_id}/") for key in objects)
            if not (photo and {result["transformed_key"], result["thumbnail_key"]} <= objects):
                found.lost.append(job_id)
            if job_id in self._cancelled:
                found.cancelled_and_completed.append(job_id)
        code = f" {json.loads(record['error'])['code']}" if status == "failed" else ""
        found.ended[status + code] += 1
        found.attempts_spent += max(0, int(record.get("attempts", 0)) - 1)

    def _redis(self) -> Any:
        return redis.Redis.from_url(self._redis_url, decode_responses=True)


def everything(storage: Storage, prefix: str) -> AsyncGenerator[str, None]:
    """The keys of all objects below ``prefix``, those included that were written this very second."""
    return storage.older(prefix, -60)


@contextmanager
def _without_writes(client: Any, state: str) -> Iterator[None]:
    """A Redis in one of the states of above; nothing if it has ended before the end of the block."""
    if state == REPLICA:
        client.replicaof("127.0.0.1", 9)  # the port "discard", on which nothing listens
    else:
        name, value = ("maxmemory", "1mb") if state == FULL else ("min-replicas-to-write", "1")
        before = client.config_get(name)[name]
        client.config_set(name, value)
    try:
        yield
    finally:
        if state == REPLICA:
            client.replicaof("NO", "ONE")
        else:
            client.config_set(name, before)
