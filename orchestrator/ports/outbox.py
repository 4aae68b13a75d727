"""The contract of the outbox: what waits to be sent to receivers outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec

from orchestrator.domain.webhooks import DisableReason, Endpoint

Receiver = Literal["budget", "usage", "releases"]
"""The operator's own receivers: whoever watches the budget, the billing system, and whoever answers for releases. The
others are users' endpoints."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is to be sent now, by the process that took it."""

    receiver: str
    """A :data:`Receiver`, or the id of an endpoint."""
    endpoint: Endpoint | None
    """The endpoint as of now; None for the operator's receivers."""
    id: str
    """The same whenever it is sent, so that a receiver recognises a repetition."""
    kind: str
    """The kind of the event; for the operator's receivers their name."""
    written: float
    """When it became true, in UNIX seconds."""
    fields: dict[str, str]
    """What its body is made from."""
    tries: int
    """How often it was taken, this time included."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a try went."""

    delivered: bool
    answer: str
    """For the receiver's owner: a status, or why there was none."""
    retry_after: float | None = None
    """Seconds for which the receiver asked not to be called."""
    disable: DisableReason | None = None
    """Why its receiver is not to be called again."""


Settled = Literal["delivered", "retried", "given_up", "disabled", "over"]
"""What became of an event; "over": another process has settled it."""


class Outbox(ABC):
    """Events that were written in the same step in which they became true. Each is taken until it is settled, so that
    it is sent at least once. Every receiver has a lane of its own: one that is slow, or away, holds up no other.

    Raises :class:`Unavailable`.
    """

    @abstractmethod
    async def take(self, count: int, lease: float) -> list[Outgoing]:
        """At most ``count`` events to send now. For ``lease`` seconds no other process gets them."""

    @abstractmethod
    async def settle(
        self, event: Outgoing, outcome: Outcome, *, delay: float, give_up: float | None
    ) -> Settled:
        """What comes of it: an event that was not delivered is tried again after ``delay`` seconds, and for the last
        time ``give_up`` seconds after it was written (None: never for the last time). An endpoint is disabled if no
        event at all has arrived while that one was tried. It may be called again."""
