"""Decides which upload is decoded next. A turn costs its picture's pixels, and no client's uploads delay others'."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

GIANT = 12_500_000
"""Pixels above which a picture is a giant. A camera's photo of 12 MP never waits for a larger picture."""
EMPTY = 200
"""Pixels per byte above which a picture is empty. Photos have 2 to 50. An empty picture costs its sender almost
nothing, so it queues with the giants if it has more than EMPTY_MATTERS pixels."""
EMPTY_MATTERS = 2_000_000
COMPANY_SECONDS = 60.0
"""Seconds for which a client counts as one of several after an upload of another client."""
LEAST = 1_000_000
"""The least cost of a picture, in pixels, since even the smallest goes through pipes and is encoded."""


class Turns:
    """Two queues: photos share ``photos`` turns at a time; giants have one turn of their own, see GIANT and EMPTY.

    Clients are distinguished by name; None stands for many clients, such as those of a proxy. In each queue the client
    with the fewest decoded pixels is next (weighted fair queueing); a client's own uploads keep their order. When there
    are several clients, each leaves at least one of the photos' turns to others, because a photo can be made to be
    slow.
    """

    def __init__(self, photos: int) -> None:
        self._photos = _Lane(photos, max(1, photos - 1))
        self._giants = _Lane(1, 1)

    @contextlib.asynccontextmanager
    async def turn(self, client: str | None, pixels: int, size: int) -> AsyncGenerator[None]:
        """Waits for a turn, without a limit, and holds it during the block. The file has ``size`` bytes."""
        empty = pixels > max(EMPTY_MATTERS, size * EMPTY)
        lane = self._giants if empty or pixels > GIANT else self._photos
        if empty:
            # Counted as another client, so that photos of 24 or 48 MP from the same address get every other turn.
            client = f"{client}, empty"
        await lane.enter(client, max(pixels, LEAST))
        try:
            yield
        finally:
            lane.leave(client)


@dataclass
class _Client:
    used: float
    """The pixels that were decoded for it, counted from ``_Lane._level`` at its arrival."""
    running: int = 0
    waiting: deque[tuple[asyncio.Future[None], int]] = field(default_factory=deque)


class _Lane:
    def __init__(self, turns: int, share: int) -> None:
        self._turns, self._free, self._share = turns, turns, share
        self._clients: dict[str | None, _Client] = {}
        self._latest: tuple[str | None] | None = None
        self._shared_until = 0.0
        self._level = 0.0
        """The largest ``used`` at which a client was served. A new client begins there, so it has no advantage."""

    async def enter(self, client: str | None, pixels: int) -> None:
        if self._latest not in (None, (client,)):
            self._shared_until = asyncio.get_running_loop().time() + COMPANY_SECONDS
        self._latest = (client,)
        entry = self._clients.setdefault(client, _Client(self._level))
        waiter = (asyncio.get_running_loop().create_future(), pixels)
        entry.waiting.append(waiter)
        self._serve()
        try:
            await waiter[0]
        except asyncio.CancelledError:
            if waiter in entry.waiting:
                entry.waiting.remove(waiter)
                self._tidy()
            elif not waiter[0].cancelled():  # its turn had just come
                self.leave(client)
            raise

    def leave(self, client: str | None) -> None:
        self._clients[client].running -= 1
        self._free += 1
        self._serve()
        self._tidy()

    def _serve(self) -> None:
        shared = asyncio.get_running_loop().time() < self._shared_until
        share = self._share if shared else self._turns
        while self._free:
            able = [
                entry
                for client, entry in self._clients.items()
                if entry.waiting and (client is None or entry.running < share)
            ]
            if not able:
                return
            entry = min(able, key=lambda one: one.used)
            future, pixels = entry.waiting.popleft()
            if future.cancelled():
                continue
            self._level = max(self._level, entry.used)
            entry.used = max(entry.used, self._level) + pixels
            entry.running += 1
            self._free -= 1
            future.set_result(None)

    def _tidy(self) -> None:
        """Forget idle clients that have had no more than their share."""
        for name, entry in list(self._clients.items()):
            if not entry.running and not entry.waiting and entry.used <= self._level:
                del self._clients[name]
        if not any(entry.running or entry.waiting for entry in self._clients.values()):
            self._clients.clear()
