"""What bounds the jobs that wait, what each of them costs in Redis, and how often an upload counts."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Preview, StatusChanged, Step
from orchestrator.ports import Lease, QueueFull, Reservation, ReservationLost
from tests.support.jobs import a_job, claim, collect, result

STEPS = 100


async def test_no_more_jobs_wait_than_may(store: RedisJobStore) -> None:
    jobs = [a_job() for _ in range(20)]
    answers = await asyncio.gather(
        *(store.submit(job, max_waiting=5) for job in jobs), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, QueueFull) and answer.waiting == 5 for answer in refused)
    assert (len(refused), (await store.stats()).waiting) == (15, 5)
    queued = next(job for job, answer in zip(jobs, answers, strict=True) if isinstance(answer, int))
    await store.submit(queued, max_waiting=5)  # a repetition is no new job
    lease = await claim(store)
    await store.submit(a_job(), max_waiting=5)
    await store.release(lease)
    with pytest.raises(QueueFull):
        await store.submit(a_job(), max_waiting=5)


async def test_a_claim_has_one_owner_until_it_is_given_back_or_used(store: RedisJobStore) -> None:
    reservations = [Reservation(name="key", owner=str(owner), seconds=60) for owner in range(20)]
    got = await asyncio.gather(*(store.reserve(reservation, 60) for reservation in reservations))
    assert sum(got) == 1
    mine = reservations[got.index(True)]
    other = reservations[got.index(False)]
    assert await store.reserve(mine, 60), "its owner may repeat it"
    await store.free(other)
    with pytest.raises(ReservationLost):
        await store.submit(a_job(), reservation=other)
    await store.free(mine)
    assert await store.reserve(other, 60)
    job = a_job()
    await store.submit(job, reservation=other)
    await store.submit(job, reservation=other)
    await store.free(other)
    for reservation in (mine, other):
        assert not await store.reserve(reservation, 60)
        with pytest.raises(ReservationLost):
            await store.submit(a_job(), reservation=reservation)
    assert (await store.stats()).queued == 1


async def test_a_claim_that_was_used_is_free_again_when_its_submission_is_undone(
    store: RedisJobStore,
) -> None:
    mine, other = [Reservation(name="key", owner=owner, seconds=60) for owner in ("mine", "other")]
    assert await store.reserve(mine, 60)
    job, again = a_job(), a_job()
    await store.submit(job, reservation=mine)
    await store.cancel(job.id, mine)
    assert await store.reserve(other, 60)
    await store.submit(again, reservation=other)
    unrelated = a_job()
    await store.submit(unrelated)
    await store.cancel(unrelated.id, mine)
    assert not await store.reserve(mine, 60), "it is another's now"
    await store.cancel(again.id)
    assert not await store.reserve(mine, 60), "its own user's cancel undoes nothing"


async def test_a_claim_of_a_submission_that_died_runs_out(store: RedisJobStore) -> None:
    dead, other = [Reservation(name="key", owner=owner, seconds=60) for owner in ("dead", "other")]
    assert await store.reserve(dead, 0.1)
    await asyncio.sleep(0.15)
    assert await store.reserve(other, 60)
    with pytest.raises(ReservationLost):
        await store.submit(a_job(), reservation=dead)


async def publish_steps(store: RedisJobStore, lease: Lease, bytes_each: int, pause: float = 0.0) -> None:
    for step in range(1, STEPS + 1):
        progress = step / STEPS
        await store.publish(lease, 2 * step - 1, Step(step=step, of=STEPS, progress=progress))
        preview = Preview(step=step, jpeg="x" * bytes_each, progress=progress)
        await store.publish(lease, 2 * step, preview)
        await asyncio.sleep(pause)


@pytest.mark.parametrize("bytes_each", [1_500, 10_000])
async def test_of_previews_only_the_newest_is_kept(
    store: RedisJobStore, client: redis.asyncio.Redis, bytes_each: int
) -> None:
    lease = await claim(store, job=a_job())
    await publish_steps(store, lease, bytes_each)
    key = store._keys.events + lease.job.id
    used = await client.memory_usage(key, samples=0)
    assert used is not None
    assert used < 100_000
    seen = asyncio.create_task(collect(store, lease.job.id))
    await asyncio.sleep(0.1)
    await store.finish(lease, Completed(result=result()))
    kinds = [record.event for record in await asyncio.wait_for(seen, 5)]
    assert [event.step for event in kinds if isinstance(event, Step)] == list(range(1, STEPS + 1))
    assert [event.step for event in kinds if isinstance(event, Preview)] == [STEPS]
    assert [type(event) for event in kinds[:2]] == [StatusChanged, StatusChanged]


async def test_who_watches_live_gets_every_preview(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    watching = asyncio.create_task(collect(store, lease.job.id))
    await asyncio.sleep(0.3)
    await publish_steps(store, lease, 2_000, pause=0.02)
    await store.finish(lease, Completed(result=result()))
    events = [record.event for record in await asyncio.wait_for(watching, 10)]
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, STEPS + 1))
    previews = [event.step for event in events if isinstance(event, Preview)]
    # One may be followed by the next before a busy machine has read it.
    assert previews == sorted(set(previews))
    assert len(previews) > STEPS / 2
