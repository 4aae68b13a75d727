"""Jobs that have not ended by their deadline are cancelled, once each, by a simulated clock."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed
from orchestrator.domain.job import Job, JobError, JobState
from tests.support.clock import Clock
from tests.support.jobs import a_job, claim, result


def hurried(seconds: float = 90) -> Job:
    return msgspec.structs.replace(a_job(), cancel_after=seconds)


async def assert_cancelled_once(store: RedisJobStore, job: Job) -> None:
    assert (await store.get(job.id)).status == JobState.CANCELLED
    # Not through the hub, whose last read would hold up the end of the test.
    events: Any = await store._client.xrange(store._keys.events + job.id)
    assert [json.loads(fields["event"])["type"] for _, fields in events].count("cancelled") == 1
    assert job.id in await store.to_clean()
    assert (await store.stats()).waiting == 0


async def test_a_waiting_job_is_cancelled_by_the_sweep(timed: RedisJobStore, clock: Clock) -> None:
    job = hurried()
    await timed.submit(job)
    clock.now += 89
    assert await timed.sweep("w") == 0
    clock.now += 2
    assert [await timed.sweep("w") for _ in range(3)] == [1, 0, 0]
    await assert_cancelled_once(timed, job)
    assert await timed.claim("w", 0) is None


async def test_it_does_not_begin_after_its_deadline(timed: RedisJobStore, clock: Clock) -> None:
    job, other = hurried(), a_job()
    await timed.submit(job)
    await timed.submit(other)
    clock.now += 91
    assert (await claim(timed)).job.id == other.id
    assert await timed.sweep("w") == 0
    await assert_cancelled_once(timed, job)


async def test_a_running_job_is_stopped_by_its_worker(timed: RedisJobStore, clock: Clock) -> None:
    lease = await claim(timed, job=hurried())
    clock.now += 91
    assert await timed.renew(lease) is False
    await timed.sweep("another")
    assert await timed.renew(lease) is True
    await timed.finish(lease, Completed(result=result()))
    await assert_cancelled_once(timed, lease.job)


@pytest.mark.parametrize("swept", [True, False])
async def test_a_job_that_was_given_back_is_cancelled(
    timed: RedisJobStore, clock: Clock, swept: bool
) -> None:
    lease = await claim(timed, job=hurried())
    await timed.retry(lease, JobError(code="x", detail="y"), 1)
    clock.now += 91
    if swept:
        assert await timed.sweep("w") == 1
    assert await timed.claim("w", 0) is None
    await assert_cancelled_once(timed, lease.job)


async def test_a_job_that_ended_in_time_stays_as_it_is(timed: RedisJobStore, clock: Clock) -> None:
    lease = await claim(timed, job=hurried())
    await timed.finish(lease, Completed(result=result()))
    clock.now += 91
    assert await timed.sweep("w") == 0
    assert (await timed.get(lease.job.id)).status == JobState.COMPLETED
    assert await timed._client.zcard(timed._keys.deadlines) == 0
