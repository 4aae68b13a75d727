"""Arrays that are computed once for all who ask, and kept for a while: the store behind :mod:`restyle.reuse`.

It belongs to one event loop, which makes every step between two ``await`` atomic.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, ...]
"""Not writeable: many have them."""

MEGABYTES, SECONDS = "REROOM_PARTS_MB", "REROOM_PARTS_SECONDS"
"""Variables of the environment, whole numbers; docs/settings.md says what they mean."""

LIFETIMES = 6
"""How many times as long as without a use arrays are kept that are used again and again."""


@dataclass(frozen=True)
class Limits:
    """What is kept. 0 bytes or seconds = nothing: then only those who ask at the same time share."""

    bytes: int = 256_000_000
    """Of all arrays together. Those that were used longest ago go first."""
    unused: float = 600.0
    """Seconds that arrays are kept without being used."""

    @property
    def age(self) -> float:
        """Seconds after which arrays are dropped however often they are used."""
        return LIFETIMES * self.unused

    @property
    def cleaning(self) -> float:
        """Seconds between two looks for what is too old: its memory comes free that much later at most."""
        return self.unused / 10


def limits_from_environment() -> Limits:
    """Raises ValueError with one sentence for a variable that is no whole number of 0 and more."""
    limits = Limits()
    return Limits(
        _whole(MEGABYTES, limits.bytes // 10**6) * 10**6, float(_whole(SECONDS, int(limits.unused)))
    )


def _whole(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{variable} must be a whole number, 0 or more, not {text[:40]!r}")
    return int(text)


@dataclass
class _Entry:
    arrays: Arrays
    bytes: int
    made: float
    used: float


@dataclass
class _Flight:
    """A computation that runs."""

    task: asyncio.Task[Arrays]
    waiting: int = 0


class Kept:
    """Arrays by key, within ``limits``; ``clock`` gives seconds, and tests a clock of their own."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        """The one that was used longest ago first."""
        self._flights: dict[Hashable, _Flight] = {}
        self._cleaning: asyncio.TimerHandle | None = None
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(
        self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, Sequence[np.ndarray]]]
    ) -> tuple[Arrays, bool]:
        """The arrays of a key, and whether this call was spared their computation: they were kept, or another call
        computes them now. Raises what ``compute`` raises, to all who wait for it; then nothing is kept.

        The computation is a task of its own. It goes on when the caller that began it is cancelled while others wait,
        and is cancelled with the last of them.
        """
        entry = self._entries.get(key)
        if entry is not None and not self._is_old(entry):
            self._entries.move_to_end(key)
            entry.used = self._clock()
            return entry.arrays, True
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._compute(key, compute)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task), shared
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                flight.task.cancel()
                # Who asks next must not get the cancelled one.
                self._land(key, flight.task)

    async def _compute(
        self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, Sequence[np.ndarray]]]
    ) -> Arrays:
        try:
            # Copies: what a model answers may lie in memory that it shares with the server, which must come free.
            arrays = tuple(np.array(array, order="C") for array in await compute())
            for array in arrays:
                array.setflags(write=False)
            self._keep(key, arrays)
            return arrays
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._land(key, task)

    def _land(self, key: Hashable, task: asyncio.Task[Arrays]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]

    def _keep(self, key: Hashable, arrays: Arrays) -> None:
        size = sum(array.nbytes for array in arrays)
        if size > self._limits.bytes or self._limits.unused <= 0:
            return
        self._drop(key)
        while self.bytes + size > self._limits.bytes:
            self._drop(next(iter(self._entries)))
        now = self._clock()
        self._entries[key] = _Entry(arrays, size, now, now)
        self.bytes += size
        self._clean_later()

    def _is_old(self, entry: _Entry) -> bool:
        now = self._clock()
        return now >= min(entry.used + self._limits.unused, entry.made + self._limits.age)

    def _drop(self, key: Hashable) -> None:
        if entry := self._entries.pop(key, None):
            self.bytes -= entry.bytes

    def _clean_later(self) -> None:
        # By a timer, so that an idle process keeps nothing either.
        if self._cleaning is None and self._entries:
            self._cleaning = asyncio.get_running_loop().call_later(self._limits.cleaning, self._clean)

    def _clean(self) -> None:
        self._cleaning = None
        for key in [key for key, entry in self._entries.items() if self._is_old(entry)]:
            self._drop(key)
        self._clean_later()
