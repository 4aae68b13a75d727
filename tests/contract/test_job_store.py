"""The contract of JobStore, over every Redis that it must run on."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest
import redis.asyncio

from orchestrator.adapters.redis import AccessDenied, RedisJobStore
from orchestrator.adapters.redis.scripts import pairs
from orchestrator.adapters.redis.store import EVENTS_TTL
from orchestrator.domain.events import Cancelled, Completed, Failed, StatusChanged, Step, seq_key
from orchestrator.domain.job import MAX_DELIVERIES, MAX_OUTAGES, JobError, JobState
from orchestrator.ports import JobFinished, JobNotFound, Lease, LeaseLost, Unavailable
from stack.redis import RedisServer
from tests.contract.conftest import LEASE, prefixes
from tests.support.jobs import a_job, claim, collect, position, result, take_over

BROKEN = JobError(code="model_error", detail="The model broke.")


@pytest.fixture(scope="module", autouse=True)
def settled(server: RedisServer) -> None:
    """After a start nothing is reclaimed for the length of a lease, in seconds begun of Redis's clock, and one more."""
    time.sleep(LEASE + 2.0)


async def test_a_job_goes_from_submit_to_completed(store: RedisJobStore) -> None:
    job = a_job(style="boho")
    await store.submit(job)
    queued = await store.get(job.id)
    assert (queued.status, queued.style, queued.preferences) == (JobState.QUEUED, "boho", job.preferences)
    lease = await claim(store)
    assert (lease.job.id, lease.attempt, lease.job.attempts) == (job.id, 1, 1)
    await store.publish(
        lease, 1, StatusChanged(status=JobState.TRANSFORMING, progress=0.2, message="Restyling")
    )
    await store.publish(lease, 2, Step(step=1, of=2, progress=0.5))
    running = await store.get(job.id)
    assert (running.status, running.progress, running.message) == (JobState.TRANSFORMING, 0.5, "Restyling")
    await store.finish(lease, Completed(result=result()))
    done = await store.get(job.id)
    assert (done.status, done.progress, done.result) == (JobState.COMPLETED, 1.0, result())
    seen = await collect(store, job.id)
    assert [type(record.event) for record in seen] == [
        StatusChanged, StatusChanged, StatusChanged, Step, Completed,
    ]  # fmt: skip
    assert done.last_seq == seen[-1].seq
    stats = await store.stats()
    assert (stats.queued, stats.running, stats.delayed, stats.dead_letters) == (0, 0, 0, 0)
    assert stats.mean_seconds is not None
    assert await store.claim("w", 0.01) is None


async def test_submitting_again_changes_nothing(store: RedisJobStore) -> None:
    job = a_job()
    await store.submit(job)
    await store.submit(job)
    assert (await store.stats()).queued == 1
    await claim(store)
    await store.submit(job)
    assert await store.claim("w", 0.01) is None


async def test_unknown_jobs(store: RedisJobStore) -> None:
    for call in (store.get, store.cancel, store.erase):
        with pytest.raises(JobNotFound):
            await call("unknown")
    assert await position(store, "unknown") is None
    assert await collect(store, "unknown") == []


async def test_jobs_begin_in_order_and_know_their_position(store: RedisJobStore) -> None:
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        await store.submit(job)
    assert [await position(store, job.id) for job in jobs] == [0, 1, 2]
    assert (await claim(store)).job.id == jobs[0].id
    assert [await position(store, job.id) for job in jobs] == [None, 0, 1]
    assert (await claim(store, "w2")).job.id == jobs[1].id


async def test_take_wakes_up_for_a_new_job(store: RedisJobStore) -> None:
    waiting = asyncio.create_task(store.claim("w", 2.0))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await store.submit(a_job())
    assert await waiting is not None
    assert time.monotonic() - began < 1.5


async def test_every_job_is_taken_once_by_many_workers(store: RedisJobStore) -> None:
    jobs = {a_job().id: None for _ in range(40)}
    for job_id in jobs:
        await store.submit(a_job(job_id))

    async def work(name: str) -> list[str]:
        taken = []
        while lease := await store.claim(name, 0.1):
            taken.append(lease.job.id)
            await store.finish(lease, Completed(result=result()))
        return taken

    taken = await asyncio.gather(*(work(f"w{i}") for i in range(8)))
    assert sorted(itertools.chain(*taken)) == sorted(jobs)


async def test_when_all_were_silent_the_living_keep_their_jobs(store: RedisJobStore) -> None:
    """As after a cut of the network: nobody could renew a lease."""
    living = await claim(store, "living", job=a_job())
    dead = await claim(store, "dead", job=a_job())
    await asyncio.sleep(1.5 * LEASE)
    before = time.monotonic()
    taken = await store.claim("living", 0.01)
    while taken is None:
        assert time.monotonic() < before + 30, "but a worker that stays silent loses its lease"
        assert await store.renew(living) is False
        taken = await store.claim("other", 0.05)
    assert taken.job.id == dead.job.id
    assert time.monotonic() > before + LEASE, "a worker had no time to say that it lives"


async def test_a_new_workers_first_call_puts_nothing_off(store: RedisJobStore) -> None:
    dead = await claim(store, "dead", job=a_job())
    await asyncio.sleep(1.5 * LEASE)
    assert (await claim(store, "new")).job.id == dead.job.id


async def test_calls_that_are_far_apart_do_not_put_off_the_end_of_a_lease_for_ever(
    store: RedisJobStore,
) -> None:
    await claim(store, "dead", job=a_job())
    assert await store.claim("rare", 0.01) is None
    for _ in range(4):
        await asyncio.sleep(0.8 * LEASE)
        if await store.claim("rare", 0.01):
            break
    else:
        pytest.fail("the job of a dead worker waits for ever")


async def test_repeated_publish_is_recognised_and_progress_never_falls(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    for number, progress in [(1, 0.5), (1, 0.5), (2, 0.3), (2, 0.3), (1, 0.5)]:
        await store.publish(lease, number, Step(step=number, of=2, progress=progress))
    assert (await store.get(lease.job.id)).progress == 0.5
    await store.finish(lease, Failed(error=BROKEN))
    assert sum(isinstance(record.event, Step) for record in await collect(store, lease.job.id)) == 2


async def test_a_job_keeps_the_release_that_it_began_with(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    assert lease.job.release is None
    await store.publish(lease, 1, Step(step=1, of=2, progress=0.5), release=5)
    await store.publish(lease, 2, Step(step=2, of=2, progress=0.6))
    assert await store.retry(lease, BROKEN, 0)
    lease = await claim(store)
    assert lease.job.release == 5
    await store.publish(lease, 1, Step(step=1, of=2, progress=0.5), release=4)
    assert (await store.get(lease.job.id)).release == 4
    await store.finish(lease, Failed(error=BROKEN))


async def test_repeating_ones_own_commit_is_no_error(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    await store.finish(lease, Completed(result=result("mine")))
    await store.finish(lease, Completed(result=result("mine")))
    assert sum(isinstance(record.event, Completed) for record in await collect(store, lease.job.id)) == 1
    with pytest.raises(LeaseLost):
        await store.publish(lease, 1, Step(step=1, of=1, progress=1.0))
    with pytest.raises(LeaseLost):
        await store.renew(lease)
    with pytest.raises(LeaseLost):
        await store.retry(lease, BROKEN, 0)


async def test_a_silent_worker_is_fenced(store: RedisJobStore) -> None:
    lost = await claim(store, "dead", job=a_job())
    assert await store.claim("other", 0.05) is None
    lease = await take_over(store, "other")
    assert (lease.job.id, lease.attempt) == (lost.job.id, 2)
    for call in (
        store.renew(lost),
        store.publish(lost, 9, Step(step=1, of=1, progress=1.0)),
        store.finish(lost, Completed(result=result("dead"))),
        store.retry(lost, BROKEN, 0),
        store.release(lost),
    ):
        with pytest.raises(LeaseLost):
            await call
    await store.finish(lease, Completed(result=result("other")))
    assert (await store.get(lease.job.id)).result == result("other")
    with pytest.raises(LeaseLost):
        await store.finish(lost, Completed(result=result("dead")))
    assert (await store.get(lease.job.id)).result == result("other")


async def test_the_same_worker_is_fenced_from_its_earlier_attempt(store: RedisJobStore) -> None:
    lost = await claim(store, "w", job=a_job())
    await asyncio.sleep(LEASE)
    lease = await take_over(store, "w")
    with pytest.raises(LeaseLost):
        await store.finish(lost, Completed(result=result()))
    await store.finish(lease, Completed(result=result()))


async def test_a_renewed_lease_is_kept(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    until = time.monotonic() + 2 * LEASE
    while time.monotonic() < until:
        assert await store.renew(lease) is False
        assert await store.claim("other", 0.05) is None
    await store.finish(lease, Completed(result=result()))


async def test_retry_waits_and_keeps_the_place_in_the_queue(store: RedisJobStore) -> None:
    first, later = a_job(), a_job()
    lease = await claim(store, job=first)
    await store.submit(later)
    assert await store.retry(lease, BROKEN, 0.3) is True
    assert await store.retry(lease, BROKEN, 0.3) is True
    assert (await store.get(first.id)).status == JobState.QUEUED
    assert (await store.stats()).delayed == 1
    assert await position(store, first.id) == 0
    other = await claim(store)
    assert other.job.id == later.id, "a delayed job does not hold up the others"
    assert await store.claim("w", 0.05) is None
    await asyncio.sleep(0.3)
    await store.submit(a_job())
    again = await claim(store)
    assert (again.job.id, again.attempt, again.job.attempts, again.job.progress) == (first.id, 2, 2, 0.0)


async def test_used_up_attempts_end_in_failed_and_a_dead_letter(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    for _ in range(MAX_DELIVERIES - 1):
        assert await store.retry(lease, BROKEN, 0) is True
        lease = await claim(store)
    assert await store.retry(lease, BROKEN, 0) is False
    assert await store.retry(lease, BROKEN, 0) is False
    failed = await store.get(lease.job.id)
    assert (failed.status, failed.error, failed.attempts) == (JobState.FAILED, BROKEN, MAX_DELIVERIES)
    assert (await store.stats()).dead_letters == 1
    assert isinstance((await collect(store, lease.job.id))[-1].event, Failed)


async def test_outages_are_counted_apart_and_end_in_a_dead_letter(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    later = a_job()
    await store.submit(later)
    for number in range(1, MAX_OUTAGES):
        assert await store.postpone(lease, BROKEN, 0) is True
        assert await store.postpone(lease, BROKEN, 0) is True, "a repeated call counts once"
        lease = await claim(store)
        assert (lease.job.outages, lease.job.attempts, lease.attempt) == (number, 1, number + 1)
    assert await store.postpone(lease, BROKEN, 0) is False
    assert await store.postpone(lease, BROKEN, 0) is False
    failed = await store.get(lease.job.id)
    assert (failed.status, failed.error, failed.attempts) == (JobState.FAILED, BROKEN, 0)
    assert (await store.stats()).dead_letters == 1
    assert (await claim(store)).job.id == later.id


async def test_a_postponed_job_waits_and_keeps_its_attempts(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    await store.retry(lease, BROKEN, 0)
    lease = await claim(store)
    await store.postpone(lease, BROKEN, 0.3)
    assert await store.claim("w", 0.05) is None
    assert ((await store.stats()).delayed, (await store.get(lease.job.id)).attempts) == (1, 1)
    await asyncio.sleep(0.3)
    assert (await claim(store)).job.attempts == 2


async def test_a_job_that_kills_its_workers_is_given_up(store: RedisJobStore) -> None:
    await store.submit(job := a_job())
    for number in range(MAX_DELIVERIES):
        await claim(store, f"w{number}")
        await asyncio.sleep(LEASE)
    assert await store.claim("last", 0.05) is None
    failed = await store.get(job.id)
    assert failed.status == JobState.FAILED
    assert failed.error is not None
    assert failed.error.code == "too_many_attempts"
    assert (await store.stats()).dead_letters == 1


async def test_release_counts_no_attempt_and_goes_first(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    await store.submit(a_job())
    for number in range(2, MAX_DELIVERIES + 3):
        await store.release(lease)
        await store.release(lease)
        assert (await store.get(lease.job.id)).status == JobState.QUEUED
        again = await claim(store)
        assert (again.job.id, again.job.attempts) == (lease.job.id, 1)
        assert again.attempt == number, "results are stored under the attempt: it is never used twice"
        lease = again


async def return_job(store: RedisJobStore, lease: Lease, how: str) -> None:
    await getattr(store, how)(lease, *(() if how == "release" else (BROKEN, 0)))


@pytest.mark.parametrize("how", ["retry", "postpone", "release"])
async def test_a_worker_that_gave_a_job_back_no_longer_holds_it(store: RedisJobStore, how: str) -> None:
    lease = await claim(store, job=a_job())
    await return_job(store, lease, how)
    for call in (
        store.renew(lease),
        store.publish(lease, 1, Step(step=1, of=1, progress=1.0)),
        store.finish(lease, Completed(result=result())),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert (await claim(store, "other")).job.id == lease.job.id


async def test_cancel_of_a_waiting_job_is_immediate(store: RedisJobStore) -> None:
    job = a_job()
    await store.submit(job)
    assert (await store.cancel(job.id)).status == JobState.CANCELLED
    assert await store.claim("w", 0.05) is None
    assert await position(store, job.id) is None
    assert isinstance((await collect(store, job.id))[-1].event, Cancelled)
    with pytest.raises(JobFinished):
        await store.cancel(job.id)


async def test_cancel_of_a_delayed_job_is_immediate(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    await store.retry(lease, BROKEN, 0)
    assert (await store.cancel(lease.job.id)).status == JobState.CANCELLED
    assert await store.claim("w", 0.05) is None
    assert (await store.stats()).delayed == 0


async def test_cancel_of_a_running_job_reaches_its_worker_and_wins(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    flagged = await store.cancel(lease.job.id)
    assert (flagged.status, flagged.cancel_requested) == (JobState.ANALYZING, True)
    assert (await store.cancel(lease.job.id)).cancel_requested
    assert await store.renew(lease) is True
    await store.finish(lease, Completed(result=result()))
    done = await store.get(lease.job.id)
    assert (done.status, done.result) == (JobState.CANCELLED, None)


@pytest.mark.parametrize("how", ["retry", "postpone", "release"])
async def test_a_cancelled_job_does_not_come_back(store: RedisJobStore, how: str) -> None:
    lease = await claim(store, job=a_job())
    await store.cancel(lease.job.id)
    await return_job(store, lease, how)
    assert (await store.get(lease.job.id)).status == JobState.CANCELLED
    assert await store.claim("w", 0.05) is None


async def test_sweep_ends_a_cancelled_job_of_a_dead_worker_and_forgets_the_worker(
    store: RedisJobStore,
) -> None:
    lease = await claim(store, "dead", job=a_job())
    await store.cancel(lease.job.id)
    assert await store.sweep("sweeper") == 0
    assert (await store.stats()).workers == 2
    until = time.monotonic() + 30
    while not (ended := await store.sweep("sweeper")):
        assert time.monotonic() < until, "a silent worker's job was not ended"
        await asyncio.sleep(LEASE / 10)
    assert ended == 1
    assert (await store.get(lease.job.id)).status == JobState.CANCELLED
    await asyncio.sleep(3 * LEASE)
    await store.sweep("sweeper")
    await store.submit(a_job())
    assert (await store.stats()).workers == 1


async def test_erase_forgets_finished_jobs_only(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    with pytest.raises(ValueError, match="not finished"):
        await store.erase(lease.job.id)
    await store.finish(lease, Completed(result=result()))
    await store.erase(lease.job.id)
    with pytest.raises(JobNotFound):
        await store.get(lease.job.id)
    assert await collect(store, lease.job.id) == []


async def finished(store: RedisJobStore, photo: str | None = None) -> Lease:
    """The lease of a job of a photo that is done."""
    lease = await claim(store, job=a_job(photo_digest=photo))
    await store.finish(lease, Completed(result=result()))
    return lease


async def test_leases_of_the_same_photo_have_an_id_in_common(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    first, second, other, none = [await finished(store, photo) for photo in ("one", "one", "two", None)]
    assert first.photo_id is not None
    assert first.photo_id == second.photo_id != other.photo_id
    assert len(first.photo_id) == 32
    assert none.photo_id is None
    assert 0 < await client.ttl(f"{store._keys.photo}one") <= 60, "not longer than the jobs"


async def test_erasing_a_job_drops_the_id_of_its_photo(store: RedisJobStore) -> None:
    """Also for jobs that wait: what was found in the photo before is not for them any more."""
    erased, kept, other = [await finished(store, photo) for photo in ("one", "one", "two")]
    waiting = a_job(photo_digest="one")
    await store.submit(waiting)
    await store.erase(erased.job.id)
    after = await claim(store)
    assert after.job.id == waiting.id
    assert after.photo_id not in (None, erased.photo_id)
    assert (await finished(store, "one")).photo_id == after.photo_id
    assert (await finished(store, "two")).photo_id == other.photo_id
    await store.erase(kept.job.id)
    assert (await finished(store, "one")).photo_id not in (None, erased.photo_id, after.photo_id)


async def test_a_repeated_claim_does_not_bring_back_an_id_that_was_dropped(
    store: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = await finished(store, "one")
    calls: dict[str, dict[str, Any]] = {}
    call = store._call

    async def recorded(name: str, **args: Any) -> Any:
        calls[name] = args
        return await call(name, **args)

    monkeypatch.setattr(store, "_call", recorded)
    lease = await claim(store, job=a_job(photo_digest="one"))
    assert lease.photo_id == erased.photo_id
    again = pairs(await call("claim", **calls["claim"]))
    assert (again["id"], again["photo_id"]) == (lease.job.id, lease.photo_id)
    await store.erase(erased.job.id)
    again = pairs(await call("claim", **calls["claim"]))
    assert again["id"] == lease.job.id
    assert "photo_id" not in again


async def test_nothing_stays_for_ever(store: RedisJobStore, server: RedisServer) -> None:
    lease = await claim(store, job=a_job())
    await store.finish(lease, Completed(result=result()))
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        keys = store._keys
        assert await client.xlen(keys.queue) == 0
        assert 0 < await client.ttl(keys.job + lease.job.id) <= 60
        assert 0 < await client.ttl(keys.events + lease.job.id) <= 60


async def test_events_go_before_the_record_does(server: RedisServer) -> None:
    """Previews are large, and what is remembered must fit into memory."""
    lasting = RedisJobStore(server.url, prefix=next(prefixes), job_ttl=7 * 86400)
    try:
        lease = await claim(lasting, job=a_job())
        await lasting.finish(lease, Completed(result=result()))
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert 0 < await client.ttl(lasting._keys.events + lease.job.id) <= EVENTS_TTL
            assert await client.ttl(lasting._keys.job + lease.job.id) > EVENTS_TTL
            await client.delete(lasting._keys.events + lease.job.id)
        assert await collect(lasting, lease.job.id) == []
        assert (await lasting.get(lease.job.id)).status == JobState.COMPLETED
    finally:
        await lasting.aclose()


async def test_events_follow_a_running_job_and_resume(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    watching = asyncio.create_task(collect(store, lease.job.id))
    for number in range(1, 21):
        await store.publish(lease, number, Step(step=number, of=20, progress=number / 20))
        await asyncio.sleep(0.005)
    await store.finish(lease, Completed(result=result()))
    seen = await asyncio.wait_for(watching, 5)
    assert [record.event.step for record in seen if isinstance(record.event, Step)] == list(range(1, 21))
    assert sorted(seen, key=lambda record: seq_key(record.seq)) == seen
    for index, record in enumerate(seen):
        assert await collect(store, lease.job.id, record.seq) == seen[index + 1 :]


async def test_a_missing_server_is_unavailable(store: RedisJobStore) -> None:
    away = RedisJobStore("redis://127.0.0.1:1/0")
    for call in (away.ping(), away.stats(), away.sweep("w"), away.claim("w", 0.1), away.get("x")):
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable):
        await collect(away, "x")
    await away.aclose()


async def test_a_wrong_password_is_not_an_outage(server: RedisServer) -> None:
    denied = RedisJobStore(server.url.replace("://:", "://someone:wrong"))
    with pytest.raises(AccessDenied):
        await denied.ping()
    await denied.aclose()


async def test_a_worker_that_only_sweeps_is_counted(store: RedisJobStore) -> None:
    assert (await store.stats()).workers == 0
    await store.sweep("w")
    assert (await store.stats()).workers == 1
