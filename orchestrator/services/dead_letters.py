"""Jobs that were given up: what the administrator does with them."""

from __future__ import annotations

import msgspec

from orchestrator.domain.job import Job
from orchestrator.ports import (
    DeadLetter,
    DeadLetterNotFound,
    JobNotFound,
    JobStore,
    NotReplayed,
    ObjectNotFound,
    Storage,
)

PHOTO_GONE = (
    "its photo was deleted meanwhile (REROOM_DEAD_LETTER_TTL is how long it is kept): submit it again"
)


class GivenUp(msgspec.Struct, frozen=True):
    """A dead letter, and its job while that is remembered."""

    letter: DeadLetter
    job: Job | None


class DeadLetters:
    """``storage``: None where jobs are not replayed."""

    def __init__(self, store: JobStore, storage: Storage | None = None) -> None:
        self._store, self._storage = store, storage

    async def all(self, limit: int | None = None) -> list[DeadLetter]:
        """The newest first; ``limit``: at most so many. Raises Unavailable."""
        return await self._store.dead_letters(limit)

    async def show(self, job_id: str) -> GivenUp:
        """Raises DeadLetterNotFound, Unavailable."""
        letter = await self._find(job_id)
        try:
            return GivenUp(letter, await self._store.get(job_id))
        except JobNotFound:
            return GivenUp(letter, None)

    async def replay(self, job_id: str) -> None:
        """Make the job wait again, as if it were new. Raises DeadLetterNotFound, Unavailable, and NotReplayed with the
        reason."""
        assert self._storage is not None
        letter = await self._find(job_id)
        try:
            job = await self._store.get(job_id)
        except JobNotFound:
            raise NotReplayed("its record has expired: submit the photo again") from None
        for key in (job.original_key, job.mask_key, job.reference_key):
            try:
                if key is not None:
                    await self._storage.get(key)
            except ObjectNotFound:
                raise NotReplayed(PHOTO_GONE) from None
        await self._store.replay(letter)

    async def drop(self, job_id: str) -> None:
        """Forget the letter: the job stays failed, and its photo is deleted soon. Raises DeadLetterNotFound,
        Unavailable."""
        await self._store.drop(await self._find(job_id))

    async def _find(self, job_id: str) -> DeadLetter:
        for letter in await self._store.dead_letters():
            if letter.job_id == job_id:
                return letter
        raise DeadLetterNotFound(job_id)
