"""A few warm decoder processes. When one ends, for whatever reason, another one is started in its place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from orchestrator.photos.process import Answer, Decoder, Limits, Wanted
from orchestrator.photos.size import stated_pixels
from orchestrator.photos.turns import Turns
from orchestrator.ports import Unavailable

RESTART_SECONDS = 1.0
"""Seconds between attempts when decoders cannot be started."""
PICTURES = 200
"""Pictures of one process. A new process then replaces it, so that a library's memory leaks do not grow."""

log = logging.getLogger(__name__)


class DecoderPool:
    """Decodes at most ``processes`` photos and one giant (see ``Turns``) at once, each in a process of its own.

    All ``processes + 1`` processes are warm. While there is no giant, the extra one replaces a process that dies. Open
    the pool as an async context manager, which raises Unavailable when decoders cannot be started.
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
        # A keeper that was cancelled before its first step has not stopped its decoder.
        while self._living:
            await self._living.pop().stop()

    async def decode(
        self, data: bytes | bytearray, client: str | None, wanted: Wanted = Wanted.PICTURE
    ) -> tuple[Answer, bytes]:
        """A decoder's answer and the file that is ``wanted``. Uploads of different ``client``s take turns.

        Raises DecoderDied, TimeoutError when the decoder does not answer within ``seconds``, and Unavailable when no
        turn comes within ``patience`` seconds.
        """
        pixels = stated_pixels(data)
        async with self._taken(client, pixels, len(data)) as decoder, asyncio.timeout(self._seconds):
            return await decoder.decode(data, pixels, wanted)

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
                    # It may still send its answer to this picture, so it cannot be used for another one.
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
        """Keeps one place of the pool: offers the decoder, and starts another whenever it has ended."""
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
