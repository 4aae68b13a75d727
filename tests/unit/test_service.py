"""The use cases of the API over a store in memory and storage on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.jobs.events import Completed, Step
from orchestrator.jobs.models import Job, JobResult, JobState, Preferences
from orchestrator.jobs.service import FIRST_GUESS_SECONDS, JobNotFinished, JobService
from orchestrator.ports import JobFinished, JobNotFound, ObjectNotFound, Unavailable
from orchestrator.storage.local import LocalStorage
from orchestrator.storage.signing import UrlSigner
from tests.fakes_store import MemoryJobStore

RESULT = JobResult(transformed_key="a/b", thumbnail_key="a/c", metadata={})


class Bench:
    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.store = MemoryJobStore()
        self.storage = LocalStorage(folder, UrlSigner(b"0123456789abcdef", "http://localhost"))
        self.service = JobService(self.store, self.storage, clock=lambda: self.now)

    async def submit(self) -> str:
        return (await self.service.submit(b"jpeg", "boho", Preferences())).job.id


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_submit_stores_the_photo_and_queues_the_job(bench: Bench) -> None:
    view = await bench.service.submit(b"jpeg", "boho", Preferences(seed=3))
    job = await bench.store.get(view.job.id)
    assert (job.style, job.preferences.seed, job.status, job.created_at) == (
        "boho",
        3,
        JobState.QUEUED,
        1000.0,
    )
    assert job.original_key == f"uploads/{job.id}/original.jpg"
    assert await bench.storage.get(job.original_key) == b"jpeg"
    assert view.queue_position == 0


async def test_a_store_that_is_down_leaves_nothing(bench: Bench) -> None:
    bench.store.down = True
    with pytest.raises(Unavailable):
        await bench.submit()
    assert (await bench.storage.stats()).objects == 0


async def test_a_store_that_fails_after_the_photo_was_stored_leaves_nothing(tmp_path: Path) -> None:
    class FallsAtSubmit(MemoryJobStore):
        async def submit(self, job: object) -> None:
            raise Unavailable("just now")

    bench = Bench(tmp_path)
    service = JobService(FallsAtSubmit(), bench.storage)
    with pytest.raises(Unavailable):
        await service.submit(b"jpeg", "boho", Preferences())
    assert (await bench.storage.stats()).objects == 0


async def test_a_store_that_may_yet_queue_the_job_keeps_its_photo(tmp_path: Path) -> None:
    class Hangs(MemoryJobStore):
        async def submit(self, job: Job) -> None:
            self.down = True
            raise Unavailable("no answer in time")

    bench = Bench(tmp_path)
    with pytest.raises(Unavailable):
        await JobService(Hangs(), bench.storage).submit(b"jpeg", "boho", Preferences())
    assert (await bench.storage.stats()).objects == 1


async def test_a_job_that_was_queued_although_its_reply_was_lost_is_cancelled(tmp_path: Path) -> None:
    class LosesTheReply(MemoryJobStore):
        async def submit(self, job: Job) -> None:
            await super().submit(job)
            raise Unavailable("no answer in time")

    bench, store = Bench(tmp_path), LosesTheReply()
    with pytest.raises(Unavailable):
        await JobService(store, bench.storage).submit(b"jpeg", "boho", Preferences())
    assert [job.status for job in store.jobs.values()] == [JobState.CANCELLED]
    assert (await bench.storage.stats()).objects == 0


async def test_estimates_begin_with_a_guess_and_follow_what_is_measured(bench: Bench) -> None:
    view = await bench.service.submit(b"jpeg", "boho", Preferences())
    assert view.estimated_time == FIRST_GUESS_SECONDS
    bench.store.mean_seconds = 4.0
    view = await bench.service.submit(b"jpeg", "boho", Preferences())
    assert (view.queue_position, view.estimated_time) == (1, 8.0)
    bench.store.workers = 2
    assert (await bench.service.status(view.job.id)).estimated_time_remaining == 6.0


async def test_estimates_of_a_running_job_follow_its_progress(bench: Bench) -> None:
    bench.store.mean_seconds = 4.0
    job_id = await bench.submit()
    lease = await bench.store.take("w", 0)
    assert lease is not None
    await bench.store.publish(lease, 1, Step(step=3, of=4, progress=0.75))
    bench.now += 3
    view = await bench.service.status(job_id)
    assert (view.queue_position, view.estimated_time_remaining, view.estimated_time) == (None, 1.0, 4.0)


async def test_a_finished_job_has_no_estimates(bench: Bench) -> None:
    job_id = await bench.submit()
    view = await bench.service.cancel(job_id)
    assert view.job.status is JobState.CANCELLED
    assert (view.queue_position, view.estimated_time, view.estimated_time_remaining) == (None, None, None)
    with pytest.raises(JobFinished):
        await bench.service.cancel(job_id)


async def test_erase_deletes_pictures_and_record_of_a_finished_job_only(bench: Bench) -> None:
    job_id, other = await bench.submit(), await bench.submit()
    lease = await bench.store.take("w", 0)
    assert lease is not None
    with pytest.raises(JobNotFinished):
        await bench.service.erase(job_id)
    await bench.storage.put(f"results/{job_id}/1/transformed.jpg", b"x", "image/jpeg")
    await bench.store.finish(lease, Completed(result=RESULT))
    await bench.service.erase(job_id)
    with pytest.raises(JobNotFound):
        await bench.service.status(job_id)
    with pytest.raises(ObjectNotFound):
        await bench.storage.get(f"uploads/{job_id}/original.jpg")
    assert (await bench.storage.stats()).objects == 1
    assert (await bench.service.status(other)).job.id == other


async def test_pictures_can_be_erased_when_the_record_has_expired(bench: Bench) -> None:
    job_id = "a" * 32
    await bench.storage.put(f"uploads/{job_id}/original.jpg", b"x", "image/jpeg")
    await bench.storage.put(f"results/{job_id}/1/transformed.jpg", b"x", "image/jpeg")
    await bench.service.erase(job_id)
    assert (await bench.storage.stats()).objects == 0
    with pytest.raises(JobNotFound):
        await bench.service.erase(job_id)


@pytest.mark.parametrize("job_id", ["", "0" * 32, "*", "../x", "A" * 32, "0" * 10_000, "\0"])
async def test_ids_that_are_none_are_not_found(bench: Bench, job_id: str) -> None:
    for call in (bench.service.status, bench.service.cancel, bench.service.erase):
        with pytest.raises(JobNotFound):
            await call(job_id)
