"""Receivers of webhooks that behave well or badly: a real server on a socket, which checks signatures with another
implementation of Standard Webhooks than ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from standardwebhooks import Webhook

SECONDS = 30.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HANG, CLOSE, DRIP = "hang", "close", "drip"


def status(code: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} Whatever", *headers, "Content-Length: 0", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


class HookReceiver:
    """``answers``, by path: what it does with the next requests, bytes to send or HANG, CLOSE or DRIP; then OK."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, list[bytes | str]] = defaultdict(list)
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """The bodies that came to a path, whatever was answered."""
        self.ids: dict[str, list[str]] = defaultdict(list)
        self.headers: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.taken: dict[str, set[str]] = defaultdict(set)
        """The ids that were answered 200."""
        self._bodies: list[tuple[dict[str, str], str]] = []
        self._came = asyncio.Condition()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def until(self, path: str, count: int) -> None:
        """Returns once so many events were answered 200 at the path."""
        async with asyncio.timeout(SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.taken[path]) >= count)

    async def until_asked(self, path: str, count: int) -> None:
        """Returns once so many requests came to the path."""
        async with asyncio.timeout(SECONDS), self._came:
            await self._came.wait_for(lambda: len(self.ids[path]) >= count)

    def verify(self, secret: str) -> None:
        """Raises unless everything that came is signed by this secret."""
        for headers, body in self._bodies:
            Webhook(secret).verify(body, headers)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            await self._answer(request.split(" ")[1], headers, body, writer)

    async def _answer(
        self, path: str, headers: dict[str, str], body: str, writer: asyncio.StreamWriter
    ) -> None:
        answer = self.answers[path].pop(0) if self.answers[path] else OK
        async with self._came:
            self._bodies.append((headers, body))
            self.events[path].append(json.loads(body))
            self.ids[path].append(headers["webhook-id"])
            self.headers[path].append(headers)
            if answer == OK:
                self.taken[path].add(headers["webhook-id"])
            self._came.notify_all()
        if answer == HANG:
            await asyncio.sleep(SECONDS)
        elif answer == DRIP:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        elif isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()


@contextlib.asynccontextmanager
async def hook_receiver() -> AsyncIterator[HookReceiver]:
    receiver: HookReceiver | None = None
    open_now: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert receiver is not None
        task = asyncio.create_task(receiver.handle(reader, writer))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    receiver = HookReceiver(server.sockets[0].getsockname()[1])
    try:
        yield receiver
    finally:
        server.close()
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # in which asyncio closes the sockets
