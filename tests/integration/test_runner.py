"""What a worker does with a lease, over a real Redis."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator

import msgspec
import numpy as np
import pytest
from PIL import Image

from orchestrator import worker as worker_module
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.storage.common import to_its_end
from orchestrator.domain import events
from orchestrator.domain.job import MAX_DELIVERIES, MAX_OUTAGES, Job, JobState
from orchestrator.domain.keeping import Times
from orchestrator.domain.keys import OPEN
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES, StyleWords
from orchestrator.ports import InferenceError, Lease
from orchestrator.services.jobs import JobService
from orchestrator.services.retention import Retention
from orchestrator.services.running import runner as runner_module
from orchestrator.services.running.runner import Runner
from orchestrator.worker import Worker
from reroom.triton import Step
from stack.redis import RedisServer
from tests.support.api_server import photo as a_photo
from tests.support.fakes import FakeInference, Line, MemoryStorage, a_script
from tests.support.jobs import a_job, claim, collect, result
from tests.support.running_stack import until

LEASE = 1.0


class Bench:
    """A store, a storage, and a runner for a scripted model."""

    def __init__(self, store: RedisJobStore) -> None:
        self.store, self.storage = store, MemoryStorage()
        self.halt = asyncio.Event()

    async def submit(self, job: Job, photo: bytes | None = None) -> Job:
        self.storage.objects[job.original_key] = a_photo() if photo is None else photo
        await self.store.submit(job)
        return job

    def worker(self, inference: FakeInference, *, jobs: int) -> Worker:
        return Worker(
            self.store,
            inference,
            self.runner(inference),
            Retention(self.store, self.storage, upload_ttl=60, times=Times(record=60)),
            name="w",
            jobs=jobs,
            lease_seconds=LEASE,
            drain_seconds=5,
        )

    def runner(self, inference: FakeInference) -> Runner:
        return Runner(self.store, self.storage, inference, STYLES, lease_seconds=LEASE, retry_delay=0.05)

    async def hurry(self, job: Job) -> None:
        """End the delay after which a job that was given back is begun again."""
        await self.store._client.zadd(self.store._keys.delayed, {job.id: 0})

    async def run(self, inference: FakeInference, lease: Lease) -> Job:
        await asyncio.wait_for(self.runner(inference).run(lease, self.halt), 10)
        return await self.store.get(lease.job.id)


@pytest.fixture
async def bench(redis: RedisServer) -> AsyncIterator[Bench]:
    store = RedisJobStore(redis.url, prefix=f"{time.monotonic_ns()}:", lease_seconds=LEASE)
    yield Bench(store)
    await store.aclose()


async def test_a_job_is_published_and_stored(bench: Bench) -> None:
    wishes = Preferences(
        keep_furniture=True, color_palette=["sand", "sage"], prompt="a reading corner", seed=0, steps=4
    )
    await bench.submit(a_job(style="boho", preferences=wishes))
    inference = FakeInference(a_script(steps=4))
    job = await bench.run(inference, await claim(bench.store))

    asked = inference.requests[0]
    assert asked.prompt == ("a reading corner", STYLES["boho"].prompt)
    assert asked.palette == ("sand", "sage")
    assert (asked.seed, asked.steps, asked.strength, asked.max_strength) == (0, 4, None, 0.65)
    assert asked.image.shape == (64, 96, 3)
    assert np.abs(asked.image.astype(int) - (120, 90, 60)).max() <= 3

    published = [record.event for record in await collect(bench.store, job.id)]
    states = [event.status for event in published if isinstance(event, events.StatusChanged)]
    assert states == ["queued", "analyzing", "generating", "transforming", "finalizing"]
    assert [event.step for event in published if isinstance(event, events.Step)] == [1, 2, 3, 4]
    # As the model sent it, with its mark after the first two bytes.
    (preview,) = [base64.b64decode(event.jpeg) for event in published if isinstance(event, events.Preview)]
    assert (preview[:2], preview[-4:], b"DigitalSourceType" in preview) == (b"\xff\xd8", b"jpeg", True)
    progress = [e.progress for e in published if not isinstance(e, events.Failed | events.Cancelled)]
    assert progress == sorted(progress)
    assert progress[-2] <= 0.95
    assert progress[-1] == 1.0

    assert job.status == JobState.COMPLETED
    assert job.result is not None
    assert job.result.transformed_key == f"results/{job.id}/1/transformed.jpg"
    with Image.open(io.BytesIO(bench.storage.objects[job.result.transformed_key])) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
    assert job.result.thumbnail_key in bench.storage.objects
    facts = {"style": "boho", "quality_score": 0.85, "room_type": "bedroom", "room_confidence": 0.9}
    facts |= {"seed": 7, "width": 64, "height": 48, "release": "tiny-1"}
    assert job.result.metadata.items() >= facts.items()
    assert job.result.metadata["processing_time"] > 0


async def test_a_big_photo_is_shrunk(bench: Bench) -> None:
    await bench.submit(a_job(), a_photo((4100, 1000)))
    inference = FakeInference(a_script())
    await bench.run(inference, await claim(bench.store))
    assert inference.requests[0].image.shape == (500, 2048, 3)


async def test_cancel_stops_the_model_well_under_a_second(bench: Bench) -> None:
    job = await bench.submit(a_job())
    inference = FakeInference(a_script(steps=1000, pause=0.02))
    running = asyncio.create_task(bench.run(inference, await claim(bench.store)))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await bench.store.cancel(job.id)
    assert (await running).status == JobState.CANCELLED
    assert time.monotonic() - began < 5
    assert inference.closed == 1
    assert sum(isinstance(event, Step) for event in inference.sent) < 100


async def test_a_lost_lease_stops_the_model_and_commits_nothing(bench: Bench) -> None:
    await bench.submit(a_job())
    inference = FakeInference(a_script(steps=1000, pause=0.02))
    lease = await claim(bench.store)
    await bench.store.release(lease)
    other = await claim(bench.store, "other")
    job = await bench.run(inference, lease)
    assert (job.status, inference.closed) == (JobState.ANALYZING, len(inference.requests))
    await bench.store.finish(other, events.Completed(result=result("other")))
    assert not any(key.startswith("results/") for key in bench.storage.objects)


class Slow(MemoryStorage):
    """Results are not written until ``go_on``, whoever stops waiting for them: S3 is like that."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        async def write() -> None:
            await self.go_on.wait()
            await super(Slow, self).put(key, data, content_type, overwrite=overwrite)

        self.writing.set()
        await to_its_end(write())


@pytest.mark.parametrize("how", ["cancelled", "taken over and erased"])
async def test_pictures_that_are_stored_after_the_end_do_not_stay(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "STOP_SECONDS", 0.05)
    bench.storage = storage = Slow()
    job = await bench.submit(a_job())
    lease = await claim(bench.store)
    running = asyncio.create_task(bench.runner(FakeInference(a_script())).run(lease, bench.halt))
    await storage.writing.wait()
    if how == "cancelled":
        await bench.store.cancel(job.id)
    else:
        await bench.store.release(lease)
        await bench.store.finish(await claim(bench.store, "other"), events.Completed(result=result()))
        await JobService(bench.store, storage).erase(job.id, OPEN)
    await asyncio.wait_for(running, 10)
    await Retention(bench.store, storage, upload_ttl=60, times=Times(record=60)).clean()
    storage.go_on.set()
    await until(lambda: bool(storage.written), "the picture was stored")
    await until(lambda: storage.objects == {}, "and deleted")


async def test_halt_releases_the_job(bench: Bench) -> None:
    await bench.submit(a_job())
    inference = FakeInference(a_script(steps=1000, pause=0.02))
    running = asyncio.create_task(bench.run(inference, await claim(bench.store)))
    await asyncio.sleep(0.2)
    bench.halt.set()
    job = await running
    assert (job.status, job.attempts, inference.closed) == (JobState.QUEUED, 0, 1)


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (InferenceError("invalid_request", "steps must be 1", retryable=False), "failed", "invalid_request"),
        (InferenceError("structure_lost", "openings 0.1", retryable=False), "failed", "structure_lost"),
        (InferenceError("unavailable", "connection lost", retryable=True), "queued", None),
        (RuntimeError("a bug"), "queued", None),
    ],
)
async def test_what_becomes_of_errors(bench: Bench, line: Line, status: str, code: str | None) -> None:
    await bench.submit(a_job())
    job = await bench.run(FakeInference([*a_script()[:6], line]), await claim(bench.store))
    assert (job.status, job.error.code if job.error else None) == (status, code)


async def test_retryable_errors_use_up_the_attempts(bench: Bench) -> None:
    job = await bench.submit(a_job())
    inference = FakeInference([InferenceError("model_error", "out of memory", retryable=True)])
    for _ in range(MAX_DELIVERIES):
        await bench.run(inference, await claim(bench.store))
    failed = await bench.store.get(job.id)
    assert (failed.status, failed.message) == (JobState.FAILED, "out of memory")
    assert failed.attempts == MAX_DELIVERIES


async def test_an_outage_uses_up_no_attempt_but_ten_of_them_end_the_job(bench: Bench) -> None:
    job = await bench.submit(a_job())
    gone = InferenceError("unavailable", "Stub process 'restyle_0_0' is not healthy.", retryable=True)
    inference = FakeInference([*a_script()[:6], gone])
    for number in range(1, MAX_OUTAGES):
        waiting = await bench.run(inference, await claim(bench.store))
        assert (waiting.status, waiting.attempts, waiting.outages) == ("queued", 0, number)
        await bench.hurry(job)
    failed = await bench.run(inference, await claim(bench.store))
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "too_many_outages")
    assert "went away 10 times" in failed.message
    assert (await bench.store.stats()).dead_letters == 1


async def test_a_stream_without_a_result_is_tried_again(bench: Bench) -> None:
    await bench.submit(a_job())
    job = await bench.run(FakeInference(a_script()[:-1], a_script()), await claim(bench.store))
    assert job.status == JobState.QUEUED


@pytest.mark.parametrize(("photo", "code"), [(b"not a picture", "broken_image"), (None, "original_missing")])
async def test_a_photo_that_cannot_be_used_fails_the_job(
    bench: Bench, photo: bytes | None, code: str
) -> None:
    job = await bench.submit(a_job(), photo or b"")
    if photo is None:
        del bench.storage.objects[job.original_key]
    failed = await bench.run(FakeInference(a_script()), await claim(bench.store))
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobState.FAILED, code)


async def test_a_storage_outage_is_waited_out(bench: Bench) -> None:
    await bench.submit(a_job())
    bench.storage.outages = 3
    job = await bench.run(FakeInference(a_script()), await claim(bench.store))
    assert (job.status, job.attempts) == (JobState.COMPLETED, 1)


async def test_a_worker_runs_several_jobs_and_drains(bench: Bench) -> None:
    inference = FakeInference(a_script(steps=5, pause=0.05))
    worker = bench.worker(inference, jobs=2)
    jobs = [await bench.submit(a_job()) for _ in range(4)]
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    await asyncio.sleep(0.2)
    assert len(inference.requests) == 2
    stop.set()
    await asyncio.wait_for(working, 10)
    assert [(await bench.store.get(job.id)).status for job in jobs] == ["completed"] * 2 + ["queued"] * 2


async def test_a_worker_takes_nothing_while_the_model_is_away(bench: Bench) -> None:
    inference = FakeInference(a_script())
    inference.ready = False
    worker = bench.worker(inference, jobs=2)
    job = await bench.submit(a_job())
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    await asyncio.sleep(0.3)
    assert (await bench.store.get(job.id)).attempts == 0
    inference.ready = True
    told = await asyncio.wait_for(collect(bench.store, job.id), 5)
    assert isinstance(told[-1].event, events.Completed)
    stop.set()
    await asyncio.wait_for(working, 5)


async def test_a_style_that_is_not_known_here_is_left_to_other_workers(bench: Bench) -> None:
    job = await bench.submit(a_job(style="of-a-newer-version"))
    old, new = FakeInference(a_script()), FakeInference(a_script())
    older = bench.runner(old)
    for _ in range(3):
        if lease := await bench.store.claim("w", 0.05, older.kind):
            await older.run(lease, bench.halt)
    left = await bench.store.get(job.id)
    assert (left.status, left.attempts, old.requests) == (JobState.QUEUED, 0, [])
    styles = {**STYLES, "of-a-newer-version": STYLES["boho"]}
    newer = Runner(bench.store, bench.storage, new, styles, lease_seconds=LEASE, retry_delay=0.05)
    assert newer.kind != older.kind
    lease = await claim(bench.store, "v2", kind=newer.kind)
    await newer.run(lease, bench.halt)
    done = await bench.store.get(job.id)
    assert (done.status, done.attempts) == (JobState.COMPLETED, 1)


async def test_a_job_runs_with_the_words_that_it_brings(bench: Bench) -> None:
    words = StyleWords(prompt="lake house", negative_prompt="dark")
    for style, told in (("my-lake", None), ("boho", "boho"), ("of-a-file", "of-a-file")):
        inference = FakeInference(a_script())
        await bench.submit(msgspec.structs.replace(a_job(style=style), style_words=words))
        job = await bench.run(inference, await claim(bench.store))
        assert job.status == JobState.COMPLETED
        (asked,) = inference.requests
        assert (asked.prompt, asked.negative_prompt, asked.style) == (("lake house",), ("dark",), told)
        assert job.result is not None
        assert job.result.metadata["style"] == style


async def test_a_worker_deletes_the_photo_of_a_job_that_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CLEAN_SECONDS", 0.1)
    inference = FakeInference(a_script())
    worker = bench.worker(inference, jobs=1)
    job = await bench.submit(a_job(), b"not a picture")
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    async with asyncio.timeout(5):
        while bench.storage.objects:  # noqa: ASYNC110  (the storage tells of no news)
            await asyncio.sleep(0.05)
    assert (await bench.store.get(job.id)).status == JobState.FAILED
    stop.set()
    await asyncio.wait_for(working, 10)
