"""What is deleted when its time is over, and what is not."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Cancelled, Completed, Failed, Terminal
from orchestrator.domain.job import MAX_DELIVERIES, JobError, JobState
from orchestrator.domain.keeping import Times, expires_at
from orchestrator.ports import Unavailable
from orchestrator.services.retention import Retention
from stack.redis import RedisServer
from tests.support.fakes import MemoryStorage
from tests.support.jobs import a_job, claim, result
from tests.support.servers import free_port
from tests.support.trees import submit_tree

BROKEN = JobError(code="model_error", detail="The model broke.")
_prefixes = itertools.count()
UPLOAD_TTL, JOB_TTL = 100, 1000


class Bench:
    def __init__(self, store: RedisJobStore) -> None:
        self.store, self.storage = store, MemoryStorage()
        self.retention = Retention(
            self.store, self.storage, upload_ttl=UPLOAD_TTL, times=Times(record=JOB_TTL)
        )

    async def put(self, key: str, age: float) -> None:
        await self.storage.put(key, b"x", "image/jpeg")
        self.storage.written[key] = time.time() - age

    async def left(self) -> list[str]:
        """What a sweep leaves."""
        before = len(self.storage.objects)
        assert await self.retention.sweep() == before - len(self.storage.objects)
        return sorted(self.storage.objects)


@pytest.fixture
async def bench(redis: RedisServer) -> AsyncIterator[Bench]:
    store = RedisJobStore(redis.url, prefix=f"r{next(_prefixes)}:")
    yield Bench(store)
    await store.aclose()


async def test_pictures_of_forgotten_jobs_go_together(bench: Bench) -> None:
    for key in ("uploads/a/original.jpg", "results/a/1/transformed.jpg", "results/a/2/thumbnail.jpg"):
        await bench.put(key, JOB_TTL + 1)
    await bench.put("results/b/1/transformed.jpg", JOB_TTL - 1)
    assert await bench.left() == ["results/b/1/transformed.jpg"]


async def test_a_job_that_is_remembered_keeps_its_pictures_however_old(bench: Bench) -> None:
    await bench.store.submit(a_job("a"))
    await bench.put("uploads/a/original.jpg", 100 * JOB_TTL)
    assert await bench.left() == ["uploads/a/original.jpg"]


async def test_photos_that_were_not_submitted_go(bench: Bench) -> None:
    await bench.put("incoming/a/photo", 2 * UPLOAD_TTL + 1)
    await bench.put("incoming/b/photo", UPLOAD_TTL + 1)
    assert await bench.left() == ["incoming/b/photo"]


async def test_what_it_does_not_know_stays(bench: Bench) -> None:
    await bench.put("exports/a/b.jpg", 100 * JOB_TTL)
    assert await bench.left() == ["exports/a/b.jpg"]


async def test_nothing_is_deleted_while_it_is_not_known_which_jobs_there_are() -> None:
    away = RedisJobStore(f"redis://127.0.0.1:{free_port()}/0")
    bench = Bench(away)
    await bench.put("uploads/a/original.jpg", JOB_TTL + 1)
    with pytest.raises(Unavailable):
        await bench.retention.sweep()
    assert list(bench.storage.objects) == ["uploads/a/original.jpg"]
    await away.aclose()


@pytest.mark.parametrize("outcome", [Failed(error=BROKEN), Cancelled()])
async def test_a_job_that_ends_without_a_picture_leaves_nothing(bench: Bench, outcome: Terminal) -> None:
    lease = await claim(bench.store, job=a_job())
    for key in (lease.job.original_key, f"results/{lease.job.id}/1/transformed.jpg"):
        await bench.put(key, 0)
    assert await bench.retention.clean() == 0, "it still runs"
    await bench.store.finish(lease, outcome)
    assert await bench.retention.clean() == 2
    assert not bench.storage.objects


async def test_a_job_that_is_given_up_leaves_nothing(bench: Bench) -> None:
    await bench.store.submit(job := a_job())
    await bench.put(job.original_key, 0)
    for _ in range(MAX_DELIVERIES):
        await bench.store.retry(await claim(bench.store), BROKEN, 0)
    assert await bench.retention.clean() == 1


async def test_a_job_with_a_picture_keeps_it(bench: Bench) -> None:
    lease = await claim(bench.store, job=a_job())
    await bench.put(lease.job.original_key, 0)
    await bench.store.finish(lease, Completed(result=result()))
    assert await bench.retention.clean() == 0
    assert list(bench.storage.objects) == [lease.job.original_key]


async def test_what_could_not_be_deleted_is_deleted_later(bench: Bench) -> None:
    lease = await claim(bench.store, job=a_job())
    await bench.put(lease.job.original_key, 0)
    await bench.store.finish(lease, Failed(error=BROKEN))
    bench.storage.outages = 1
    with pytest.raises(Unavailable):
        await bench.retention.clean()
    assert await bench.retention.clean() == 1
    assert await bench.store.to_clean() == []


async def test_photos_and_pictures_of_completed_jobs_have_times_of_their_own(bench: Bench) -> None:
    bench.retention = Retention(
        bench.store, bench.storage, upload_ttl=UPLOAD_TTL, times=Times(record=JOB_TTL, photo=0, result=500)
    )
    done, waiting = a_job("done"), a_job("waiting")
    lease = await claim(bench.store, job=done)
    await bench.store.submit(waiting)
    for job in (done, waiting):
        await bench.put(job.original_key, 100)
    await bench.put("results/done/1/transformed.jpg", 499)
    await bench.put("uploads/never/original.jpg", 100)
    assert len(await bench.left()) == 3, "a photo of no job goes, those of unfinished jobs stay"
    await bench.store.finish(lease, Completed(result=result()))
    assert await bench.left() == ["results/done/1/transformed.jpg", waiting.original_key]


async def test_favourites_keep_their_photo_and_pictures(bench: Bench) -> None:
    bench.retention = Retention(
        bench.store, bench.storage, upload_ttl=UPLOAD_TTL, times=Times(record=JOB_TTL, photo=0, result=0)
    )
    lease = await claim(bench.store, job=a_job("a"))
    await bench.put(lease.job.original_key, 2 * JOB_TTL)
    await bench.put("results/a/1/transformed.jpg", 2 * JOB_TTL)
    await bench.store.finish(lease, Completed(result=result()))
    await bench.store.set_favourite("a", True)
    assert await bench.left() == ["results/a/1/transformed.jpg", lease.job.original_key]
    await bench.store.set_favourite("a", False)
    assert await bench.left() == []


PROMISED = Times(record=JOB_TTL, photo=300, result=500)


async def _alone(bench: Bench) -> list[str]:
    lease = await claim(bench.store, job=a_job("alone"))
    await bench.store.finish(lease, Completed(result=result()))
    return ["alone"]


async def _unmarked(bench: Bench) -> list[str]:
    [job] = await _alone(bench)
    await bench.store.set_favourite(job, True)
    await bench.store.set_favourite(job, False)
    return [job]


async def _kept(bench: Bench) -> list[str]:
    [job] = await _alone(bench)
    await bench.store.set_favourite(job, True)
    return [job]


async def _tree(bench: Bench) -> list[str]:
    """Two were completed, and one failed."""
    parent, children = await submit_tree(bench.store, 3)
    for number in range(3):
        lease = await claim(bench.store)
        outcome = Completed(result=result()) if number < 2 else Failed(error=BROKEN)
        await bench.store.finish(lease, outcome)
    return [parent.id, *(child.id for child in children)]


async def _tree_with_a_favourite(bench: Bench) -> list[str]:
    ids = await _tree(bench)
    await bench.store.set_favourite(ids[1], True)
    return ids


async def _tree_with_an_unmarked_child(bench: Bench) -> list[str]:
    ids = await _tree_with_a_favourite(bench)
    await bench.store.set_favourite(ids[1], False)
    return ids


@pytest.mark.parametrize(
    "story", [_alone, _unmarked, _kept, _tree, _tree_with_a_favourite, _tree_with_an_unmarked_child]
)
async def test_pictures_are_there_until_the_promised_time_and_not_much_longer(
    bench: Bench, story: Callable[[Bench], Awaitable[list[str]]]
) -> None:
    now = time.time()
    bench.retention = Retention(
        bench.store, bench.storage, upload_ttl=UPLOAD_TTL, times=PROMISED, clock=lambda: now
    )
    jobs = [await bench.store.get(job_id) for job_id in await story(bench)]
    promises = {}
    for job in jobs:
        if job.status is JobState.COMPLETED:
            # So old that their jobs alone keep them.
            await bench.put(f"results/{job.id}/1/transformed.jpg", 100 * JOB_TTL)
            await bench.put(job.original_key, 100 * JOB_TTL)
            family = [each for each in jobs if each.parent == job.id]
            promises[job.id] = expires_at(job, family, PROMISED)
        else:
            assert expires_at(job, [], PROMISED) is None
    pictures = {job_id: f"results/{job_id}/1/transformed.jpg" for job_id in promises}
    for moment in sorted({each or math.inf for each in promises.values()}):
        promised = {
            pictures[job_id] for job_id, promise in promises.items() if (promise or math.inf) == moment
        }
        now = time.time() + 1000 * JOB_TTL if moment == math.inf else moment - 0.001
        await bench.retention.sweep()
        assert promised <= bench.storage.objects.keys()
        now = moment + 0.001
        if moment != math.inf:
            await bench.retention.sweep()
            assert not promised & bench.storage.objects.keys()


async def test_a_child_has_its_photo_for_as_long_as_its_page_is_promised(bench: Bench) -> None:
    now = time.time()
    ids = await _tree_with_a_favourite(bench)
    bench.retention = Retention(
        bench.store, bench.storage, upload_ttl=UPLOAD_TTL, times=PROMISED, clock=lambda: now
    )
    ended = (await bench.store.get(ids[0])).updated_at
    await bench.store.set_favourite(ids[1], False)
    child = await bench.store.get(ids[1])
    assert child.updated_at > ended
    await bench.put(child.original_key, 100 * JOB_TTL)
    now = child.updated_at + PROMISED.both - 0.000001
    await bench.retention.sweep()
    assert child.original_key in bench.storage.objects
