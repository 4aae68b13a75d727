"""Jobs of three owners under faults at random moments, and an audit of what became of each.

The same for the whole stack (`benchmarks/resilience.py`) and for a small one in the tests
(`tests/chaos/test_resilience.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import redis

from measuring.figures import percentile
from measuring.memory import stubs_of
from orchestrator.adapters.redis import open_keys
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.keys import Scope
from orchestrator.services.keys import KeyService
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
STOP, STUB = "stop", "stub"
"""Faults beside kill -9 of a part: a part is stopped for longer than a lease, then goes on; a model's process is killed
within a Triton."""


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

    def document(self) -> dict[str, Any]:
        return {
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "cancelled_and_completed": len(self.cancelled_and_completed),
            "recovery_p50_s": median(self.recovery),
            "recovery_p95_s": percentile(self.recovery, 95),
            "undisturbed_p50_s": median(self.undisturbed),
            "jobs": sum(self.ended.values()),
            "ended": dict(sorted(self.ended.items())),
            "attempts_spent": self.attempts_spent,
            "submissions_given_up": self.given_up,
            "faults": dict(sorted(self.faults.items())),
        }


class Chaos:
    """``parts`` serve at ``url``, with jobs in the Redis at ``redis_url`` and pictures in the folder ``objects``;
    ``lease_seconds`` are those of the workers. A part that dies must be started again by itself."""

    def __init__(
        self,
        parts: Supervisor,
        *,
        url: str,
        redis_url: str,
        objects: Path,
        photo: bytes,
        preferences: Mapping[str, Any],
        lease_seconds: float,
        seed: int,
    ) -> None:
        self._parts, self._url, self._redis_url, self._objects = parts, url, redis_url, objects
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
        self._audit()
        return self._outcome

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
        pid = self._pid(fault)
        number = signal.SIGSTOP if fault.how == STOP else signal.SIGKILL
        began = time.monotonic()
        os.kill(pid, number)
        self._outcome.faults[str(fault)] += 1
        woken = asyncio.create_task(self._wake(pid)) if fault.how == STOP else None
        await self._probed(probe)
        self._outcome.recovery.append(time.monotonic() - began)
        print(f"{fault}: {self._outcome.recovery[-1]:.1f} s", flush=True)
        if woken:
            await woken

    async def _wake(self, pid: int) -> None:
        await asyncio.sleep(1.5 * self._lease_seconds)
        os.kill(pid, signal.SIGCONT)

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

    def _audit(self) -> None:
        keys, found = Keys.under("reroom:"), self._outcome
        with self._redis() as client:
            for job_id in self._accepted:
                record = client.hgetall(keys.job + job_id)
                events = [
                    json.loads(fields["event"])["type"] for _, fields in client.xrange(keys.events + job_id)
                ]
                self._judge(job_id, record, events)
            stored = {key.removeprefix(keys.job) for key in client.scan_iter(f"{keys.job}*", count=1000)}
        unknown = sorted(stored - set(self._accepted))
        # A submission that the client gave up may be a job.
        found.doubled += unknown[found.given_up :]
        found.doubled += [each for each, count in Counter(self._accepted).items() if count > 1]

    def _judge(self, job_id: str, record: dict[str, str], events: list[str]) -> None:
        found, status = self._outcome, record.get("status", "missing")
        ends = [event for event in events if event in ("completed", "failed", "cancelled")]
        if len(ends) > 1:
            found.doubled.append(job_id)
        elif ends != [status]:
            found.lost.append(job_id)
        if status == "completed":
            picture = json.loads(record["result"])["transformed_key"]
            if not (self._objects / picture).is_file():
                found.lost.append(job_id)
            if job_id in self._cancelled:
                found.cancelled_and_completed.append(job_id)
        code = f" {json.loads(record['error'])['code']}" if status == "failed" else ""
        found.ended[status + code] += 1
        found.attempts_spent += max(0, int(record.get("attempts", 0)) - 1)

    def _redis(self) -> Any:
        return redis.Redis.from_url(self._redis_url, decode_responses=True)
