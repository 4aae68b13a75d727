"""Small helpers for tests of jobs."""

from __future__ import annotations

import time
import uuid

from orchestrator.domain.events import EventRecord
from orchestrator.domain.job import Job, JobResult
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import JobStore, Lease


def a_job(
    job_id: str = "",
    style: str = "modern",
    preferences: Preferences | None = None,
    photo_digest: str | None = None,
    owner: str = "",
) -> Job:
    job_id = job_id or uuid.uuid4().hex
    now = time.time()
    return Job(
        id=job_id,
        owner=owner,
        style=style,
        preferences=preferences or Preferences(color_palette=["sand", "sage"], seed=0),
        original_key=f"uploads/{job_id}/original.jpg",
        photo_digest=photo_digest,
        created_at=now,
        updated_at=now,
    )


def result(name: str = "x") -> JobResult:
    return JobResult(transformed_key=f"{name}.jpg", thumbnail_key=f"{name}-small.jpg", metadata={"seed": 0})


async def claim(store: JobStore, worker: str = "w", job: Job | None = None, kind: str = "") -> Lease:
    """The next lease, which must be there; ``job`` is submitted before."""
    if job:
        await store.submit(job)
    lease = await store.claim(worker, 0.5, kind)
    assert lease is not None
    return lease


async def collect(store: JobStore, job_id: str, after: str = "0-0") -> list[EventRecord]:
    return [record async for record in store.events(job_id, after)]


async def position(store: JobStore, job_id: str) -> int | None:
    """The number of jobs before it; None when it does not wait."""
    place = await store.place(job_id)
    return None if place is None else place.position


async def cost_before(store: JobStore, job_id: str) -> float | None:
    place = await store.place(job_id)
    return None if place is None else place.cost_before


async def take_over(store: JobStore, worker: str, kind: str = "") -> Lease:
    """The lease of the first job whose worker has been silent for long enough, to one that goes on asking."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if lease := await store.claim(worker, 0.05, kind):
            return lease
    raise AssertionError("a silent worker's job was not taken over")
