"""Estimates of how long a job takes, against simulated workers: the real scripts in a real Redis, a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import AsyncIterator, Callable

import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed
from orchestrator.ports import Lease
from orchestrator.services.jobs import seconds_remaining
from stack.redis import RedisServer
from tests.support.jobs import a_job, claim, result

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

    def _seconds(self) -> float:
        """0.5 to 2 of the mean for most jobs."""
        return self.mean * self._random.lognormvariate(-0.06, 0.35)

    async def fill(self) -> None:
        while len(self._running) < self.slots:
            number = next(self._number)
            lease = await self.store.claim(f"w{number % 4}", 0.001)
            if lease is None:
                return
            heapq.heappush(self._running, (self.now + self._seconds(), number, lease))

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

    def truth(self, position: int) -> float:
        """Seconds until the job will have ended that ``position`` wait before; the mean of a few futures."""
        return sum(self._future(position) for _ in range(5)) / 5

    def _future(self, position: int) -> float:
        ends = [end - self.now for end, _, _ in self._running]
        ends += [0.0] * (self.slots - len(ends))
        heapq.heapify(ends)
        for _ in range(position):
            heapq.heapreplace(ends, ends[0] + self._seconds())
        return ends[0] + self._seconds()

    async def assert_right(self, positions: tuple[int, ...] = (50, 500, 5000)) -> None:
        stats = await self.store.stats()
        for position in positions:
            estimated, true = seconds_remaining(a_job(), position, stats), self.truth(position)
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
