"""Deletes the stored objects of jobs that ended without a picture or are erased."""

from __future__ import annotations

from orchestrator.domain.job import RESULTS, UPLOADS
from orchestrator.ports import JobStore, Storage


async def clean(store: JobStore, storage: Storage, job_ids: list[str]) -> int:
    """Delete the objects of jobs that ended without a picture or were erased; returns how many objects. Raises
    Unavailable."""
    count = sum([await delete_pictures(storage, job_id) for job_id in job_ids])
    if job_ids:
        await store.cleaned(job_ids)
    return count


async def delete_pictures(storage: Storage, job_id: str) -> int:
    """Delete a job's photo and pictures; returns how many objects. Raises Unavailable."""
    return sum([await storage.delete_prefix(f"{kind}{job_id}/") for kind in (UPLOADS, RESULTS)])
