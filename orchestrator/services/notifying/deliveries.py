"""Sends what waits in the outbox: the operator's events and those of users' endpoints.

An event is sent until its receiver has answered with a status of 2xx, so it may come twice; its id stays the same. One
that hangs uses its own lane's places alone (lua/shared/post.lua), and holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from orchestrator.ports import Outbox, Outcome, Outgoing, Unavailable

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds within which the second try of an event comes. Each further one may take twice as long, up to LONGEST; when
it comes within that time is left to chance, so that not all events come at once to a receiver that is back."""
LONGEST = 3600.0
GIVE_UP = 86400.0
"""Seconds after which an event is sent to an endpoint for the last time. The operator's own events are never given
up."""
ANSWER_SECONDS = 15.0
"""Seconds that a receiver may take to answer."""
LEASE = 60.0
"""Seconds after which the process that sends an event counts as dead."""
PAUSE = 1.0
"""Seconds between two looks into the outbox."""
AT_ONCE = 256
"""Events that one process sends at once."""


class Sender(Protocol):
    async def send(self, event: Outgoing) -> Outcome:
        """Try once. Raises Unavailable when a part of our own is away."""


class Deliveries:
    """``operator`` and ``endpoints`` send what is for the operator's receivers and for users' endpoints."""

    def __init__(
        self,
        outbox: Outbox,
        operator: Sender,
        endpoints: Sender,
        *,
        patience: float = PATIENCE,
        pause: float = PAUSE,
        lease: float = LEASE,
        give_up: float = GIVE_UP,
    ) -> None:
        self._outbox, self._operator, self._endpoints = outbox, operator, endpoints
        self._patience, self._pause, self._lease, self._give_up = patience, pause, lease, give_up
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until it is cancelled."""
        try:
            while True:
                found = await self._take(AT_ONCE - len(self._running))
                for event in found:
                    task = asyncio.create_task(self._deliver(event))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                if not found:
                    await self._rest()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _take(self, room: int) -> list[Outgoing]:
        if room > 0:
            try:
                return await self._outbox.take(room, self._lease)
            except Unavailable as error:
                log.debug("the outbox cannot be read: %s", error)
            except Exception:
                log.exception("the outbox cannot be read; trying again")
        return []

    async def _rest(self) -> None:
        """Until something was sent, which may make room in a lane, or for the pause."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._pause, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(self._pause)

    async def _deliver(self, event: Outgoing) -> None:
        try:
            outcome = await self._try(event)
            delay = max(random.uniform(0, self._longest(event.tries)), outcome.retry_after or 0)
            give_up = None if event.endpoint is None else self._give_up
            settled = await self._outbox.settle(event, outcome, delay=delay, give_up=give_up)
        except Unavailable as error:
            # Its lease ends, and it is sent again.
            log.debug("event %s is not settled: %s", event.id, error)
            return
        except Exception:
            log.exception("event %s is not settled", event.id)
            return
        if settled == "disabled":
            log.warning("endpoint %s is disabled: event %s: %s", event.receiver, event.id, outcome.answer)
        elif not outcome.delivered:
            # An endpoint is its user's matter; they see it in the list of deliveries.
            level = logging.WARNING if event.endpoint is None else logging.DEBUG
            log.log(level, "event %s was not taken (try %d): %s", event.id, event.tries, outcome.answer)

    async def _try(self, event: Outgoing) -> Outcome:
        sender = self._operator if event.endpoint is None else self._endpoints
        try:
            return await sender.send(event)
        except Unavailable:
            raise
        except Exception:
            log.exception("event %s was not sent", event.id)
            return Outcome(delivered=False, answer="an error on our side")

    def _longest(self, tries: int) -> float:
        return min(LONGEST, self._patience * 2.0 ** min(20, tries - 1))


def rfc3339(seconds: float) -> str:
    """UNIX seconds as 2026-11-22T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retry_after(header: str | None) -> float | None:
    """The seconds of a header ``Retry-After``, which may also be a date; at most a day. None for none."""
    if header is None:
        return None
    seconds: float | None = None
    if header.strip().isdecimal() and len(header) < 10:
        seconds = float(header)
    else:
        with contextlib.suppress(ValueError, OverflowError):
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
    return None if seconds is None else min(GIVE_UP, max(0.0, seconds))
