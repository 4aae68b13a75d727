"""Deletes stored photos and pictures whose time is over."""

from __future__ import annotations

import time

from orchestrator.domain.job import RESULTS, TERMINAL, UPLOADS, JobState
from orchestrator.ports import JobNotFound, JobStore, Storage
from orchestrator.services.cleaning import clean
from orchestrator.services.submitting.direct_uploads import INCOMING


class Retention:
    """Deletes photos that were uploaded directly and not submitted within ``upload_ttl`` seconds; and photos and
    pictures, ``photo_ttl`` and ``result_ttl`` seconds after the end of their job, or after they were stored if there is
    no job (its record has expired, ``job_ttl`` seconds after its end, or a process died before there was one). None: as
    long as a record lasts."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        *,
        upload_ttl: int,
        job_ttl: int,
        photo_ttl: int | None = None,
        result_ttl: int | None = None,
    ) -> None:
        self._store, self._storage = store, storage
        self._upload_ttl = upload_ttl
        self._kept = {
            UPLOADS: min(job_ttl, job_ttl if photo_ttl is None else photo_ttl),
            RESULTS: min(job_ttl, job_ttl if result_ttl is None else result_ttl),
        }

    @property
    def shortest(self) -> float:
        """The shortest of those times: a sweep should come about as often."""
        return min(self._kept.values())

    async def clean(self) -> int:
        """Delete the objects of jobs that ended without a picture; returns how many objects. Raises Unavailable.

        The store lists such jobs until their objects are deleted, so none is missed when a process dies meanwhile.
        """
        count = 0
        while job_ids := await self._store.to_clean():
            count += await clean(self._store, self._storage, job_ids)
        return count

    async def sweep(self) -> int:
        """Delete objects whose time is over; returns how many. Several processes may do so at once. Raises
        Unavailable."""
        # A photo may be put in the last second of its link.
        count = 0
        async for key in self._storage.older(INCOMING, 2 * self._upload_ttl):
            count += await self._storage.delete_prefix(_folder(key))
        for prefix, kept in self._kept.items():
            old = {_folder(key) async for key in self._storage.older(prefix, kept)}
            for folder in old:
                if await self._is_due(folder.split("/")[1], kept):
                    count += await self._storage.delete_prefix(folder)
        await self._store.unstore_forgotten()
        return count

    async def _is_due(self, job_id: str, kept: float) -> bool:
        """Whether there is no such job, or it was completed more than ``kept`` seconds ago and is no favourite; or a
        parent has ended then, of whose children one may have been completed, and none is a favourite."""
        try:
            job = await self._store.get(job_id)
        except JobNotFound:
            return True
        # Those of jobs that failed or were cancelled are deleted by :meth:`clean`.
        ended = job.status in (TERMINAL if job.children else {JobState.COMPLETED})
        if not ended or job.favourite or job.updated_at >= time.time() - kept:
            return False
        children = await self._store.get_all([child.id for child in job.children]) if job.children else []
        return not any(child.favourite for child in children)


def _folder(key: str) -> str:
    """The folder of a key's job: ``uploads/{job}/`` for ``uploads/{job}/original.jpg``."""
    kind, owner, _ = key.split("/", 2)
    return f"{kind}/{owner}/"
