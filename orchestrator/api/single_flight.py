"""A cache of one value that is computed once for all concurrent callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """Keeps an answer, or the error in its place, for ``seconds`` after the question began.

    Concurrent callers share one call of the question. A cache belongs to one event loop.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._asked_at = 0.0
        self._answer: asyncio.Future[T] | None = None

    async def __call__(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``ask()``, or of an earlier call that is not too old."""
        answer = self._answer
        if answer is None or (answer.done() and self._clock() - self._asked_at >= self._seconds):
            self._asked_at = self._clock()
            answer = self._answer = asyncio.ensure_future(ask())
        # A caller that is cancelled must not cancel the call that others wait for.
        return await asyncio.shield(answer)
