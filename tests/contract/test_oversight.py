"""What administrators see of the whole service, on every Redis that jobs run on."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import date

import msgspec
import pytest

from orchestrator.adapters.redis import RedisJobStore, RedisOversight
from orchestrator.domain.events import Cancelled, Completed, Failed
from orchestrator.domain.job import JobError, Priority
from orchestrator.domain.levels import quantile
from orchestrator.domain.plans import day_of
from orchestrator.domain.preferences import Preferences
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock
from tests.support.jobs import a_job, claim, result

BROKEN = JobError(code="model_error", detail="The model broke: it always does.")
REFUSED = JobError(code="invalid_request", detail="steps must be at least 1.")
DAY = 86400


class Bench:
    def __init__(self, url: str) -> None:
        self.clock, prefix = Clock(), next(prefixes)
        self.store = RedisJobStore(url, prefix=prefix, lease_seconds=600, clock=self.clock)
        self.sight = RedisOversight(url, prefix=prefix, lease_seconds=600, clock=self.clock)

    @property
    def today(self) -> str:
        return day_of(self.clock.now)


@pytest.fixture
async def bench(server: RedisServer) -> AsyncIterator[Bench]:
    made = Bench(server.url)
    yield made
    await made.store.aclose()
    await made.sight.aclose()


async def test_an_idle_service_has_nothing_to_show(bench: Bench) -> None:
    floor = await bench.sight.floor()
    assert (floor.workers, floor.waiting, floor.counts) == ([], [], [])
    (today,) = await bench.sight.levels([bench.today])
    assert (today.completed, today.failed, today.failures, today.totals) == (0, 0, {}, {})
    assert await bench.sight.lately_failed() == []


async def test_who_works_on_what_and_what_waits(bench: Bench) -> None:
    began = bench.clock.now
    await bench.store.claim("idle", 0.0)
    bench.clock.now += 5
    running = a_job(owner="a-key")
    lease = await claim(bench.store, "busy", running)
    waiting = [
        a_job(),
        a_job(preferences=Preferences(quality="draft")),
        msgspec.structs.replace(a_job(preferences=Preferences(quality="draft")), priority=Priority.HIGH),
    ]
    for job in waiting:
        await bench.store.submit(job)
    floor = await bench.sight.floor()
    busy, idle = floor.workers
    assert (busy.name, idle.name, idle.jobs) == ("busy", "idle", [])
    assert idle.since == pytest.approx(began, abs=0.01)
    assert idle.heard_at == pytest.approx(began, abs=0.01)
    assert busy.since == pytest.approx(began + 5, abs=0.01)
    assert [(each.job.id, each.job.owner) for each in busy.jobs] == [(running.id, "a-key")]
    assert busy.jobs[0].begun_at == pytest.approx(began + 5, abs=0.01)
    assert [job.id for job in floor.waiting] == [job.id for job in waiting]
    counts = {(each.priority, each.tier): each.jobs for each in floor.counts}
    assert counts == {("normal", "default"): 1, ("normal", "draft"): 1, ("high", "draft"): 1}
    await bench.store.finish(lease, Completed(result=result()))
    assert (await bench.sight.floor()).workers[0].jobs == []


async def test_a_worker_that_is_gone_is_forgotten_and_one_with_jobs_is_not(bench: Bench) -> None:
    await claim(bench.store, "dead", a_job())
    await bench.store.claim("gone", 0.0)
    bench.clock.now += 2000
    await bench.store.sweep("living")
    workers = {each.name: each for each in (await bench.sight.floor()).workers}
    assert workers.keys() == {"dead", "living"}
    assert (len(workers["dead"].jobs), workers["dead"].since, workers["dead"].alive) == (1, None, False)
    assert workers["living"].alive
    await bench.store.claim("gone", 0.0)
    again = {each.name: each for each in (await bench.sight.floor()).workers}["gone"]
    assert again.since == pytest.approx(bench.clock.now, abs=0.01)


async def test_each_day_has_how_jobs_ended_and_how_long_they_took(bench: Bench) -> None:
    first = bench.today
    for seconds in (0.2, 40.0):
        job = msgspec.structs.replace(a_job(), created_at=bench.clock.now)
        await bench.store.submit(job)
        bench.clock.now += seconds
        lease = await claim(bench.store)
        bench.clock.now += 2.2
        await bench.store.finish(lease, Completed(result=result()))
    await bench.store.finish(await claim(bench.store, job=a_job(style="boho")), Failed(error=REFUSED))
    await bench.store.finish(await claim(bench.store, job=a_job()), Cancelled())
    bench.clock.now += DAY
    lease = await claim(bench.store, job=a_job())
    while await bench.store.retry(lease, BROKEN, 0):
        lease = await claim(bench.store)
    day, next_day = await bench.sight.levels([first, bench.today])
    assert (day.completed, day.failed, day.cancelled) == (2, 1, 1)
    assert day.failures == {("invalid_request", "boho"): 1}
    assert (day.waits, day.totals) == ({0.25: 1, 60.0: 1}, {3.0: 1, 60.0: 1})
    assert (next_day.failed, next_day.failures) == (1, {("model_error", "modern"): 1})
    assert date.fromisoformat(first) < date.fromisoformat(bench.today)


async def test_the_jobs_that_failed_last(bench: Bench) -> None:
    failed = [a_job() for _ in range(3)]
    for job in failed:
        await bench.store.finish(await claim(bench.store, job=job), Failed(error=BROKEN))
    assert [job.id for job in await bench.sight.lately_failed()] == [job.id for job in reversed(failed)]
    await bench.store.erase(failed[1].id)
    left = await bench.sight.lately_failed()
    assert [(job.id, job.error) for job in left] == [(failed[2].id, BROKEN), (failed[0].id, BROKEN)]


def test_quantiles() -> None:
    assert quantile({}, 0.95) is None
    assert quantile({1.0: 10}, 0.5) == 0.5
    assert quantile({1.0: 10, 2.0: 0, 4.0: 10}, 0.75) == 3.0
    assert quantile({1.0: 1, math.inf: 9}, 0.95) == 1.0, "nothing is known beyond the last edge"
