"""The contract of OnceStore, and what Once makes of it, over every Redis that it must run on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.redis import RedisJobStore, RedisOnceStore
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.job import Job, JobState
from orchestrator.domain.keys import OPEN
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Answered, Begun, InFlight, Reservation, Unavailable
from orchestrator.services.jobs import JobService
from orchestrator.services.submitting.direct_uploads import DirectUploads, UploadUsed
from orchestrator.services.submitting.once import Once
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock
from tests.support.running_stack import until

LOCK = 0.3
"""Seconds of a lock. Those of Redis pass when the test says so; a third of it really passes between two extensions."""


@pytest.fixture
async def once(server: RedisServer, clock: Clock) -> AsyncIterator[RedisOnceStore]:
    opened = RedisOnceStore(server.url, prefix=next(prefixes), clock=clock)
    yield opened
    await opened.aclose()


async def begin(once: RedisOnceStore, token: str) -> Answered | Begun:
    return await once.begin("a name", "f", token, lock_seconds=LOCK, seconds=60)


async def test_a_try_extends_its_own_lock_alone(once: RedisOnceStore, clock: Clock) -> None:
    assert isinstance(await begin(once, "first"), Begun)
    clock.now += 0.8 * LOCK
    assert not await once.extend("a name", "second", lock_seconds=LOCK)
    assert await once.extend("a name", "first", lock_seconds=LOCK)
    clock.now += 0.8 * LOCK
    with pytest.raises(InFlight):
        await begin(once, "second")
    clock.now += 0.8 * LOCK
    await begin(once, "second")
    assert not await once.extend("a name", "first", lock_seconds=LOCK)
    await once.answer("a name", "second", "done")
    assert not await once.extend("a name", "second", lock_seconds=LOCK)
    assert not await once.extend("another name", "second", lock_seconds=LOCK)


class _Counted(RedisOnceStore):
    """Counts the extensions, and stands in for time: each is made when most of the lock has passed."""

    def __init__(self, url: str, prefix: str, clock: Clock) -> None:
        super().__init__(url, prefix=prefix, clock=clock)
        self._time, self.extended = clock, 0

    async def extend(self, name: str, token: str, *, lock_seconds: float) -> bool:
        self._time.now += 0.8 * lock_seconds
        done = await super().extend(name, token, lock_seconds=lock_seconds)
        self.extended += 1
        return done


class _Stalling(LocalStorage):
    """Its first photo is not written until ``go_on``, whoever stops waiting for it: S3 is like that."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, UrlSigner(b"", ""))
        self.stalled, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        if not self.stalled.is_set():
            self.stalled.set()
            try:
                await self.go_on.wait()
            finally:
                await self.go_on.wait()
        await super().put(key, data, content_type, overwrite=overwrite)


def photos_in(folder: Path) -> list[str]:
    """The jobs whose photos are stored."""
    return [path.parent.name for path in folder.rglob("original.jpg")]


async def test_a_try_that_still_cleans_up_undoes_no_later_ones_job(
    server: RedisServer, store: RedisJobStore, clock: Clock, tmp_path: Path
) -> None:
    names = _Counted(server.url, next(prefixes), clock)
    storage, once = _Stalling(tmp_path), Once(names, lock_seconds=LOCK)
    jobs = JobService(store, storage)

    async def submit(begun: Begun) -> str:
        return (await jobs.submit(b"photo", "modern", Preferences(), OPEN, job_id=begun.id)).job.id

    first = asyncio.create_task(once.do("", "key", "f", submit))
    await storage.stalled.wait()
    first.cancel()  # as when the time for an answer is over
    await until(lambda: names.extended >= 3, "the lock was extended past its time")
    with pytest.raises(InFlight):
        await once.do("", "key", "f", submit)
    storage.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    job_id, replayed = await once.do("", "key", "f", submit)
    assert not replayed
    assert (await store.get(job_id)).status is JobState.QUEUED
    assert photos_in(tmp_path) == [job_id]
    counted = names.extended
    await asyncio.sleep(LOCK)
    assert names.extended == counted, "nothing is held after the end"
    await names.aclose()


class _LosesAnswers(RedisJobStore):
    """A Redis whose answers to submissions are lost, after it has done them, and which does not answer ``cancel``, as
    long as that is wanted."""

    deaf, cancels = True, False

    async def submit(self, job: Job, **options: Any) -> int | None:
        position = await super().submit(job, **options)
        if self.deaf:
            raise Unavailable("the answer was lost")
        return position

    async def cancel(self, job_id: str, undone: Reservation | None = None) -> Job:
        if not self.cancels:
            raise Unavailable("the answer was lost")
        return await super().cancel(job_id, undone)


@pytest.mark.parametrize("undone", [False, True])
async def test_a_submission_whose_answer_was_lost_makes_one_job(
    server: RedisServer, tmp_path: Path, undone: bool
) -> None:
    prefix = next(prefixes)
    names, store = RedisOnceStore(server.url, prefix=prefix), _LosesAnswers(server.url, prefix=prefix)
    store.cancels = undone
    once, storage = Once(names, lock_seconds=60), LocalStorage(tmp_path, UrlSigner(b"", ""))
    jobs, uploads = JobService(store, storage), DirectUploads(store, storage, 600)
    key = f"incoming/{uuid.uuid4().hex}/photo"
    await storage.put(key, b"photo", "image/jpeg")
    ids = []

    async def submit(begun: Begun) -> str:
        ids.append(begun.id)
        made, job_id = await jobs.made_before(begun.id, OPEN) if begun.again else (None, begun.id)
        if made is None:
            async with uploads.reserved(key, "", job_id) as reservation:
                photo = await uploads.read(key, 10)
                made = await jobs.submit(photo, "modern", Preferences(), OPEN, reservation, job_id=job_id)
        return made.job.id

    for _ in range(2 if undone else 1):
        with pytest.raises(Unavailable):
            await once.do("", "key", "f", submit)
    store.deaf = False
    job_id, replayed = await once.do("", "key", "f", submit)
    assert not replayed
    assert await once.do("", "key", "f", submit) == (job_id, True)
    assert (await store.get(job_id)).status is JobState.QUEUED
    assert (await store.stats()).queued == 1, "one job, whatever the tries before it did"
    assert (job_id == ids[0]) is not undone
    with pytest.raises(UploadUsed):
        await submit(Begun(uuid.uuid4().hex, again=False))
    await names.aclose()
    await store.aclose()
