"""Deletes stored photos and pictures whose time is over."""

from __future__ import annotations

from orchestrator.domain.job import RESULTS, UPLOADS
from orchestrator.ports import JobNotFound, JobStore, Storage
from orchestrator.services.cleaning import clean
from orchestrator.services.direct_uploads import INCOMING


class Retention:
    """Deletes photos that were uploaded directly and not submitted within ``upload_ttl`` seconds, and the pictures of
    jobs whose records have expired, ``job_ttl`` seconds after their end."""

    def __init__(self, store: JobStore, storage: Storage, *, upload_ttl: int, job_ttl: int) -> None:
        self._store, self._storage = store, storage
        self._upload_ttl, self._job_ttl = upload_ttl, job_ttl

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
        for prefix in (UPLOADS, RESULTS):
            due = {_folder(key) async for key in self._storage.older(prefix, self._job_ttl)}
            for folder in due:
                if not await self._remembered(folder.split("/")[1]):
                    count += await self._storage.delete_prefix(folder)
        await self._store.unstore_forgotten()
        return count

    async def _remembered(self, job_id: str) -> bool:
        try:
            await self._store.get(job_id)
        except JobNotFound:
            return False
        return True


def _folder(key: str) -> str:
    """The folder of a key's job: ``uploads/{job}/`` for ``uploads/{job}/original.jpg``."""
    kind, owner, _ = key.split("/", 2)
    return f"{kind}/{owner}/"
