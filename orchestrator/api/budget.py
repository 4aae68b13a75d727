"""How many bytes of uploads are held in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.api.errors import RETRY_AFTER, Problem
from orchestrator.domain.codes import ProblemCode

CountBytes = Callable[[int], None]
"""Counts so many bytes more, or raises Problem."""


class UploadBudget:
    """Bounds the bytes of uploads that this process holds in memory, over all requests, and over those of one client.

    They are counted as they come: a request that waits for bytes takes none from others.
    """

    def __init__(self, limit: int, share: int) -> None:
        """``share``: what one client may hold of ``limit`` bytes."""
        self._left, self._share = limit, share
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str | None) -> Iterator[CountBytes]:
        """Gives a function that counts for this client; None speaks for many. At the end all is given back."""
        held = 0

        def count_bytes(count: int) -> None:
            nonlocal held
            if client is not None and self._held[client] + count > self._share:
                raise _full(ProblemCode.TOO_MANY_UPLOADS, "too many uploads from your address at once")
            if count > self._left:
                raise _full(ProblemCode.UNAVAILABLE, "too many uploads at once")
            self._left -= count
            held += count
            if client is not None:
                self._held[client] += count

        try:
            yield count_bytes
        finally:
            self._left += held
            if client is not None:
                self._held[client] -= held
                if not self._held[client]:
                    del self._held[client]


def _full(code: ProblemCode, detail: str) -> Problem:
    return Problem(code, f"{detail}; try again soon", headers=RETRY_AFTER)
