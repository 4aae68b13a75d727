"""A TCP relay that can cut its connections, as a cable that is pulled, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit


class Relay:
    """Passes everything on to ``target``; ``accepted`` counts its connections so far, ``sent`` is what clients sent.

    ``lose_answers``: the number of answers that are not passed back, but whose connections are cut. ``delay``: seconds
    by which each piece of an answer is late, if what was sent last has the words ``slow``. ``asked`` and ``answered``:
    words that become others of the same length on the way, in what clients send and in what they get.
    """

    def __init__(self, target: str) -> None:
        self.lead_to(target)
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = asyncio.Event()
        self.accepted = self.lose_answers = 0
        self.delay, self.slow = 0.0, b""
        self.sent = bytearray()
        self.asked: dict[bytes, bytes] = {}
        self.answered: dict[bytes, bytes] = {}
        self.url = ""

    def lead_to(self, target: str) -> None:
        """Of the connections that are yet to come."""
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        host, port = self._target
        try:
            back_reader, back_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back_writer}
        self._writers |= both
        last = b""

        async def question(data: bytes) -> None:
            nonlocal last
            last = data
            self.sent += data

        async def answer(data: bytes) -> None:
            if self.lose_answers:
                self.lose_answers -= 1
                raise ConnectionAbortedError
            if self.delay and self.slow in last:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._cut.wait(), self.delay)

        ways = (
            asyncio.ensure_future(self._copy(reader, back_writer, question, self.asked)),
            asyncio.ensure_future(self._copy(back_reader, writer, answer, self.answered)),
        )
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            for each in both:
                each.transport.abort()
            self._writers -= both

    def cut(self) -> None:
        """Abort every connection, without a goodbye in either direction."""
        self._cut.set()
        self._cut = asyncio.Event()
        for writer in self._writers:
            writer.transport.abort()

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[bytes], Awaitable[None]],
        others: dict[bytes, bytes],
    ) -> None:
        try:
            while data := await reader.read(65536):
                await look(data)
                for word, other in others.items():
                    data = data.replace(word, other)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def relaying(target: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """With ``tls`` clients come over HTTPS; the target is plain HTTP in any case."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.pass_on, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    relay.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        await server.wait_closed()
