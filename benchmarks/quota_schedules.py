"""Random schedules of jobs against the store: what their owners have used and reserved must follow from the jobs.

A schedule is a few dozen calls by several clients and workers, each of which may be killed between any two calls: then
it never finishes what it began, and others must. The calendar is the schedule's own, so that days and months end. After
each schedule, and once all its jobs have ended, the sums that the scripts keep are compared with sums over the jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.events import Cancelled, Completed, Failed, Terminal
from orchestrator.domain.job import MAX_DELIVERIES, PICTURES, TERMINAL, Job, JobError, JobResult, JobState
from orchestrator.domain.plans import Plan, day_of
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.usage import Admission, Budget, Pricing, cost_micros
from orchestrator.ports import JobFinished, JobNotFound, Lease, LeaseLost, NotReplayed, QuotaExceeded

START = 1_798_700_000.0
"""2026-12-31 in UTC, some hours before a month and a year end."""
PRICE = 3_600_000
PRICING = Pricing(price=PRICE, budget=Budget(micros=15_000, alerts=[0.5, 1.0]), billed=True)
TIGHT: list[dict[str, Any]] = [
    {"concurrent_jobs": 2},
    {"waiting_jobs": 1},
    {"gpu_seconds_per_day": 6},
    {"gpu_seconds_per_month": 9},
    {"stored_bytes": 1500},
    {"stored_objects": 3},
    {},
]
"""Limits, one of which a schedule's jobs meet; without one of these they meet the budget."""
OWNERS = ("a" * 16, "b" * 16)
_LEASE = 3600.0
"""Seconds of a lease that does not run out."""
_NO_TIME = 0.001
"""Seconds of a lease that has run out at the next call."""
BROKEN = JobError(code="model_error", detail="The model broke.")


@dataclass
class Known:
    """A job that was admitted, as the schedule knows it."""

    job: Job
    asked_ms: int
    bytes: int
    used_ms: int | None = None
    """None until it completed."""
    unstored: bool = False


@dataclass
class Schedule:
    """``drift`` gets a sentence for each sum that differs, and for each limit that was passed."""

    chance: random.Random
    store: RedisJobStore
    impatient: RedisJobStore
    """The same store for a worker to whom every lease has run out."""
    client: redis.asyncio.Redis
    keys: Keys
    number: int
    plan: Plan
    now: float = START
    jobs: dict[str, Known] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    """How often each limit refused a job, and ``replay`` for jobs that were replayed."""
    leases: list[Lease] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)

    async def run(self, calls: int) -> None:
        for _ in range(calls):
            await self._call()
        await self._compare("midway")
        await self._end()
        await self._compare("at the end")
        if await self.client.exists(*(f"{self.keys.reserved}{owner}" for owner in OWNERS)):
            self.drift.append(f"schedule {self.number}: something is reserved after all jobs have ended")

    async def _call(self) -> None:
        match self.chance.choices(
            (
                "submit",
                "claim",
                "finish",
                "give back",
                "give up",
                "cancel",
                "erase",
                "clean",
                "die",
                "replay",
                "sleep",
            ),
            (8, 6, 5, 2, 1, 2, 1, 1, 2, 1, 1),
        )[0]:
            case "submit":
                await self._submit()
            case "claim":
                await self._claim(self.chance.choice([self.store, self.store, self.impatient]))
            case "finish" if self.leases:
                await self._finish(self.chance.choice(self.leases))
            case "give back" if self.leases:
                await self._give_back(self.chance.choice(self.leases))
            case "give up":
                await self._give_up()
            case "cancel" if self.jobs:
                await self._cancel(self.chance.choice([*self.jobs]))
            case "erase" if self.jobs:
                await self._erase(self.chance.choice([*self.jobs]))
            case "clean":
                await self._clean()
            case "die" if self.leases:
                # A worker is killed: it never finishes, and its lease runs out.
                self.leases.remove(self.chance.choice(self.leases))
                await self.impatient.sweep("sweeper")
            case "replay":
                await self._replay()
            case "sleep":
                self.now += self.chance.choice([60.0, 3600.0, 30_000.0])

    async def _submit(self) -> None:
        owner, size = self.chance.choice(OWNERS), self.chance.randrange(100, 900)
        job_id = f"{self.chance.getrandbits(128):032x}"
        job = Job(
            id=job_id, owner=owner, style="modern", preferences=Preferences(), original_key=f"uploads/{job_id}/o",
            created_at=self.now, updated_at=self.now, price=PRICE,
        )  # fmt: skip
        seconds = self.chance.choice([0.5, 2.0, 5.0])
        asked = Admission(plan=self.plan, estimated_seconds=seconds, stored_bytes=size, stored_objects=1)
        # A reply may be lost, so that the client library asks again.
        for _ in range(self.chance.choice([1, 1, 2])):
            try:
                await self.store.submit(job, admission=asked)
            except QuotaExceeded as error:
                self.happened[error.limit] += 1
                return
        self.jobs[job_id] = Known(job, round(seconds * 1000), size)

    async def _claim(self, store: RedisJobStore) -> None:
        lease = await store.claim(f"w{self.chance.randrange(3)}", 0.0)
        if lease is not None:
            self.leases.append(lease)

    async def _finish(self, lease: Lease) -> None:
        used, size = self.chance.randrange(10, 9000), self.chance.randrange(100, 500)
        told = {"gpu_seconds": used / 1000}
        result = JobResult(transformed_key="t", thumbnail_key="s", metadata=told, stored_bytes=size)
        outcomes: list[Terminal] = [Completed(result=result), Failed(error=BROKEN), Cancelled()]
        outcome = self.chance.choice(outcomes)
        for _ in range(self.chance.choice([1, 1, 2])):
            try:
                await self.store.finish(lease, outcome)
            except LeaseLost:
                return
        known = self.jobs[lease.job.id]
        done = await self.store.get(lease.job.id)
        if done.status is JobState.COMPLETED and known.used_ms is None:
            known.used_ms = used
            known.bytes += size

    async def _give_back(self, lease: Lease) -> None:
        try:
            match self.chance.randrange(4):
                case 0:
                    await self.store.retry(lease, BROKEN, 0.0)
                case 1:
                    await self.store.postpone(lease, BROKEN, 0.0)
                case 2:
                    await self.store.release(lease)
                case _:
                    await self.store.decline(lease, ["something"])
        except LeaseLost:
            return

    async def _give_up(self) -> None:
        """A job breaks the model as often as it may."""
        for _ in range(MAX_DELIVERIES):
            lease = await self.store.claim("unlucky", 0.0)
            if lease is not None:
                with contextlib.suppress(LeaseLost):
                    await self.store.retry(lease, BROKEN, 0.0)

    async def _cancel(self, job_id: str) -> None:
        try:
            await self.store.cancel(job_id)
        except (JobFinished, JobNotFound):
            return

    async def _erase(self, job_id: str) -> None:
        try:
            await self.store.erase(job_id)
        except (JobNotFound, ValueError):
            return
        self.jobs[job_id].unstored = True

    async def _replay(self) -> None:
        """An administrator lets jobs that were given up wait again."""
        for letter in await self.store.dead_letters():
            with contextlib.suppress(NotReplayed):
                await self.store.replay(letter)
                self.happened["replay"] += 1

    async def _clean(self) -> None:
        ended = await self.store.to_clean()
        await self.store.cleaned(ended)
        for job_id in ended:
            self.jobs[job_id].unstored = True

    async def _end(self) -> None:
        """Whatever is left is cancelled; workers that have died are swept."""
        for job_id, ended in (await self._ended()).items():
            if not ended:
                await self._cancel(job_id)
        # The first call after a silence may give the dead ones the length of a lease to say that they live.
        for _ in range(2):
            await asyncio.sleep(2 * _NO_TIME)
            self.now += 2 * _LEASE
            await self.impatient.sweep("sweeper")

    async def _compare(self, when: str) -> None:
        """The sums that the store keeps beside the sums over the jobs."""
        ended = await self._ended()
        expected: dict[str, Counter[str]] = {}
        for job_id, known in self.jobs.items():
            day, owner = day_of(known.job.created_at), known.job.owner
            reserved, used = (0, known.used_ms or 0) if ended[job_id] else (known.asked_ms, 0)
            for account in (f"{owner}:{day}", f"{owner}:{day[:7]}"):
                expected.setdefault(account, Counter()).update(reserved=reserved, used=used)
            money = {"reserved": cost_micros(reserved, PRICE), "used": cost_micros(used, PRICE)}
            expected.setdefault(f"service:{day[:7]}", Counter()).update(money)
            if not known.unstored:
                objects = 1 + (PICTURES if known.used_ms is not None else 0)
                expected.setdefault(f"{owner}:storage", Counter()).update(bytes=known.bytes, objects=objects)
        found = await self._accounts()
        for account in {*expected, *found}:
            before = {name: n for name, n in expected.get(account, Counter()).items() if n}
            after = {name: n for name, n in found.get(account, {}).items() if n}
            if before != after:
                self.drift.append(f"schedule {self.number}, {when}: {account} is {after}, not {before}")
        self._check_limits(found, len([1 for each in ended.values() if not each]))

    async def _ended(self) -> dict[str, bool]:
        """The jobs, and whether each has ended."""
        async with self.client.pipeline(transaction=False) as together:
            for job_id in self.jobs:
                together.hget(f"{self.keys.job}{job_id}", "status")
            statuses = await together.execute()
        return {
            each: status is None or status in TERMINAL
            for each, status in zip(self.jobs, statuses, strict=True)
        }

    async def _accounts(self) -> dict[str, dict[str, int]]:
        names: Any = await self.client.keys(f"{self.keys.account}*")
        async with self.client.pipeline(transaction=False) as together:
            for name in names:
                together.hgetall(name)
            accounts = await together.execute()
        found: dict[str, dict[str, int]] = {}
        for name, fields in zip(names, accounts, strict=True):
            sums = {each: int(n) for each, n in fields.items() if not each.startswith("told:")}
            found[name.removeprefix(self.keys.account)] = sums
        return found

    def _check_limits(self, found: dict[str, dict[str, int]], unfinished: int) -> None:
        negative = [name for name, sums in found.items() if min(sums.values(), default=0) < 0]
        if negative:
            self.drift.append(f"schedule {self.number}: {negative} are negative")
        most = self.plan.stored_objects
        for name, sums in found.items():
            if most and sums.get("objects", 0) > most + PICTURES * self.happened["replay"]:
                self.drift.append(f"schedule {self.number}: {name} has {sums['objects']} objects of {most}")
        # Replayed jobs wait again whatever the limits say.
        allowed = len(OWNERS) * (self.plan.concurrent_jobs or len(self.jobs)) + self.happened["replay"]
        if unfinished > allowed:
            self.drift.append(f"schedule {self.number}: {unfinished} jobs are under way")


async def run_schedules(
    url: str, count: int, *, seed: int = 0, calls: int = 20
) -> tuple[list[str], Counter[str]]:
    """Run them on the Redis of this URL, which is emptied after each; returns every difference that was found, and what
    happened how often."""
    differences: list[str] = []
    happened: Counter[str] = Counter()
    keys = Keys.under("quota:")
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        schedule: Schedule | None = None
        info: dict[str, Any] = {}
        # What is measured here is lost with the server anyway.
        await client.config_set("appendonly", "no")
        while info.get("uptime_in_seconds", 0) < 2:
            # Leases do not run out in the first moment of a server.
            await asyncio.sleep(0.1)
            info = await client.info("server")

        def clock() -> float:
            return START if schedule is None else schedule.now

        store = RedisJobStore(
            url, prefix="quota:", lease_seconds=_LEASE, pricing=PRICING, letters_ttl=3600, clock=clock
        )
        impatient = RedisJobStore(
            url, prefix="quota:", lease_seconds=_NO_TIME, pricing=PRICING, letters_ttl=3600, clock=clock
        )
        for number in range(count):
            plan = Plan(**TIGHT[number % len(TIGHT)])
            schedule = Schedule(random.Random(seed + number), store, impatient, client, keys, number, plan)
            await schedule.run(calls)
            differences += schedule.drift
            happened += schedule.happened
            await client.flushdb()
        await store.aclose()
        await impatient.aclose()
    return differences, happened
