"""What is deleted when its time is over, and what is not."""

from __future__ import annotations

import time

import pytest

from orchestrator.jobs.models import Job, Preferences
from orchestrator.jobs.retention import Retention
from orchestrator.ports import Unavailable
from tests.fakes import MemoryStorage
from tests.fakes_store import MemoryJobStore

UPLOAD_TTL, JOB_TTL = 100, 1000


class Bench:
    def __init__(self) -> None:
        self.store, self.storage = MemoryJobStore(), MemoryStorage()
        self.retention = Retention(self.store, self.storage, upload_ttl=UPLOAD_TTL, job_ttl=JOB_TTL)

    async def put(self, key: str, age: float) -> None:
        await self.storage.put(key, b"x", "image/jpeg")
        self.storage.written[key] = time.time() - age

    async def remember(self, job_id: str) -> None:
        job = Job(
            id=job_id,
            style="boho",
            preferences=Preferences(),
            original_key=f"uploads/{job_id}/original.jpg",
            created_at=0.0,
            updated_at=0.0,
        )
        await self.store.submit(job)

    async def left(self) -> list[str]:
        """What a sweep leaves."""
        before = len(self.storage.objects)
        assert await self.retention.sweep() == before - len(self.storage.objects)
        return sorted(self.storage.objects)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_pictures_of_forgotten_jobs_go_together(bench: Bench) -> None:
    for key in ("uploads/a/original.jpg", "results/a/1/transformed.jpg", "results/a/2/thumbnail.jpg"):
        await bench.put(key, JOB_TTL + 1)
    await bench.put("results/b/1/transformed.jpg", JOB_TTL - 1)
    assert await bench.left() == ["results/b/1/transformed.jpg"]


async def test_a_job_that_is_remembered_keeps_its_pictures_however_old(bench: Bench) -> None:
    await bench.remember("a")
    await bench.put("uploads/a/original.jpg", 100 * JOB_TTL)
    assert await bench.left() == ["uploads/a/original.jpg"]


async def test_photos_that_nobody_submitted_go(bench: Bench) -> None:
    await bench.put("incoming/a/photo", 2 * UPLOAD_TTL + 1)
    await bench.put("incoming/b/photo", UPLOAD_TTL + 1)
    assert await bench.left() == ["incoming/b/photo"]


async def test_what_it_does_not_know_stays(bench: Bench) -> None:
    await bench.put("exports/a/b.jpg", 100 * JOB_TTL)
    assert await bench.left() == ["exports/a/b.jpg"]


async def test_nothing_is_deleted_while_nobody_knows_which_jobs_there_are(bench: Bench) -> None:
    await bench.put("uploads/a/original.jpg", JOB_TTL + 1)
    bench.store.down = True
    with pytest.raises(Unavailable):
        await bench.retention.sweep()
    assert list(bench.storage.objects) == ["uploads/a/original.jpg"]
