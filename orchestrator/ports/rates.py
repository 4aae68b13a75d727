"""The contract of rate limits: how often something may happen within any stretch of time of a given length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``quota`` times in any ``seconds``."""

    name: str
    """What is limited, for people and headers, such as "key-minute"."""
    of: str
    """Whose requests are counted together."""
    quota: int
    seconds: int


class RateState(msgspec.Struct, frozen=True, kw_only=True):
    """A limit after a request."""

    limit: RateLimit
    remaining: int
    reset: int
    """Whole seconds until more is left: 0 when nothing is counted."""
    refused: bool = False
    """Whether this limit refuses the request."""


class Rates(ABC):
    """Counts requests, the same for all processes. Raises :class:`Unavailable` when the store cannot be reached."""

    @abstractmethod
    async def take(self, limits: Sequence[RateLimit]) -> list[RateState]:
        """Count one request for all of the limits, or for none if one of them refuses it. Several callers at once never
        get more than a limit allows in any stretch of its length. A full limit may stay so for up to a sixtieth of its
        length longer than it must, since the past is remembered in so many parts."""
