"""Estimates of how long a job takes, against simulated workers: the real scripts in a real Redis, a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed
from orchestrator.domain.job import Job
from orchestrator.ports import Lease
from orchestrator.services.jobs import seconds_remaining
from stack.redis import RedisServer
from tests.support.jobs import a_job, claim, cost_before, result

ENDS = 120
"""Jobs that end before the estimate is asked for, and again after a change of speed."""

_prefixes = itertools.count()


class Workers:
    """``slots`` jobs at once, over workers; each takes ``mean`` seconds on average, and never knows how long before."""

    def __init__(self, redis: RedisServer, slots: int, mean: float) -> None:
        self.now = 1_700_000_000.0
        self.slots, self.mean = slots, mean
        self.store = RedisJobStore(
            redis.url, prefix=f"e{next(_prefixes)}:", lease_seconds=3600, clock=lambda: self.now
        )
        self._random = random.Random(7)
        self._running: list[tuple[float, int, Lease]] = []
        self._number = itertools.count()

    def _seconds(self, cost: float = 1.0) -> float:
        """0.5 to 2 of the mean for most jobs, in proportion to what they cost."""
        return self.mean * cost * self._random.lognormvariate(-0.06, 0.35)

    async def fill(self) -> None:
        while len(self._running) < self.slots:
            number = next(self._number)
            lease = await self.store.claim(f"w{number % 4}", 0.001)
            if lease is None:
                return
            heapq.heappush(self._running, (self.now + self._seconds(lease.job.cost), number, lease))

    async def end_one(self) -> None:
        self.now, _, lease = heapq.heappop(self._running)
        await self.store.finish(lease, Completed(result=result()))

    async def work_off(self, jobs: int, *, waiting: int = 0) -> None:
        """End ``jobs`` jobs, while at least ``waiting`` others wait."""
        for _ in range(jobs):
            while (await self.store.stats()).queued < waiting + self.slots:
                await self.store.submit(a_job())
            await self.fill()
            await self.end_one()
        await self.fill()

    async def one_by_one(self, jobs: int, pause: float) -> None:
        """As on a quiet day: each alone, and long breaks."""
        for _ in range(jobs):
            self.now += pause
            await self.store.submit(a_job())
            await self.fill()
            await self.end_one()

    async def drain(self) -> None:
        while self._running:
            await self.end_one()
            await self.fill()

    def truth(self, costs: Sequence[float]) -> float:
        """Seconds until the last of jobs of these costs, which wait in this order, will have ended; the mean of a few
        futures."""
        return sum(self._future(costs) for _ in range(5)) / 5

    def _future(self, costs: Sequence[float]) -> float:
        ends = [end - self.now for end, _, _ in self._running]
        ends += [0.0] * (self.slots - len(ends))
        heapq.heapify(ends)
        *before, last = costs
        for cost in before:
            heapq.heapreplace(ends, ends[0] + self._seconds(cost))
        return ends[0] + self._seconds(last)

    async def assert_right(self, positions: tuple[int, ...] = (50, 500, 5000)) -> None:
        stats = await self.store.stats()
        for position in positions:
            estimated = seconds_remaining(a_job(), position, stats)
            true = self.truth([1.0] * (position + 1))
            assert 0.7 < estimated / true < 1.3, (
                f"{position} waiting: {estimated:.1f} s estimated, {true:.1f} s true"
            )


@pytest.fixture
async def workers(redis: RedisServer) -> AsyncIterator[Callable[[int, float], Workers]]:
    opened = []

    def start(slots: int, mean: float) -> Workers:
        opened.append(Workers(redis, slots, mean))
        return opened[-1]

    yield start
    for one in opened:
        await one.store.aclose()


@pytest.mark.parametrize("slots", [1, 4, 12], ids=["one", "one with four jobs", "three with four jobs"])
async def test_estimates_are_right_also_after_a_change_of_speed(
    workers: Callable[[int, float], Workers], slots: int
) -> None:
    some = workers(slots, 3.0)
    await some.work_off(ENDS, waiting=1)
    await some.assert_right()
    some.mean = 9.0
    await some.work_off(ENDS + slots, waiting=1)
    await some.assert_right()
    some.mean = 2.0
    await some.work_off(ENDS + slots, waiting=1)
    await some.assert_right()


async def test_quiet_days_and_outages_do_not_count_as_slowness(
    workers: Callable[[int, float], Workers],
) -> None:
    some = workers(4, 3.0)
    await some.work_off(ENDS, waiting=1)
    await some.drain()
    await some.one_by_one(30, pause=600.0)
    await some.work_off(10, waiting=1)
    await some.assert_right()
    await some.drain()
    await some.store.submit(a_job())
    some.now += 86400.0  # with a job that waits, and no worker
    await some.work_off(10, waiting=1)
    await some.assert_right()


async def test_a_dead_workers_time_does_not_count(
    redis: RedisServer, workers: Callable[[int, float], Workers]
) -> None:
    some = workers(1, 3.0)
    await some.work_off(20, waiting=1)
    lease = some._running.pop()[2]
    await some.store.release(lease)  # as it is once its lease has run out
    some.now += 86400.0
    await some.work_off(10, waiting=1)
    await some.assert_right()


async def test_the_first_jobs_are_estimated_from_what_runs(workers: Callable[[int, float], Workers]) -> None:
    some = workers(4, 3.0)
    await some.one_by_one(3, pause=1.0)
    for _ in range(50):
        await some.store.submit(a_job())
    await some.fill()
    await some.assert_right((46,))


async def test_jobs_of_a_running_model_end_when_their_progress_says(
    workers: Callable[[int, float], Workers],
) -> None:
    some = workers(1, 3.0)
    await some.one_by_one(5, pause=1.0)
    lease = await claim(some.store, job=a_job())
    stats = await some.store.stats()
    whole = seconds_remaining(lease.job, None, stats)
    assert 0.7 < whole / some.mean < 1.3


def costing(cost: float) -> Job:
    return msgspec.structs.replace(a_job(), cost=cost)


async def test_a_queue_of_cheap_jobs_before_dear_ones_is_not_counted_by_its_length(
    workers: Callable[[int, float], Workers],
) -> None:
    some = workers(4, 3.0)
    draw = random.Random(5)
    for _ in range(40):
        await some.store.submit(costing(draw.choice([0.2, 1.0, 3.0])))
    await some.fill()
    while some._running:
        await some.end_one()
        await some.fill()
    for _ in range(4):
        await some.store.submit(costing(1.0))
    await some.fill()
    costs = [0.2] * 60 + [3.0] * 20
    jobs = [costing(cost) for cost in costs]
    for job in jobs:
        await some.store.submit(job)
    stats = await some.store.stats()
    assert stats.waiting_cost == pytest.approx(sum(costs), rel=0.05)
    for place in (59, 79):
        before = await cost_before(some.store, jobs[place].id)
        assert before == pytest.approx(sum(costs[:place]), rel=0.05, abs=0.5)
        estimated, true = seconds_remaining(jobs[place], before, stats), some.truth(costs[: place + 1])
        assert 0.7 < estimated / true < 1.3, f"{place} before: {estimated:.1f} s estimated, {true:.1f} s true"


async def test_jobs_of_an_older_version_cost_one_each(workers: Callable[[int, float], Workers]) -> None:
    some = workers(1, 3.0)
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        await some.store.submit(job)
        await some.store._client.hdel(some.store._keys.job + job.id, "submitted", "cost")
    assert [await cost_before(some.store, job.id) for job in jobs] == [0.0, 1.0, 2.0]
    assert (await some.store.stats()).waiting_cost == 3.0
    assert await cost_before(some.store, "0" * 32) is None
    assert (await some.store.get(jobs[0].id)).cost == 1.0
