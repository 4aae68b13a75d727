"""One answer for all who ask at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """What a question was answered with, for ``seconds`` after it was asked. An error is an answer too.

    It is asked again once at a time, however many want to know. Belongs to one event loop.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._asked_at = 0.0
        self._answer: asyncio.Future[T] | None = None

    async def __call__(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``ask``, or of an earlier one."""
        answer = self._answer
        if answer is None or (answer.done() and self._clock() - self._asked_at >= self._seconds):
            self._asked_at = self._clock()
            answer = self._answer = asyncio.ensure_future(ask())
        # Who goes away does not take the answer from the others.
        return await asyncio.shield(answer)
