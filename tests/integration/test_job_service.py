"""The use cases of the API over a real Redis and storage on disk."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.events import Completed
from orchestrator.domain.job import Job, JobResult, JobState
from orchestrator.domain.keeping import Times
from orchestrator.domain.keys import OPEN
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import (
    JobFinished,
    JobNotFound,
    Lease,
    ObjectNotFound,
    QueueStats,
    Reservation,
    Unavailable,
)
from orchestrator.services.jobs import (
    FIRST_GUESS_SECONDS,
    JobNotFinished,
    JobService,
    TooManyJobs,
    photo_digest,
    seconds_remaining,
)
from orchestrator.services.retention import Retention
from stack.redis import RedisServer
from tests.support.fakes import MemoryStorage
from tests.support.jobs import a_job, claim
from tests.support.servers import free_port
from tests.support.trees import a_tree

RESULT = JobResult(transformed_key="a/b", thumbnail_key="a/c", metadata={})
_prefixes = itertools.count()


class Bench:
    """``MAX_QUEUE`` jobs may wait."""

    MAX_QUEUE = 3

    def __init__(self, store: RedisJobStore, folder: Path) -> None:
        self.now = 1000.0
        self.store = store
        self.storage = LocalStorage(folder, UrlSigner(b"0123456789abcdef", "http://localhost"))
        self.service = JobService(store, self.storage, max_queue=self.MAX_QUEUE, clock=lambda: self.now)

    async def submit(self) -> str:
        return (await self.service.submit(b"jpeg", "boho", Preferences(), OPEN)).job.id

    async def objects(self) -> int:
        return (await self.storage.stats()).objects


@pytest.fixture
async def bench(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Bench]:
    store = RedisJobStore(redis.url, prefix=f"s{next(_prefixes)}:")
    yield Bench(store, tmp_path)
    await store.aclose()


async def test_submit_stores_the_photo_and_queues_the_job(bench: Bench) -> None:
    view = await bench.service.submit(b"jpeg", "boho", Preferences(seed=3), OPEN)
    job = await bench.store.get(view.job.id)
    assert (job.style, job.preferences.seed) == ("boho", 3)
    assert (job.status, job.created_at) == (JobState.QUEUED, 1000.0)
    assert job.original_key == f"uploads/{job.id}/original.jpg"
    assert await bench.storage.get(job.original_key) == b"jpeg"
    assert (view.queue_position, view.estimated_time) == (0, FIRST_GUESS_SECONDS)


async def test_a_store_that_is_down_leaves_nothing(tmp_path: Path) -> None:
    away = RedisJobStore(f"redis://127.0.0.1:{free_port()}/0")
    bench = Bench(away, tmp_path)
    with pytest.raises(Unavailable):
        await bench.submit()
    assert await bench.objects() == 0
    await away.aclose()


class Submitting(RedisJobStore):
    """Answers a submission with an outage, which comes ``before`` or ``after`` the job is queued, and may ``last``."""

    outage, lasts = "", False

    async def submit(
        self,
        job: Job,
        **others: Any,
    ) -> None:
        if self.outage == "after":
            await super().submit(job, **others)
        raise Unavailable("no answer in time")

    async def cancel(self, job_id: str, undone: Reservation | None = None) -> Job:
        if self.lasts:
            raise Unavailable("still no answer")
        return await super().cancel(job_id, undone)


@pytest.mark.parametrize(
    ("outage", "lasts", "photos"), [("before", False, 0), ("after", False, 0), ("after", True, 1)]
)
async def test_an_outage_in_mid_submission_leaves_nothing_unless_the_job_may_be_queued(
    redis: RedisServer, tmp_path: Path, outage: str, lasts: bool, photos: int
) -> None:
    store = Submitting(redis.url, prefix=f"s{next(_prefixes)}:")
    store.outage, store.lasts = outage, lasts
    bench = Bench(store, tmp_path)
    with pytest.raises(Unavailable):
        await bench.submit()
    assert await bench.objects() == photos
    assert (await store.stats()).queued == photos
    await store.aclose()


async def test_more_jobs_than_may_wait_are_refused_and_leave_nothing(bench: Bench) -> None:
    for _ in range(bench.MAX_QUEUE):
        await bench.service.check_capacity()
        await bench.submit()
    with pytest.raises(TooManyJobs) as refused:
        await bench.service.check_capacity()
    assert (refused.value.waiting, refused.value.retry_after) == (bench.MAX_QUEUE, 2)
    with pytest.raises(TooManyJobs):
        await bench.submit()
    assert await bench.objects() == bench.MAX_QUEUE
    await claim(bench.store)
    await bench.service.check_capacity()
    await bench.submit()


async def test_a_waiting_job_that_is_cancelled_leaves_no_photo(bench: Bench) -> None:
    job_id = await bench.submit()
    assert (await bench.service.cancel(job_id, OPEN)).job.status is JobState.CANCELLED
    assert await bench.objects() == 0
    assert await bench.store.to_clean() == []


def stats(**given: float) -> QueueStats:
    counts = {"queued": 0, "running": 0, "delayed": 0, "declined": 0, "dead_letters": 0, "workers": 1}
    return QueueStats(**{**counts, "mean_seconds": None, "rate": None, **given})  # type: ignore[arg-type]


def test_estimates_begin_with_a_guess_and_follow_what_is_measured() -> None:
    job = a_job()
    assert seconds_remaining(job, 0, stats()) == FIRST_GUESS_SECONDS
    assert seconds_remaining(job, 4, stats(mean_seconds=4.0, workers=2)) == 12.0
    assert seconds_remaining(job, 4, stats(mean_seconds=4.0, workers=1, running=4)) == 8.0
    assert seconds_remaining(job, 100, stats(mean_seconds=4.0, rate=2.0)) == 54.0


async def test_a_finished_job_has_no_estimates(bench: Bench) -> None:
    job_id = await bench.submit()
    view = await bench.service.cancel(job_id, OPEN)
    assert (view.queue_position, view.estimated_time, view.estimated_time_remaining) == (None, None, None)
    with pytest.raises(JobFinished):
        await bench.service.cancel(job_id, OPEN)


async def test_erase_deletes_pictures_and_record_of_a_finished_job_only(bench: Bench) -> None:
    job_id, other = await bench.submit(), await bench.submit()
    lease = await claim(bench.store)
    with pytest.raises(JobNotFinished):
        await bench.service.erase(job_id, OPEN)
    await bench.storage.put(f"results/{job_id}/1/transformed.jpg", b"x", "image/jpeg")
    await bench.store.finish(lease, Completed(result=RESULT))
    await bench.service.erase(job_id, OPEN)
    with pytest.raises(JobNotFound):
        await bench.service.status(job_id, OPEN)
    with pytest.raises(ObjectNotFound):
        await bench.storage.get(f"uploads/{job_id}/original.jpg")
    assert (await bench.storage.stats()).objects == 1
    assert (await bench.service.status(other, OPEN)).job.id == other


class Drawing(RedisJobStore):
    """Just before a record goes, a worker stores a picture that it was making of the job's; then the storage may be
    ``away``."""

    def __init__(self, url: str, storage: MemoryStorage, away: bool) -> None:
        super().__init__(url, prefix=f"s{next(_prefixes)}:")
        self._storage, self._away = storage, away

    async def erase(self, job_id: str) -> None:
        job = await self.get(job_id)
        for each in (job_id, job.parent):
            if each is not None:
                await self._storage.put(f"results/{each}/a-picture-0/a-picture.jpg", b"x", "image/jpeg")
        await super().erase(job_id)
        self._storage.outages = int(self._away)


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("children", [0, 2])
async def test_a_picture_that_is_made_while_its_job_is_erased_goes_too(
    redis: RedisServer, children: int, away: bool
) -> None:
    storage = MemoryStorage()
    store = Drawing(redis.url, storage, away)
    service = JobService(store, storage)
    parent, family = a_tree(children)
    await store.submit(parent, children=family)
    for _ in family or [parent]:
        await store.finish(await claim(store), Completed(result=RESULT))
    # The last child takes its parent along.
    for job in family or [parent]:
        await service.erase(job.id, OPEN)
        storage.outages = 0
    assert bool(storage.objects) is away
    await Retention(store, storage, upload_ttl=60, times=Times(record=60)).clean()
    assert (storage.objects, await store.to_clean()) == ({}, [])
    await store.aclose()


async def test_jobs_of_one_photo_know_each_other_until_one_is_erased(bench: Bench) -> None:
    async def done(photo: bytes) -> Lease:
        await bench.service.submit(photo, "boho", Preferences(), OPEN)
        lease = await claim(bench.store)
        await bench.store.finish(lease, Completed(result=RESULT))
        return lease

    first, second, other = await done(b"jpeg"), await done(b"jpeg"), await done(b"another")
    assert first.photo_id == second.photo_id != other.photo_id
    await bench.service.erase(first.job.id, OPEN)
    assert (await done(b"jpeg")).photo_id not in (None, first.photo_id)
    assert (await done(b"another")).photo_id == other.photo_id


def test_callers_can_be_kept_apart() -> None:
    digests = {photo_digest(photo, owner) for photo in (b"one", b"two") for owner in ("", "a", "b")}
    assert len(digests) == 6


async def test_pictures_can_be_erased_when_the_record_has_expired(bench: Bench) -> None:
    job_id = "a" * 32
    await bench.storage.put(f"uploads/{job_id}/original.jpg", b"x", "image/jpeg")
    await bench.storage.put(f"results/{job_id}/1/transformed.jpg", b"x", "image/jpeg")
    await bench.service.erase(job_id, OPEN)
    assert (await bench.storage.stats()).objects == 0
    with pytest.raises(JobNotFound):
        await bench.service.erase(job_id, OPEN)


@pytest.mark.parametrize("job_id", ["", "0" * 32, "*", "../x", "A" * 32, "0" * 10_000, "\0"])
async def test_ids_that_are_none_are_not_found(bench: Bench, job_id: str) -> None:
    for call in (bench.service.status, bench.service.cancel, bench.service.erase):
        with pytest.raises(JobNotFound):
            await call(job_id, OPEN)
