"""Clients that send their uploads slowly, or many of them: what they hold, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from orchestrator.api.requests import reading
from orchestrator.app import create_app
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support.api_server import ADMIN_TOKEN, photo, problem, serving

MAX_UPLOAD = 200_000
UPLOADS = 16
"""Of the largest size, for which there is room."""
GRACE = 0.5


class Bench:
    """The API, and connections that send slowly. 127.0.0.1 is a proxy that may name its clients."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self._slow: list[asyncio.StreamWriter] = []

    async def offer(self, size: int) -> str:
        answer = await self.http.post("/uploads", json={"content_type": "image/jpeg", "size": size})
        assert answer.status_code == 201, answer.text
        url = urlsplit(answer.json()["url"])
        return f"{url.path}?{url.query}"

    async def put(self, size: int, client: str) -> httpx2.Response:
        headers = {"Content-Type": "image/jpeg", "X-Forwarded-For": client}
        return await self.http.put(await self.offer(size), content=bytes(size), headers=headers)

    async def begin(
        self,
        method: str,
        path: str,
        content_type: str,
        size: int,
        client: str = "192.0.2.1",
        sent: bytes = b"",
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request whose body has ``size`` bytes, of which some were sent."""
        url = self.http.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        self._slow.append(writer)
        lines = (
            f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}",
            f"Content-Length: {size}", f"X-Forwarded-For: {client}", f"X-API-Key: {ADMIN_TOKEN}", "", "",
        )  # fmt: skip
        writer.write("\r\n".join(lines).encode() + sent)
        await writer.drain()
        return reader, writer

    async def begin_put(self, size: int, sent: int, client: str = "192.0.2.1") -> asyncio.StreamReader:
        path = await self.offer(size)
        return (await self.begin("PUT", path, "image/jpeg", size, client, bytes(sent)))[0]

    async def close(self) -> None:
        for writer in self._slow:
            writer.transport.abort()
        await asyncio.sleep(0.05)


@pytest.fixture
async def bench(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Bench]:
    settings = Settings.model_validate(
        {
            "redis_url": redis.url,
            "signing_key": "a signing key for the tests",
            "storage_dir": tmp_path,
            "max_upload_bytes": MAX_UPLOAD,
            "trusted_proxies": "127.0.0.1",
            "admin_token": ADMIN_TOKEN,
        }
    )
    async with serving(create_app(settings)) as http:
        # Open mode is not for clients whom a proxy names.
        http.headers["X-API-Key"] = ADMIN_TOKEN
        bench = Bench(http)
        yield bench
        await bench.close()


async def answer(reader: asyncio.StreamReader) -> httpx2.Response:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:-2]
        headers = httpx2.Headers(
            [(name, value) for line in lines for name, _, value in [line.partition(": ")]]
        )
        body = await reader.readexactly(int(headers["content-length"]))
    return httpx2.Response(int(head.split()[1]), headers=headers, content=body)


async def test_uploads_that_send_nothing_block_no_others(bench: Bench) -> None:
    for _ in range(2 * UPLOADS):
        await bench.begin_put(MAX_UPLOAD, 0, client="127.0.0.1")
    assert (await bench.put(MAX_UPLOAD, "192.0.2.9")).status_code == 200
    files = {"file": ("a.jpg", photo())}
    assert (await bench.http.post("/transform/submit", files=files)).status_code == 202


@pytest.mark.parametrize("path", ["/transform/submit", "/analyze", "/uploads", "/files"])
async def test_who_sends_too_slowly_is_given_up(
    bench: Bench, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GRACE_SECONDS", GRACE)
    if path == "/files":
        reader = await bench.begin_put(MAX_UPLOAD, 100)
    else:
        begun = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        reader, _ = await bench.begin("POST", path, "multipart/form-data; boundary=x", 4000, sent=begun)
    refused = await answer(reader)
    problem(refused, 408, "upload_too_slow")
    assert "8 kB a second" in refused.json()["detail"]
    assert refused.headers["connection"] == "close"


async def test_who_sends_steadily_may_take_longer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GRACE_SECONDS", GRACE)
    path = await bench.offer(MAX_UPLOAD)
    reader, writer = await bench.begin("PUT", path, "image/jpeg", MAX_UPLOAD)
    for _ in range(10):
        writer.write(bytes(MAX_UPLOAD // 10))
        await asyncio.sleep(2 * GRACE / 10)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_a_fast_client_that_falls_silent_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SILENT_SECONDS", GRACE)
    problem(await answer(await bench.begin_put(MAX_UPLOAD, MAX_UPLOAD - 1)), 408, "upload_too_slow")


async def test_one_client_holds_a_share_only(bench: Bench) -> None:
    one, other = "192.0.2.1", "192.0.2.2"

    async def put_until(status: int) -> httpx2.Response:
        """Until the server has read, or given back, what was sent before."""
        for _ in range(200):
            answer = await bench.put(MAX_UPLOAD, one)
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.05)
        raise AssertionError(f"never {status}")

    for _ in range(UPLOADS // 4):
        await bench.begin_put(MAX_UPLOAD, MAX_UPLOAD - 1, one)
    refused = await put_until(429)
    problem(refused, 429, "too_many_uploads")
    assert int(refused.headers["retry-after"]) > 0
    assert (await bench.put(MAX_UPLOAD, other)).status_code == 200
    await bench.close()
    await put_until(200)
