"""Deletes stored photos and pictures whose time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from orchestrator.domain.job import RESULTS, UPLOADS, Job
from orchestrator.domain.keeping import Times, kept_since
from orchestrator.ports import JobNotFound, JobStore, Storage
from orchestrator.services.cleaning import clean
from orchestrator.services.submitting.direct_uploads import INCOMING


class Retention:
    """Deletes photos that were uploaded directly and not submitted within ``upload_ttl`` seconds; and photos and
    pictures, their ``times`` after the end of their job, or after they were stored if there is no job (its record has
    expired, or a process died before there was one). ``clock`` gives UNIX seconds."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        *,
        upload_ttl: int,
        times: Times,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._storage, self._clock = store, storage, clock
        self._upload_ttl = upload_ttl
        self._kept = {UPLOADS: times.photos, RESULTS: times.pictures}

    @property
    def shortest(self) -> float:
        """The shortest of those times: a sweep should come about as often."""
        return min(self._kept.values())

    async def clean(self) -> int:
        """Delete the objects of jobs that ended without a picture or were erased; returns how many objects. Raises
        Unavailable.

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
        """Whether there is no such job, or its time has counted for more than ``kept`` seconds."""
        try:
            job = await self._store.get(job_id)
        except JobNotFound:
            return True
        # Those of jobs that failed or were cancelled are deleted by :meth:`clean`.
        if not self._is_over(job, [], kept):
            return False
        children = await self._store.get_all([child.id for child in job.children]) if job.children else []
        return self._is_over(job, children, kept)

    def _is_over(self, job: Job, children: Sequence[Job], kept: float) -> bool:
        since = kept_since(job, children)
        return since is not None and since < self._clock() - kept


def _folder(key: str) -> str:
    """The folder of a key's job: ``uploads/{job}/`` for ``uploads/{job}/original.jpg``."""
    kind, owner, _ = key.split("/", 2)
    return f"{kind}/{owner}/"
