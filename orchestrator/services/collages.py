"""Pictures made of a job's pictures when somebody asks for them: made once, stored, and deleted with the rest."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.job import RESULTS, TERMINAL, Job, StoredFile
from orchestrator.photos import collages, pictures
from orchestrator.photos.marking import Marker
from orchestrator.ports import JobNotFound, JobStore, ObjectNotFound, Storage

Name = Literal["before_after", "contact_sheet"]

AT_ONCE = 2
"""How many a process makes at once: each decodes all of its pictures."""


class NoCollage(Exception):
    """The job has no such picture; the sentence says why."""


class Collages:
    """``title`` gives a style's title by its name, for labels. ``marker`` marks the files as made by AI."""

    def __init__(
        self, store: JobStore, storage: Storage, title: Callable[[str], str], marker: Marker
    ) -> None:
        self._store, self._storage, self._title, self._marker = store, storage, title, marker
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def key(self, job: Job, name: Name) -> str:
        """The storage key of a picture of the job. Raises NoCollage, JobNotFound, Unavailable."""
        results = await self._results(job, name)
        folder = f"{RESULTS}{job.id}/{name}-{_digest(results)}/"
        key, before = f"{folder}{name}.jpg", job.files.get(name)
        if before and before.key == key:
            return key
        async with self._turns:
            made = await self._made(job, name, results)
        await self._storage.put(key, made, "image/jpeg")
        if not await self._store.add_file(job, name, StoredFile(key=key, bytes=len(made))):
            # It was erased, or one of its children was, which this picture shows.
            await self._storage.delete_prefix(folder)
            raise JobNotFound(job.id)
        if before:
            await self._storage.delete_prefix(f"{before.key.rpartition('/')[0]}/")
        return key

    async def _results(self, job: Job, name: Name) -> list[tuple[str, str]]:
        """The label and the storage key of each result that the picture shows."""
        if name == "before_after":
            if job.children:
                raise NoCollage("ask for the before_after of one of its children, or for its contact_sheet")
            if job.result is None:
                raise NoCollage("the job has no picture, unless it is completed")
            return [("", job.result.transformed_key)]
        if not job.children:
            raise NoCollage("a contact_sheet is of a job with children: submit styles or variations")
        if job.status not in TERMINAL:
            raise NoCollage("the job has no contact_sheet until all of its children have ended")
        children = await self._store.get_all([child.id for child in job.children])
        results = [
            (self._label(job, child), child.result.transformed_key) for child in children if child.result
        ]
        if not results:
            raise NoCollage("none of the job's children was completed")
        return results

    def _label(self, parent: Job, child: Job) -> str:
        title = self._title(child.style)
        several = any(each.variation > 1 for each in parent.children)
        return f"{title} {child.variation}" if several else title

    async def _made(self, job: Job, name: Name, results: list[tuple[str, str]]) -> bytes:
        try:
            found = [await self._storage.get(key) for key in (job.original_key, *(key for _, key in results))]
        except ObjectNotFound as error:
            raise NoCollage("the photo, or one of the pictures, was deleted") from error
        labels = [label for label, _ in results]
        made = await asyncio.to_thread(_collage, name, found, labels)
        return self._marker.mark(made, self._marker.facts(job.id, time.time()))


def _collage(name: Name, files: list[bytes], labels: list[str]) -> bytes:
    photo, *results = (_decoded(file) for file in files)
    if name == "before_after":
        return pictures.jpeg(collages.before_after(photo, results[0]))
    return pictures.jpeg(collages.contact_sheet(photo, list(zip(labels, results, strict=True))))


def _decoded(file: bytes) -> NDArray[np.uint8]:
    return pictures.decode(file, collages.SIDE)


def _digest(results: list[tuple[str, str]]) -> str:
    return hashlib.sha256("\n".join(key for _, key in results).encode()).hexdigest()[:16]
