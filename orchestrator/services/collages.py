"""Pictures made of a job's pictures when somebody asks for them: made once, by a worker, and deleted with the rest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Literal

from orchestrator.domain.job import RESULTS, TERMINAL, Job, JobResult
from orchestrator.ports import Errand, Errands, JobNotFound, JobStore

Name = Literal["before_after", "contact_sheet"]

PATIENCE = 15.0
"""Seconds that a request waits for a worker to make one; it takes one or two."""

AT_ONCE = 8
"""How many requests of a process wait for one at once; more wait for these."""


class NoCollage(Exception):
    """The job has no such picture; the sentence says why."""


class Collages:
    """What the API knows of them. ``title`` gives a style's title by its name, for labels."""

    def __init__(self, store: JobStore, errands: Errands, title: Callable[[str], str]) -> None:
        self._store, self._errands, self._title = store, errands, title
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def key(self, job: Job, name: Name) -> str:
        """The storage key of a picture of the job. Raises NoCollage, JobNotFound, Unavailable."""
        shown = await shown_by(self._store, job, name)
        key, before = key_of(job, name, [result for _, result in shown]), job.files.get(name)
        if before and before.key == key:
            return key
        labels = [self._label(job, of) for of, _ in shown]
        async with self._turns:
            report = await self._errands.send(Errand(job_id=job.id, what=name, labels=labels), PATIENCE)
        match report.outcome:
            case "done":
                return key
            case "changed":
                # It was erased, or one of its children was, which this picture shows.
                raise JobNotFound(job.id)
            case "refused":
                raise NoCollage(report.detail)

    def _label(self, parent: Job, of: Job) -> str:
        """What stands below a result: on a sheet its style, with a number where there are several of it."""
        if not parent.children:
            return ""
        title = self._title(of.style)
        several = any(each.variation > 1 for each in parent.children)
        return f"{title} {of.variation}" if several else title


async def shown_by(store: JobStore, job: Job, name: Name) -> list[tuple[Job, JobResult]]:
    """The jobs whose results the picture shows, in their order. Raises NoCollage, Unavailable."""
    if name == "before_after":
        if job.children:
            raise NoCollage("ask for the before_after of one of its children, or for its contact_sheet")
        if job.result is None:
            raise NoCollage("the job has no picture, unless it is completed")
        return [(job, job.result)]
    if not job.children:
        raise NoCollage("a contact_sheet is of a job with children: submit styles or variations")
    if job.status not in TERMINAL:
        raise NoCollage("the job has no contact_sheet until all of its children have ended")
    children = await store.get_all([child.id for child in job.children])
    results = [(child, child.result) for child in children if child.result]
    if not results:
        raise NoCollage("none of the job's children was completed")
    return results


def key_of(job: Job, name: Name, results: list[JobResult]) -> str:
    """Where the picture of these results is stored."""
    digest = hashlib.sha256("\n".join(each.transformed_key for each in results).encode()).hexdigest()[:16]
    return f"{RESULTS}{job.id}/{name}-{digest}/{name}.jpg"
