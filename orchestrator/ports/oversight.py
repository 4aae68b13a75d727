"""The contract of what administrators see of the whole service: who works on what, what waits, and what failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from orchestrator.domain.job import Job
from orchestrator.domain.levels import DayLevels

SHOWN_JOBS = 50
"""How many waiting jobs are shown, and running ones of each worker."""
COUNTED_JOBS = 2000
"""How many waiting jobs are looked at to count them by kind: a few milliseconds of Redis's time."""
LATELY_FAILED = 200
"""How many failed jobs are remembered as the last ones."""


class RunningJob(msgspec.Struct, frozen=True, kw_only=True):
    job: Job
    begun_at: float | None


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process, and what it runs."""

    name: str
    heard_at: float
    """When it last looked for a job or kept one, UNIX seconds."""
    alive: bool
    """Whether it was heard of lately, as workers that :class:`QueueStats` counts."""
    since: float | None
    """Since when it has been heard of; None: it was forgotten, or is of an older version."""
    jobs: list[RunningJob]
    """The oldest first, up to SHOWN_JOBS."""


class WaitingCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the waiting jobs are of one kind."""

    priority: str
    tier: str
    """The quality as asked for, or ``default``."""
    jobs: int


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What happens now, read in one moment."""

    workers: list[WorkerState]
    """Those that were heard of lately, and silent ones that still hold jobs; by name."""
    waiting: list[Job]
    """Those that were submitted first, up to SHOWN_JOBS."""
    counts: list[WaitingCount]
    """Of the first COUNTED_JOBS waiting jobs."""


class Oversight(ABC):
    """Raises :class:`Unavailable` when the store cannot be reached."""

    @abstractmethod
    async def floor(self) -> Floor:
        """Who works on what, and what waits. The cost does not grow with the number of jobs."""

    @abstractmethod
    async def levels(self, days: Sequence[str]) -> list[DayLevels]:
        """What ended on each of these days, in their order; a day without anything is all zero. They are kept for 400
        days. What workers of older versions end is not counted."""

    @abstractmethod
    async def lately_failed(self) -> list[Job]:
        """The jobs that failed last, the newest first: up to LATELY_FAILED, without those that were erased or replayed
        since, or whose records have expired."""
