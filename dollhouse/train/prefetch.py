"""Makes the batches of the next steps while this step's batch is used."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Prefetch(Generic[Key, Made]):
    """Calls ``make(step, key)`` in ``pool``, ``ahead`` steps before the result is needed.

    Results must depend on step and key alone. When the key changes, results for the old key are dropped.
    """

    def __init__(self, make: Callable[[int, Key], Made], pool: Executor, ahead: int = 1) -> None:
        self._make, self._pool, self._steps = make, pool, ahead + 1
        self._ready: dict[tuple[int, Key], Future[Made]] = {}

    def __call__(self, step: int, key: Key) -> Made:
        """Raises what ``make`` raised."""
        wanted = [(step + number, key) for number in range(self._steps)]
        for old in self._ready.keys() - wanted:
            self._ready.pop(old).cancel()
        for new in wanted:
            if new not in self._ready:
                self._ready[new] = self._pool.submit(self._make, *new)
        return self._ready.pop(wanted[0]).result()
