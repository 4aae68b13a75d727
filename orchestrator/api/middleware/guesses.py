"""Slows down whoever guesses the administrator's token or keys: a limit of wrong ones from each address.

Each process counts for itself, in memory: so guesses are slowed while the job store is down too, and counting costs no
call of it. A client that several processes answer may guess as many times more.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from orchestrator.domain.plans import HOUR, MINUTE

WRONG_PER_MINUTE, WRONG_PER_HOUR = 10, 60
"""How many wrong keys an address may send; a token of the shortest length that is allowed takes longer than the age of
the universe at this rate."""
MOST_ADDRESSES = 10_000
"""How many addresses are remembered: of more, those that guessed last."""

log = logging.getLogger("reroom.access")


class Guesses:
    """``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        """When each address was wrong, up to WRONG_PER_HOUR times, oldest first; the addresses that guessed last come
        last."""

    def seconds_left(self, address: str | None) -> int:
        """How long this address has to wait until its keys are looked at again; 0: they are. None, a proxy that names
        no client, never waits."""
        times = self._wrong.get(address) if address is not None else None
        if times is None:
            return 0
        now, left = self._clock(), 0.0
        for most, seconds in ((WRONG_PER_MINUTE, MINUTE), (WRONG_PER_HOUR, HOUR)):
            if len(times) >= most:
                left = max(left, times[-most] + seconds - now)
        return math.ceil(left)

    def note(self, address: str | None) -> None:
        """A key from this address was wrong."""
        if address is None:
            return
        times = self._wrong.setdefault(address, deque(maxlen=WRONG_PER_HOUR))
        times.append(self._clock())
        self._wrong.move_to_end(address)
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        if left := self.seconds_left(address):
            log.warning(
                "wrong administrator's keys from %s: none from there is looked at for %d s", address, left
            )
