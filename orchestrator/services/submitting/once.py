"""Does a request once, however often its client sends it: ``Idempotency-Key``, by the rules that Stripe made common.

A key is the caller's own. For a day, the same request with the same key gets the first one's answer. Nothing is kept of
a request that was refused, so it may be sent again, and changed. One that was cut short by an outage, or by its client,
may have been done: it may be sent again, and finds what it did.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from orchestrator.ports import Answered, Begun, OnceStore, PortError, Unavailable

KEEP_SECONDS = 86400
"""How long an answer is kept."""

EXTENSIONS = 3
"""How often a try extends its lock within ``lock_seconds``."""

log = logging.getLogger(__name__)


class Once:
    """``lock_seconds``: if the process of a try dies, another try may begin after that time. A living one keeps others
    out until it is over, its clean-up included."""

    def __init__(self, store: OnceStore, *, lock_seconds: float) -> None:
        self._store, self._lock_seconds = store, lock_seconds

    async def knows(self, owner: str, key: str) -> bool:
        """Whether the key was used, so that an answer may be there. Raises Unavailable."""
        return await self._store.knows(_name(owner, key))

    async def do(
        self, owner: str, key: str, fingerprint: str, run: Callable[[Begun], Awaitable[str]]
    ) -> tuple[str, bool]:
        """The answer, and whether it is that of an earlier request. ``run`` does the request and returns its answer.

        ``fingerprint`` is the same for equal requests (:func:`fingerprint_of`). Raises InFlight while another request
        with this key is being done, AnotherRequest when the key was used for another one, Unavailable, and whatever
        ``run`` raises, after which another try may begin.
        """
        name, token = _name(owner, key), uuid.uuid4().hex
        found = await self._store.begin(
            name, fingerprint, token, lock_seconds=self._lock_seconds, seconds=KEEP_SECONDS
        )
        if isinstance(found, Answered):
            return found.answer, True
        holding = asyncio.create_task(self._hold(name, token))
        try:
            answer = await run(found)
        except (Unavailable, asyncio.CancelledError):
            # What it did may have outlived it: a lost answer of the store does not say, nor could it be undone then.
            await asyncio.shield(self._settle(self._store.interrupt(name, token), holding))
            raise
        except BaseException:
            await asyncio.shield(self._settle(self._store.forget(name, token), holding))
            raise
        await asyncio.shield(self._settle(self._store.answer(name, token, answer), holding))
        return answer, False

    async def _hold(self, name: str, token: str) -> None:
        """Keeps other tries out until it is cancelled. Without it, one might begin while this one, which was cancelled
        and waits for a slow storage, has yet to undo its job: both have the same id, so it would undo the other's."""
        extended = True
        while extended:
            await asyncio.sleep(self._lock_seconds / EXTENSIONS)
            try:
                extended = await self._store.extend(name, token, lock_seconds=self._lock_seconds)
            except PortError as error:
                log.warning("the lock of an idempotency key was not extended: %s", error)

    async def _settle(self, call: Awaitable[None], holding: asyncio.Task[None]) -> None:
        """If this fails, the next try finds by its id what this one did."""
        try:
            await call
        except PortError as error:
            log.warning("the end of a request with an idempotency key was not recorded: %s", error)
        finally:
            holding.cancel()


def fingerprint_of(operation: str, fields: dict[str, Any]) -> str:
    """A digest that is equal for equal requests. Large fields are given as digests of their own."""
    text = msgspec.json.encode([operation, fields], order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _name(owner: str, key: str) -> str:
    return hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()
