"""What a connection may ask of a process, by raw sockets: headers, patience, number; and bodies that arrive whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import uvicorn

from orchestrator.api.middleware.clients import Clients
from orchestrator.server.connections import BoundedProtocol, Limits
from tests.support.running_stack import until

CONNECTIONS = 16
LARGE = 8 * 2**20


class Served:
    """A server over an app that answers what it was sent; at /large with LARGE bytes, at /early before the body."""

    def __init__(self) -> None:
        clients = Clients(["127.0.0.1"])
        self.limits = Limits(
            CONNECTIONS, clients, header_seconds=1.0, rest_seconds=0.6, take_seconds=0.6, linger_seconds=0.6
        )
        self.seen: list[tuple[str, bytes]] = []
        self.opened: list[Connection] = []
        self.port = 0
        self.server: uvicorn.Server

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        body, more = b"", scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["method"], body))
        answer = bytes(LARGE) if scope["path"] == "/large" else body
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        protocol: Any = partial(BoundedProtocol, limits=self.limits)
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app, interface="asgi3", http=protocol, lifespan="off", log_config=None, access_log=False
            )
        )
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        serving = asyncio.create_task(self.server.serve(sockets=[listening]))
        try:
            await until(lambda: self.server.started, "the server started")
            yield
            await until(lambda: not self.server.server_state.connections, "no connection is left")
        finally:
            for connection in self.opened:
                connection.writer.transport.abort()
            await until(lambda: self.limits.lingering == 0, "none lingers")
            self.server.should_exit = True
            await serving

    async def open(self, address: str = "127.0.0.1") -> Connection:
        local = (address, 0)
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=local))
        self.opened.append(connection)
        return connection

    async def ask(self, *parts: bytes) -> bytes:
        """Everything that is answered to these bytes, taken or not, until the server ends the connection."""
        connection = await self.open()
        for part in parts:
            connection.writer.write(part)
        return await connection.end()


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def line(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readline()

    async def end(self) -> bytes:
        try:
            async with asyncio.timeout(10):
                return await self.reader.read()
        finally:
            self.close()

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    async with served.running():
        yield served


def refused(answer: bytes, status: int, code: str) -> None:
    """Asserts that the only answer is this problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
LAST = b"Connection: close\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"a" * 2_000_000,
        b"X: " + b"a" * 66_000 + b"\r\n\r\n",
        b"X: a\r\n" * 10_000 + b"\r\n",
        b"X: a\r\n" * 200 + b"\r\n",
        b"X: a\r\n" + b" folded\r\n" * 10_000 + b"\r\n",
    ],
    ids=["endless", "large", "10,000", "201", "folded"],
)
async def test_large_headers_are_refused(
    served: Served, headers: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "orchestrator.server.connections")
    refused(await served.ask(GET + headers), 431, "headers_too_large")
    assert served.seen == []
    assert "refused 127.0.0.1: 431" in caplog.text


async def test_two_hundred_headers_are_taken(served: Served) -> None:
    answer = await served.ask(GET + LAST + b"X: a\r\n" * 198 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_refusals_do_not_fill_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "orchestrator.server.connections")
    await asyncio.gather(*(served.ask(GET + b"X: a\r\n" * 201) for _ in range(12)))
    assert 1 <= len([record for record in caplog.records if "431" in record.message]) <= 3


async def test_an_endless_header_does_not_hold_others_up(served: Served) -> None:
    async def attack() -> None:
        while True:
            connection = await served.open()
            await connection.send(GET + b"X: ")
            while not connection.reader.at_eof():
                await connection.send(b"a" * 1_000_000)
                await asyncio.sleep(0)
            connection.close()

    attacks = [asyncio.create_task(attack()) for _ in range(4)]
    try:
        async with asyncio.timeout(5):
            for _ in range(20):
                assert (await served.ask(GET + LAST + b"\r\n")).startswith(b"HTTP/1.1 200 ")
    finally:
        for each in attacks:
            each.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


async def test_headers_that_drip_are_given_up(served: Served) -> None:
    connection = await served.open()

    async def drip() -> None:
        for byte in GET + b"X: " + b"a" * 1000:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    refused(await connection.end(), 408, "headers_too_slow")
    dripping.cancel()


async def test_a_later_request_has_its_own_time(served: Served) -> None:
    connection = await served.open()
    for _ in range(3):
        for piece in (GET[:10], GET[10:] + b"\r\n"):
            await asyncio.sleep(0.2)
            await connection.send(piece)
        assert await connection.line() == b"HTTP/1.1 200 OK\r\n"
        async with asyncio.timeout(5):
            await connection.reader.readuntil(b"\r\n\r\n")
    await connection.send(GET[:10])
    refused(await connection.end(), 408, "headers_too_slow")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(served: Served) -> None:
    assert await (await served.open()).end() == b""


async def test_what_is_no_http_is_named(served: Served) -> None:
    refused(await served.ask(b"\x16\x03\x01 hello\r\n\r\n"), 400, "malformed_request")


async def test_there_are_so_many_connections_and_no_more(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "orchestrator.server.connections")
    held = [await served.open() for _ in range(CONNECTIONS)]
    # WebSockets count as well.
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    await held[0].send(GET + upgrade + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert b" 101 " in await held[0].line()
    refused(await served.ask(GET + b"\r\n"), 503, "too_many_connections")
    assert "as many connections as it can hold" in caplog.text
    for each in held:
        each.close()
    await until(lambda: not served.server.server_state.connections, "all were closed")
    assert (await served.ask(GET + LAST + b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_one_address_gets_a_quarter_of_them(served: Served) -> None:
    one, other = "127.0.0.2", "127.0.0.3"
    held = [await served.open(one) for _ in range(CONNECTIONS // 4)]
    refused(await (await served.open(one)).end(), 429, "too_many_connections")
    for address in (other, "127.0.0.1"):
        connection = await served.open(address)
        await connection.send(GET + LAST + b"\r\n")
        assert (await connection.end()).startswith(b"HTTP/1.1 200 ")
    for each in held:
        each.close()


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
async def test_a_body_arrives_whole_beside_an_offer_of_http_2(served: Served, method: bytes) -> None:
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000
    head = method + b" / HTTP/1.1\r\nHost: x\r\n" + H2C + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = await served.ask(head + body + GET + LAST + b"\r\n")
    assert served.seen == [(method.decode(), body), ("GET", b"")]
    assert answer.count(b"HTTP/1.1 200 OK") == 2


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_body_arrives_whole_beside_an_offer_of_a_websocket(served: Served, method: bytes) -> None:
    head = method + b" / HTTP/1.1\r\nHost: x\r\n" + WEBSOCKET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
    answer = await served.ask(head + SMUGGLED + GET + LAST + b"\r\n")
    assert served.seen == [(method.decode(), SMUGGLED), ("GET", b"")]
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_a_handshake_that_is_not_understood_is_ended(served: Served) -> None:
    # websockets takes 128 headers.
    for headers in (WEBSOCKET, WEBSOCKET + b"X: a\r\n" * 150, WEBSOCKET + b"X: " + b"a" * 20_000 + b"\r\n"):
        assert not (await served.ask(GET + headers + b"\r\n")).startswith(b"HTTP/1.1 200 ")
    assert served.seen == []


async def test_a_body_of_two_lengths_is_refused(served: Served) -> None:
    lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await served.ask(b"POST / HTTP/1.1\r\nHost: x\r\n" + lengths + b"0\r\n\r\n" + SMUGGLED)
    refused(answer, 400, "malformed_request")
    assert served.seen == []


async def test_who_asks_may_go_on(served: Served) -> None:
    connection = await served.open()
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + LAST
    await connection.send(head + b"\r\n")
    assert await connection.line() == b"HTTP/1.1 100 Continue\r\n"
    await connection.send(b"12345")
    assert b"HTTP/1.1 200 OK" in await connection.end()
    assert served.seen == [("PUT", b"12345")]


async def test_requests_may_come_in_a_row(served: Served) -> None:
    answer = await served.ask((GET + b"\r\n") * 20 + GET + LAST + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == len(served.seen) == 21


async def test_tiny_chunks_are_refused(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    refused(await served.ask(head, b"1\r\na\r\n" * 20_000), 400, "malformed_request")
    assert served.seen == []
    honest = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    await served.ask(head.replace(b"\r\n\r\n", b"\r\n" + LAST + b"\r\n"), honest * 2000, b"0\r\n\r\n")
    assert [len(body) for _, body in served.seen] == [2000 * 4096]


async def test_the_rest_of_what_was_answered_cannot_come_for_ever(served: Served) -> None:
    connection = await served.open()
    await connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert await connection.line() == b"HTTP/1.1 200 OK\r\n"

    async def drip() -> None:
        while True:
            await connection.send(b"a")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    with contextlib.suppress(ConnectionError):
        await connection.end()
    dripping.cancel()


async def test_who_takes_nothing_of_its_answer_is_given_up(served: Served) -> None:
    connection = await served.open()
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await connection.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: bool(served.seen), "it was asked")
    await until(lambda: not served.server.server_state.connections, "it was given up")
    connection.close()
