"""Who is next at the decoders: turns cost what pictures cost, and one client's do not keep others waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

GIANT = 12_500_000
"""Pixels. A camera's photo of 12 MP, and all below it, never waits for a larger picture."""
EMPTY = 200
"""Pixels of a byte. Photos have 2 to 50: what has more costs its sender next to nothing, so it queues with the giants,
where it has EMPTY_MATTERS pixels."""
EMPTY_MATTERS = 2_000_000
COMPANY_SECONDS = 60.0
"""How long a client that was alone counts as one of several, once another has come."""
LEAST = 1_000_000
"""What the smallest picture costs, in pixels: its bytes go through pipes, and its JPEG is written, all the same."""


class Turns:
    """Two queues: photos share ``photos`` turns at a time; giants have one of their own, see GIANT and EMPTY.

    Clients are told apart by name; None is one that speaks for many, such as a proxy. In each queue the clients take
    turns by the pixels that they have had (weighted fair queueing), and a client's own uploads come in their order.
    Where there are several clients, none holds more than all but one of the photos' turns: also photos can be made
    to be slow.
    """

    def __init__(self, photos: int) -> None:
        self._photos = _Lane(photos, max(1, photos - 1))
        self._giants = _Lane(1, 1)

    @contextlib.asynccontextmanager
    async def turn(self, client: str | None, pixels: int, size: int) -> AsyncGenerator[None]:
        """Waits, without end, with a file of ``size`` bytes; hold it while the picture is decoded."""
        empty = pixels > max(EMPTY_MATTERS, size * EMPTY)
        lane = self._giants if empty or pixels > GIANT else self._photos
        if empty:
            # As another client: real photos of the same address, of 24 or 48 MP, come every other time.
            client = f"{client}, empty"
        await lane.enter(client, max(pixels, LEAST))
        try:
            yield
        finally:
            lane.leave(client)


@dataclass
class _Client:
    used: float
    """Pixels that it has had, on the scale of those that are served at the same time."""
    running: int = 0
    waiting: deque[tuple[asyncio.Future[None], int]] = field(default_factory=deque)


class _Lane:
    def __init__(self, turns: int, share: int) -> None:
        self._turns, self._free, self._share = turns, turns, share
        self._clients: dict[str | None, _Client] = {}
        self._latest: tuple[str | None] | None = None
        self._shared_until = 0.0
        self._level = 0.0
        """Where the client stands that was served last: a newcomer begins there, and has saved nothing up."""

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
        """Forget clients that have nothing here any more and no more than their share behind them."""
        for name, entry in list(self._clients.items()):
            if not entry.running and not entry.waiting and entry.used <= self._level:
                del self._clients[name]
        if not any(entry.running or entry.waiting for entry in self._clients.values()):
            self._clients.clear()
