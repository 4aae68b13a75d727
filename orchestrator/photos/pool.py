"""A few warm decoder processes; whatever happens to one, another takes its place before it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from orchestrator.photos.process import Answer, Decoder, Limits
from orchestrator.photos.size import stated_pixels
from orchestrator.photos.turns import Turns
from orchestrator.ports import Unavailable

RESTART_SECONDS = 1.0
"""Between attempts when decoders cannot be started at all."""
PICTURES = 200
"""Of one process; a fresh one then takes its place, so that nothing piles up in a library's heap."""

log = logging.getLogger(__name__)


class DecoderPool:
    """Decodes at most ``processes`` photos at once and one giant (see ``Turns``), each in a process of its own.

    There are ``processes + 1`` of them, all warm: without a giant, one waits to take the place of one that dies. Open
    it as an async context manager, which raises Unavailable when decoders cannot be started.
    """

    def __init__(self, processes: int, limits: Limits, seconds: float, patience: float) -> None:
        self._limits, self._seconds, self._patience = limits, seconds, patience
        self._count = processes + 1
        self._turns = Turns(processes)
        self._idle: asyncio.Queue[Decoder] = asyncio.Queue()
        self._keepers: list[asyncio.Task[None]] = []
        self._living: set[Decoder] = set()

    async def __aenter__(self) -> DecoderPool:
        starts = (Decoder.start(self._limits) for _ in range(self._count))
        started = await asyncio.gather(*starts, return_exceptions=True)
        decoders = [decoder for decoder in started if isinstance(decoder, Decoder)]
        self._living.update(decoders)
        self._keepers = [asyncio.create_task(self._keep(decoder)) for decoder in decoders]
        for failure in started:
            if isinstance(failure, BaseException):
                await self.__aexit__()
                raise failure
        if missing := decoders[0].missing:
            log.warning("the decoders' sandbox has no filter of system calls: %s", missing)
        return self

    async def __aexit__(self, *_: object) -> None:
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        # A keeper that was cancelled before its first step has ended nothing.
        while self._living:
            await self._living.pop().stop()

    async def decode(self, data: bytes | bytearray, client: str | None) -> tuple[Answer, bytes]:
        """A decoder's answer; ``client`` names who takes turns with whom.

        Raises DecoderDied, TimeoutError when one says nothing for ``seconds``, and Unavailable when no turn comes for
        ``patience`` seconds.
        """
        pixels = stated_pixels(data)
        async with self._taken(client, pixels, len(data)) as decoder, asyncio.timeout(self._seconds):
            return await decoder.decode(data, pixels)

    @contextlib.asynccontextmanager
    async def _taken(self, client: str | None, pixels: int, size: int) -> AsyncGenerator[Decoder]:
        waiting = asyncio.timeout(self._patience)
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with waiting:
                    await stack.enter_async_context(self._turns.turn(client, pixels, size))
                    decoder = await self._next()
                try:
                    yield decoder
                except BaseException:
                    # An answer may still be under way: nobody can use it again.
                    decoder.kill()
                    raise
                if decoder.pictures < PICTURES:
                    self._idle.put_nowait(decoder)
                else:
                    decoder.kill()
        except TimeoutError:
            if waiting.expired():
                raise Unavailable(f"no decoder was free for {self._patience} s") from None
            raise

    async def _next(self) -> Decoder:
        if not self._keepers:
            raise Unavailable("the decoders have been stopped")
        while True:
            decoder = await self._idle.get()
            if decoder.alive:
                return decoder

    async def _keep(self, decoder: Decoder) -> None:
        """One place of the pool: hands the decoder out, and starts another whenever it has ended."""
        while True:
            self._idle.put_nowait(decoder)
            complaints = await decoder.complaints()
            status = await decoder.stop()
            self._living.remove(decoder)
            if not decoder.dismissed:
                log.warning(
                    "a decoder ended by itself, status %d, after %d pictures: %r",
                    status,
                    decoder.pictures,
                    complaints,
                )
            decoder = await self._replacement()
            self._living.add(decoder)

    async def _replacement(self) -> Decoder:
        while True:
            try:
                return await Decoder.start(self._limits)
            except Unavailable as error:
                log.error("%s; trying again in %s s", error, RESTART_SECONDS)
                await asyncio.sleep(RESTART_SECONDS)
