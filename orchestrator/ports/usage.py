"""The contract of usage: what keys have used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from orchestrator.domain.usage import Account, UsageRow


class Usage(ABC):
    """Raises :class:`Unavailable` when the store cannot be reached."""

    @abstractmethod
    async def rows(self, days: Sequence[str], owner: str | None) -> list[UsageRow]:
        """The usage of jobs that were submitted on these days and have ended; ``owner`` None = of all owners."""

    @abstractmethod
    async def owners_on(self, days: Sequence[str]) -> list[int]:
        """How many owners have rows on each of these days: what :meth:`rows` of all owners costs."""

    @abstractmethod
    async def account(self, owner: str, day: str) -> Account:
        """What an owner has in use on this day."""

    @abstractmethod
    async def spent(self, month: str) -> int:
        """Micros that the jobs of all owners have cost in a month, and those that unfinished ones have reserved."""
