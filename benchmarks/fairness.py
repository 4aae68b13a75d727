"""Whether few jobs of one owner wait for the many of another: the real queue on a real Redis, with a simulated clock.

One owner submits MANY jobs, and a while later another one FEW. ``fairness`` is the 95th percentile of the second's
waits divided by what it would be if half of the slots were the second's alone. `python -m benchmarks.resilience` writes
it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from measuring.figures import percentile
from measuring.gates import Gate
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed
from orchestrator.domain.job import Job, JobResult
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Lease

FAIRNESS_GOAL = Gate(at_most=1.5)
MANY, FEW = 500, 5
SLOTS = 4
"""Jobs that run at a time."""
SECONDS = (0.5, 1.5)
"""A job takes a time between these, at random."""
RESULT = JobResult(transformed_key="x", thumbnail_key="x", metadata={})


@dataclass
class Simulation:
    """Workers that run the store's jobs in simulated time."""

    url: str
    slots: int
    chance: random.Random
    now: float = field(default_factory=time.time)
    running: list[tuple[float, str, Lease]] = field(default_factory=list)
    submitted: dict[str, float] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        prefix = f"fairness:{uuid.uuid4().hex}:"
        self.store = RedisJobStore(
            self.url, prefix=prefix, lease_seconds=3600, job_ttl=60, clock=lambda: self.now
        )

    async def submit(self, owner: str, count: int) -> None:
        jobs = [
            Job(
                id=uuid.uuid4().hex,
                owner=owner,
                style="modern",
                preferences=Preferences(),
                original_key="x",
                created_at=self.now,
                updated_at=self.now,
            )
            for _ in range(count)
        ]
        self.submitted |= {job.id: self.now for job in jobs}
        await asyncio.gather(*(self.store.submit(job) for job in jobs))

    async def begin(self) -> None:
        """Begin jobs in all free slots."""
        while len(self.running) < self.slots and (lease := await self.store.claim("w", 0)):
            job = lease.job
            self.waits.setdefault(job.owner, []).append(self.now - self.submitted[job.id])
            heapq.heappush(self.running, (self.now + self.chance.uniform(*SECONDS), job.id, lease))

    async def end(self) -> None:
        """Go on to the next end of a job."""
        self.now, _, lease = heapq.heappop(self.running)
        await self.store.finish(lease, Completed(result=RESULT))

    async def until(self, owner: str, count: int) -> None:
        """Go on until so many jobs of the owner have begun."""
        await self.begin()
        while len(self.waits.get(owner, [])) < count:
            await self.end()
            await self.begin()


async def waits(url: str, seed: int, *, alone: bool) -> list[float]:
    """How long each of the few jobs waits, in seconds: beside the many, or alone with half of the slots."""
    simulation = Simulation(url, SLOTS // 2 if alone else SLOTS, random.Random(seed))
    try:
        if not alone:
            await simulation.submit("many", MANY)
            await simulation.until("many", 5 * SLOTS)
        await simulation.submit("few", FEW)
        await simulation.until("few", FEW)
        return simulation.waits["few"]
    finally:
        await simulation.store.aclose()


async def measure(url: str, schedules: int) -> dict[str, Any]:
    """Over so many schedules of random durations, whose waits are taken together."""
    beside, alone = [], []
    for seed in range(schedules):
        beside += await waits(url, seed, alone=False)
        alone += await waits(url, seed, alone=True)
    return {
        "fairness": percentile(beside, 95) / percentile(alone, 95),
        "wait_beside_many_p95_s": percentile(beside, 95),
        "wait_alone_half_capacity_p95_s": percentile(alone, 95),
        "jobs_of_the_many": MANY,
        "jobs_of_the_few": FEW,
        "slots": SLOTS,
        "schedules": schedules,
    }
