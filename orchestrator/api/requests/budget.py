"""Limits the bytes of uploads that are held in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.api.responses.errors import RETRY_AFTER, Problem
from orchestrator.domain.codes import ProblemCode

CountBytes = Callable[[int], None]
"""Counts further bytes of an upload; raises Problem when there are too many."""


class UploadBudget:
    """Limits the bytes of uploads that this process holds in memory, for all requests together and for each client.

    Bytes are counted as they arrive, so a request that waits for its bytes leaves the budget to others.
    """

    def __init__(self, limit: int, share: int) -> None:
        """``limit`` bytes for all requests, of which one client may hold ``share`` bytes."""
        self._left, self._share = limit, share
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str | None) -> Iterator[CountBytes]:
        """Yields a function that counts bytes for this client. None, a proxy that stands for many clients, has no share
        of its own. At the end the bytes are free again."""
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
