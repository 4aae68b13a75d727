"""The contract of usage: what keys have used, and events about it for the operator's own systems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from orchestrator.domain.usage import Account, UsageRow

Receiver = Literal["budget", "usage"]
"""Who gets an event: whoever watches the budget, or the billing system."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An event that waits to be sent."""

    entry: str
    """Its place in the outbox."""
    id: str
    """The same whenever it is sent, so that a receiver recognises a repetition."""
    to: Receiver
    written: float
    """When it was put into the outbox, in UNIX seconds."""
    event: dict[str, Any]
    tries: int
    """How often it was taken, this time included."""


class Usage(ABC):
    """Raises :class:`Unavailable` when the store cannot be reached."""

    @abstractmethod
    async def rows(self, days: Sequence[str], owner: str | None) -> list[UsageRow]:
        """The usage of jobs that were submitted on these days and have ended; ``owner`` None = of all owners."""

    @abstractmethod
    async def account(self, owner: str, day: str) -> Account:
        """What an owner has in use on this day."""

    @abstractmethod
    async def spent(self, month: str) -> int:
        """Micros that the jobs of all owners have cost in a month, and those that unfinished ones have reserved."""


class Outbox(ABC):
    """Events that the job store has written in the same step in which they became true. Each is taken until it is
    ``sent``, by one of the processes at a time, so that it is sent at least once. Raises :class:`Unavailable`."""

    @abstractmethod
    async def take(self, taker: str, patience: float) -> list[Outgoing]:
        """Events to send now: new ones, and those that were taken before and not sent. These come again after
        ``patience`` seconds, twice that, and so on, at most an hour apart."""

    @abstractmethod
    async def sent(self, event: Outgoing) -> None:
        """It needs to be sent no more. It may be called again."""
