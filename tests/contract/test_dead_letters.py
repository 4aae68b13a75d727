"""Jobs that were given up: kept with their photos for a while, shown, replayed and dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from orchestrator import __main__ as program
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Failed
from orchestrator.domain.job import MAX_DELIVERIES, Job, JobError, JobState
from orchestrator.domain.keeping import Times
from orchestrator.ports import DeadLetterNotFound, NotReplayed
from orchestrator.services.dead_letters import DeadLetters
from orchestrator.services.retention import Retention
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock
from tests.support.fakes import MemoryStorage
from tests.support.jobs import a_job, claim, collect, cost_before, position, result

BROKEN = JobError(code="model_error", detail="The model broke.")
KEPT = 1000


class Bench:
    def __init__(self, url: str) -> None:
        self.clock, self.storage, self.prefix = Clock(), MemoryStorage(), next(prefixes)
        self.store = RedisJobStore(
            url, prefix=self.prefix, lease_seconds=600, letters_ttl=KEPT, clock=self.clock
        )
        self.letters = DeadLetters(self.store, self.storage)
        self.retention = Retention(self.store, self.storage, upload_ttl=100, times=Times(record=10**6))

    async def give_up(self, **fields: Any) -> Job:
        """A job that has failed as often as it may."""
        job = msgspec.structs.replace(a_job(), **fields)
        await self.storage.put(job.original_key, b"photo", "image/jpeg")
        lease = await claim(self.store, job=job)
        for _ in range(MAX_DELIVERIES - 1):
            assert await self.store.retry(lease, BROKEN, 0)
            lease = await claim(self.store)
        assert not await self.store.retry(lease, BROKEN, 0)
        return job


@pytest.fixture
async def bench(server: RedisServer) -> AsyncIterator[Bench]:
    made = Bench(server.url)
    yield made
    await made.store.aclose()


async def test_a_replayed_job_is_as_new(bench: Bench) -> None:
    job = await bench.give_up()
    (letter,) = await bench.letters.all()
    assert (letter.job_id, letter.code, letter.attempts) == (job.id, "model_error", MAX_DELIVERIES)
    assert await bench.retention.clean() == 0, "its photo is kept"
    await bench.letters.replay(job.id)
    again = await bench.store.get(job.id)
    assert (again.status, again.error, again.attempts) == (JobState.QUEUED, None, 0)
    assert await position(bench.store, job.id) == 0
    assert await bench.letters.all() == []
    bench.clock.now += 2 * KEPT
    assert await bench.retention.clean() == 0
    lease = await claim(bench.store)
    assert lease.attempt == MAX_DELIVERIES + 1, "pictures of its attempts do not meet"
    await bench.store.finish(lease, Completed(result=result()))
    assert await bench.store._client.ttl(bench.store._keys.job + job.id) > 0
    kinds = [type(each.event) for each in await collect(bench.store, job.id)]
    assert (kinds.count(Completed), kinds.count(Failed)) == (1, 0), "its watchers see its new life only"
    with pytest.raises(DeadLetterNotFound):
        await bench.letters.replay(job.id)


async def test_a_replayed_job_counts_in_the_queue_from_now_on(bench: Bench) -> None:
    job = await bench.give_up(cancel_after=60.0)
    waiting = [a_job() for _ in range(10)]
    for each in waiting:
        await bench.store.submit(each)
    bench.clock.now += 600
    await bench.letters.replay(job.id)
    assert await cost_before(bench.store, job.id) == 10
    assert await cost_before(bench.store, waiting[5].id) == 5
    for _ in waiting:
        await bench.store.finish(await claim(bench.store), Completed(result=result()))
    stats = await bench.store.stats()
    assert (stats.waiting, stats.waiting_cost) == (1, 1)
    assert stats.oldest_wait < 1
    bench.clock.now += 61
    await bench.store.sweep("a-worker")
    assert (await bench.store.get(job.id)).status is JobState.CANCELLED


async def test_a_replay_may_be_repeated_but_makes_one_job(bench: Bench) -> None:
    job = await bench.give_up()
    (letter,) = await bench.letters.all()
    await bench.store.replay(letter)
    with pytest.raises(NotReplayed, match="waits, runs or has ended"):
        await bench.store.replay(letter)
    assert (await bench.store.stats()).waiting == 1
    assert await bench.store._client.xlen(bench.store._keys.queue) == 1
    assert (await claim(bench.store)).job.id == job.id


async def test_the_photo_of_a_dead_letter_goes_when_its_time_is_over(bench: Bench) -> None:
    job = await bench.give_up()
    bench.clock.now += KEPT - 1
    assert await bench.retention.clean() == 0
    bench.clock.now += 2
    assert await bench.retention.clean() == 1
    with pytest.raises(NotReplayed, match="photo was deleted"):
        await bench.letters.replay(job.id)
    assert (await bench.store.get(job.id)).status == JobState.FAILED


async def test_no_replay_between_the_end_of_its_time_and_the_deletion(bench: Bench) -> None:
    job = await bench.give_up()
    bench.clock.now += KEPT + 1
    with pytest.raises(NotReplayed, match="photo was deleted"):
        await bench.letters.replay(job.id)


async def test_a_dropped_letters_photo_goes_at_once(bench: Bench) -> None:
    job = await bench.give_up()
    await bench.letters.drop(job.id)
    assert await bench.retention.clean() == 1
    assert bench.storage.objects == {}
    assert await bench.letters.all() == []
    assert (await bench.store.get(job.id)).status == JobState.FAILED


async def test_an_erased_job_leaves_no_letter(bench: Bench) -> None:
    job = await bench.give_up()
    await bench.store.erase(job.id)
    assert await bench.letters.all() == []


async def test_a_letter_whose_job_has_expired(bench: Bench) -> None:
    job = await bench.give_up()
    await bench.store._client.delete(bench.store._keys.job + job.id)
    assert (await bench.letters.show(job.id)).job is None
    with pytest.raises(NotReplayed, match="record has expired"):
        await bench.letters.replay(job.id)


async def test_other_failed_jobs_keep_no_photo(bench: Bench) -> None:
    job = a_job()
    await bench.storage.put(job.original_key, b"photo", "image/jpeg")
    lease = await claim(bench.store, job=job)
    await bench.store.finish(lease, Failed(error=BROKEN))
    assert await bench.retention.clean() == 1
    assert await bench.letters.all() == []


async def test_the_commands(
    bench: Bench, server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = await bench.give_up()
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("REROOM_REDIS_PREFIX", bench.prefix)

    async def run(*arguments: str) -> tuple[int, str]:
        options = program.parser().parse_args(["dead-letters", *arguments])
        status = await program.run(options)
        said = capsys.readouterr()
        return status, said.out + said.err

    status, said = await run("list")
    assert (status, said.count(job.id)) == (0, 1)
    status, said = await run("show", job.id)
    assert status == 0
    assert "model_error" in said
    assert "style: modern" in said
    status, said = await run("drop", job.id)
    assert status == 0
    assert (await run("show", job.id))[0] == 1
    assert (await run("list"))[1] == "no job was given up\n"
