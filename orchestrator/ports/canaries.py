"""The contract of what is remembered of trials of releases (:class:`orchestrator.domain.releases.Canary`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec

from orchestrator.domain.comparing import Measured
from orchestrator.domain.releases import Canary


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The same photo through both releases, for the report."""

    job_id: str
    at: float
    """UNIX seconds."""
    style: str
    live: Measured
    canary: Measured
    pictures: dict[str, str] = {}
    """Storage keys of small JPEGs: ``photo``, ``live``, ``canary``. They go with the job's other pictures."""

    @property
    def gain(self) -> float:
        """Of the score; a picture that failed loses all of it."""
        if self.canary.failure is not None:
            return -1.0
        return self.canary.values.get("score", 0.0) - self.live.values.get("score", 0.0)


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was measured."""

    id: str
    """It counts once, however often it is noted."""
    sums: dict[str, float]
    unit: str = ""
    """Whose job it was, for the number of those; "" = of nobody who counts."""
    outage: str = ""
    """Names the outage that it is a part of, which counts once; "" = of none."""
    pair: Pair | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial ended."""

    decision: Literal["promote", "roll_back", "undecided"]
    reason: str
    at: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a trial."""

    canary: Canary
    live: int
    """The version that it was compared with."""
    sums: dict[str, float] = {}
    units: int = 0
    """About how many keys, or jobs without a key, had a picture of it."""
    newest: list[Pair] = []
    worst: list[Pair] = []
    """Those whose score fell most, the worst first."""
    judged: Judged | None = None


class CanaryStore(ABC):
    """Trials, for some weeks after their last picture. A trial needs the same memory, however long it lasts. Raises
    :class:`Unavailable`."""

    @abstractmethod
    async def note(self, canary: Canary, live: int, noted: Noted) -> None:
        """Add to the sums of the trial, which begins with its first note."""

    @abstractmethod
    async def trial(self, canary: Canary, live: int) -> Trial | None:
        """None for one of which nothing was noted. Beside another live version it is another trial."""

    @abstractmethod
    async def last(self) -> Trial | None:
        """The trial that began last."""

    @abstractmethod
    async def judged(self, canary: Canary, live: int, judged: Judged) -> bool:
        """Remember how the trial ended, and tell the operator, in one step: each decision once. An end takes the place
        of ``undecided``. Returns whether it was new."""

    @abstractmethod
    async def take_turn(self, canary_id: str, worker: str, seconds: float) -> bool:
        """Whether this worker may run a pair now; for ``seconds`` no other one may. It may ask again."""

    @abstractmethod
    async def end_turn(self, canary_id: str, worker: str) -> None:
        """Let others have their turn."""
