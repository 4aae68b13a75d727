"""Makes pictures of a job's pictures for the API, which lacks the certificate that signs them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.job import Job, JobResult, StoredFile
from orchestrator.domain.marks import MAX_MANIFESTS
from orchestrator.photos import collages, pictures
from orchestrator.photos.credentials import Source
from orchestrator.photos.marking import Marker
from orchestrator.ports import (
    Errand,
    Errands,
    JobNotFound,
    JobStore,
    ObjectNotFound,
    ObjectTooLarge,
    Report,
    Storage,
    Unavailable,
)
from orchestrator.services.collages import Name, NoCollage, key_of, shown_by

_CHANGED, _DONE = Report(outcome="changed"), Report(outcome="done")
_log = logging.getLogger("reroom.collages")


class CollageMaker:
    """Does the errands of the API, one at a time. ``marker`` marks the files as made by AI."""

    def __init__(self, store: JobStore, storage: Storage, errands: Errands, marker: Marker) -> None:
        self._store, self._storage, self._errands, self._marker = store, storage, errands, marker

    async def run_one(self, seconds: float) -> bool:
        """Do the next errand; whether there was one within ``seconds``. Raises Unavailable."""
        taken = await self._errands.take(seconds)
        if taken is None:
            return False
        name, errand = taken
        try:
            report = await self._report(errand)
        except (Unavailable, asyncio.CancelledError):
            raise
        except Exception:
            _log.exception("job %s: its %s was not made", errand.job_id, errand.what)
            report = Report(outcome="refused", detail=f"the {errand.what} cannot be made; report this")
        await self._errands.report(name, report)
        return True

    async def _report(self, errand: Errand) -> Report:
        if errand.what not in get_args(Name):
            return Report(
                outcome="refused", detail=f"the workers are older than the API and make no {errand.what}"
            )
        what: Name = msgspec.convert(errand.what, Name)
        try:
            job = await self._store.get(errand.job_id)
            shown = await shown_by(self._store, job, what)
            return await self._made(job, what, shown, errand.labels)
        except JobNotFound:
            return _CHANGED
        except NoCollage as error:
            return Report(outcome="refused", detail=str(error))

    async def _made(
        self, job: Job, name: Name, shown: list[tuple[Job, JobResult]], labels: list[str]
    ) -> Report:
        if len(labels) != len(shown):
            return _CHANGED
        key, before = key_of(job, name, [result for _, result in shown]), job.files.get(name)
        if before and before.key == key:
            return _DONE
        try:
            photo = await self._storage.get(job.original_key)
            results = [await self._storage.get(result.transformed_key) for _, result in shown]
        except ObjectNotFound:
            raise NoCollage("the photo, or one of the pictures, was deleted") from None
        manifests = await self._manifests(job)
        file = await asyncio.to_thread(self._drawn, job, name, photo, manifests, shown, results, labels)
        folder = f"{key.rpartition('/')[0]}/"
        await self._storage.put(key, file, "image/jpeg")
        if not await self._store.add_file(job, name, StoredFile(key=key, bytes=len(file))):
            await self._storage.delete_prefix(folder)
            return _CHANGED
        if before:
            await self._storage.delete_prefix(f"{before.key.rpartition('/')[0]}/")
        return _DONE

    async def _manifests(self, job: Job) -> bytes:
        if job.manifests_key is None or not self._marker.signs:
            return b""
        try:
            return await self._storage.get(job.manifests_key, limit=MAX_MANIFESTS)
        except (ObjectNotFound, ObjectTooLarge):
            return b""

    def _drawn(
        self,
        job: Job,
        name: Name,
        photo: bytes,
        manifests: bytes,
        shown: list[tuple[Job, JobResult]],
        results: list[bytes],
        labels: list[str],
    ) -> bytes:
        """The file, signed with everything on it as a part. It blocks while it computes."""
        original, drawn = _decoded(photo), [_decoded(file) for file in results]
        badge = job.preferences.label
        if name == "before_after":
            picture = collages.before_after(original, drawn[0], badge=badge)
        else:
            picture = collages.contact_sheet(original, list(zip(labels, drawn, strict=True)), badge=badge)
        facts = self._marker.facts(
            job.id,
            time.time(),
            release=str(shown[0][1].metadata.get("release") or ""),
            photo_type=job.photo_type,
            of_several=True,
        )
        titles = [f"{label or 'result'}.jpg" for label in labels]
        parts = [Source(title, file) for title, file in zip(titles, results, strict=True)]
        sources = [Source("photo.jpg", photo, manifests), *parts]
        return self._marker.mark(pictures.jpeg(picture), facts, sources, stamped=True)


def _decoded(file: bytes) -> NDArray[np.uint8]:
    return pictures.decode(file, collages.SIDE)
