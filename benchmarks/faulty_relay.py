"""A TCP relay before a server that loses answers, slows them down, answers with errors, or lets nobody through.

It runs in a thread of its own, so that processes can be started, and waited for, while it serves.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536
LOSE, SLOW, REFUSE, AWAY = "lose", "slow", "refuse", "away"
"""What a relay does to its server's answers. LOSE: of each kind of call the first answer is lost after the server has
done the call, and of all others one in ``every``; the connection is cut. SLOW: each piece of an answer is ``delay``
seconds late. REFUSE (HTTP): every second request is answered with 503, and the server does not see it. AWAY: every
connection is cut, and so is each new one."""
_ERROR = b"<Error><Code>SlowDown</Code><Message>Later</Message></Error>"
REFUSAL = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    + f"Content-Length: {len(_ERROR)}\r\n\r\n".encode()
    + _ERROR
)

KindOf = Callable[[bytes], str]
"""The kind of the call whose first bytes these are; empty when they are the continuation of one, or no call."""


class FaultyRelay:
    """Passes everything on to ``target``, (host, port). ``fault`` is what it does at present, "" = nothing.

    ``calls`` counts the calls of each kind that were answered or refused, ``lost`` those whose answers were lost.
    """

    def __init__(self, kind_of: KindOf, target: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.target = target
        self.fault = ""
        self.every, self.delay = 5, 0.2
        self.calls, self.lost = Counter[str](), Counter[str]()
        self.port = 0
        self._kind_of = kind_of
        self._answers = self._requests = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[FaultyRelay]:
        """Listens on ``port`` of 127.0.0.1 within the block."""
        listening, stop = threading.Event(), asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            await stop.wait()
            server.close()
            self._cut()
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), name="relay")
        thread.start()
        listening.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join()
            self._loop.close()

    def begin(self, fault: str) -> None:
        self.fault = fault
        if fault == AWAY:
            self._loop.call_soon_threadsafe(self._cut)

    def end(self) -> None:
        self.fault = ""

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        both = {writer}
        self._writers.add(writer)
        try:
            with suppress(OSError):
                if self.fault == AWAY:
                    return
                back_reader, back_writer = await asyncio.open_connection(*self.target)
                both.add(back_writer)
                self._writers.add(back_writer)
                await self._talk(reader, writer, back_reader, back_writer)
        finally:
            for each in both:
                each.transport.abort()
            self._writers -= both

    async def _talk(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back_reader: asyncio.StreamReader,
        back_writer: asyncio.StreamWriter,
    ) -> None:
        """Until one of the two ends it. Both protocols answer one call after the other on a connection."""
        asked = ""
        """The kind of the call that has not been answered."""

        async def ask() -> None:
            nonlocal asked
            while data := await reader.read(CHUNK):
                if kind := self._kind_of(data):
                    if self._refuses():
                        self.calls[kind] += 1
                        await _refuse(reader, writer)
                        return
                    asked = kind
                back_writer.write(data)
                await back_writer.drain()

        async def answer() -> None:
            nonlocal asked
            while data := await back_reader.read(CHUNK):
                if asked:
                    kind, asked = asked, ""
                    self.calls[kind] += 1
                    if self._loses(kind):
                        self.lost[kind] += 1
                        return
                if self.fault == SLOW:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()

        ways = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _refuses(self) -> bool:
        if self.fault != REFUSE:
            return False
        self._requests += 1
        return self._requests % 2 == 1

    def _loses(self, kind: str) -> bool:
        if self.fault != LOSE:
            return False
        self._answers += 1
        return kind not in self.lost or self._answers % self.every == 0


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with an error. The rest of the request is read: who closes a connection with unread bytes resets it, and
    the answer may be lost with it."""
    writer.write(REFUSAL)
    await writer.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while await reader.read(CHUNK):
                pass
    writer.close()


_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n(?:\$\d+\r\n([^\r\n]*)\r\n)?")
_HANDSHAKE = ("HELLO", "AUTH", "CLIENT", "SELECT")
"""Of a new connection. A client that never comes past it makes no calls."""
_REQUEST = re.compile(rb"([A-Z]+) (/[^ ]*) HTTP/1.1\r\n")


def redis_kinds(scripts: dict[str, str]) -> KindOf:
    """Redis: the name of a command, or of the script that is called; ``scripts`` are their names by SHA-1."""

    def kind_of(data: bytes) -> str:
        if not (found := _COMMAND.match(data)):
            return ""
        command, first = found[1].decode().upper(), (found[2] or b"").decode(errors="replace")
        if command in _HANDSHAKE:
            return ""
        return scripts.get(first, "a script") if command == "EVALSHA" else command

    return kind_of


def s3_kind(data: bytes) -> str:
    """S3: the method, and the first and the last word of the object's key, as in ``PUT results/transformed.jpg``."""
    if not (found := _REQUEST.match(data)):
        return ""
    method, path = found[1].decode(), found[2].decode()
    if "list-type=2" in path:
        return "LIST"
    folder, _, rest = path.partition("?")[0].removeprefix("/").partition("/")[2].partition("/")
    return f"{method} {folder}/{rest.rpartition('/')[2]}"
