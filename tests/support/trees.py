"""Small helpers for tests of jobs that were submitted together."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.job import Job
from orchestrator.ports import JobStore
from orchestrator.services.submitting.costs import Estimate
from orchestrator.services.submitting.trees import Picture, children_of, parent_of
from tests.support.jobs import a_job


def a_tree(count: int = 3, **fields: Any) -> tuple[Job, list[Job]]:
    """A parent and its children: so many variations of one style."""
    job = msgspec.structs.replace(a_job(), **fields)
    pictures = [Picture(job.style, number + 1, job.preferences) for number in range(count)]
    parent = parent_of(job, pictures, Estimate())
    return parent, children_of(parent, pictures, Estimate())


async def submit_tree(store: JobStore, count: int = 3, **limits: Any) -> tuple[Job, list[Job]]:
    """The parent and its children, which wait."""
    fields = limits.pop("fields", {})
    parent, children = a_tree(count, **fields)
    await store.submit(parent, children=children, **limits)
    return parent, children
