"""Submitting a photo: every bad form is named, whatever it holds, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem, running_api
from tests.support.running_stack import until

BOUNDARY = "a-boundary"
MAX_UPLOAD = 200_000
GIVEN_UP = "POST /transform/submit 400"
"""What the API logs for a form that ends too soon."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    async with running_api(redis.url, folder, REROOM_MAX_UPLOAD_BYTES=str(MAX_UPLOAD)) as api:
        yield api


def part(name: str, data: bytes, *, headers: bytes = b"", filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\n".encode() + headers + b"\r\n" + data + b"\r\n"


async def post(api: Api, body: Any, boundary: str = BOUNDARY) -> httpx2.Response:
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return await api.http.post("/transform/submit", content=body, headers=headers)


FILE = part("file", photo(), filename="../../etc/passwd")
END = f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (END, 422, "missing_file", "file"),
        (part("style", b"boho") + END, 422, "missing_file", "file"),
        (part("image", photo(), filename="a.jpg") + END, 422, "unknown_field", "image"),
        (FILE + FILE + END, 422, "duplicate_field", "file"),
        (part("file", b"", filename="") + END, 422, "empty_file", "file"),
        (part("file", b"hello") + END, 415, "unsupported_image", "file"),
        (part("file", photo()[:300], filename="a.jpg") + END, 422, "broken_image", "file"),
        (part("file", photo((63, 63)), filename="a.jpg") + END, 422, "image_too_small", "file"),
        (FILE + part("style", b"gothic") + END, 422, "unknown_style", "style"),
        (FILE + part("style", b"\xff\xfe") + END, 422, "unknown_style", "style"),
        (FILE + part("style", b"x" * 1000) + END, 413, "body_too_large", "style"),
        (FILE + part("preferences", b"{") + END, 422, "invalid_preferences", "preferences"),
        (FILE + part("preferences", b"\xff") + END, 422, "invalid_preferences", "preferences"),
        (FILE + part("preferences", b"[" * 60_000) + END, 422, "invalid_preferences", "preferences"),
        (FILE + part("preferences", b'{"steps": 0}') + END, 422, "invalid_preferences", "preferences.steps"),
        (FILE + part("style", b"") + END, 422, "unknown_style", "style"),
        (part("K\xfcche", b"", filename="a") + END, 422, "unknown_field", "K\xfcche"),
        (part("file", photo(), filename="a\r\nb") + END, 400, "malformed_form", "body"),
        (part("file", photo(), filename="x" * 20_000) + END, 400, "malformed_form", "body"),
        (FILE + part("keep_mask", b"hello", filename="m") + END, 415, "unsupported_image", "keep_mask"),
        (FILE + part("reference", b"hello", filename="r") + END, 415, "unsupported_image", "reference"),
        (FILE + part("keep_mask", photo((64, 200)), filename="m") + END, 422, "mask_mismatch", "keep_mask"),
        (FILE, 400, "malformed_form", "body"),
        (b"", 400, "malformed_form", "body"),
        (b"neither form nor picture" * 10, 400, "malformed_form", "body"),
        (part("file", b"\xff\xd8\xff" + bytes(MAX_UPLOAD)) + END, 413, "body_too_large", "file"),
    ],
)
async def test_bad_forms_are_named_and_leave_nothing(
    api: Api, body: bytes, status: int, code: str, field: str
) -> None:
    files, waiting = api.stored(), (await api.store.stats()).queued
    problem(await post(api, body), status, code, field)
    assert api.stored() == files
    assert (await api.store.stats()).queued == waiting


async def test_odd_but_harmless_forms_are_taken(api: Api) -> None:
    style = part("style", b"boho", headers=b"Content-Type: text/plain; charset=no-such-charset\r\n")
    for body in (FILE + END, part("file", photo()) + END, FILE + style + END):
        await api.take_back(await post(api, body))
    assert not [path for path in api.stored() if "passwd" in path.name]


async def test_an_endless_header_is_refused(api: Api) -> None:
    reader, writer = await api.connect(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000)
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"headers_too_large" in answer
    writer.close()
    await writer.wait_closed()
    assert log_lines(api, "refused 127.0.0.1: 431") == 1
    assert log_lines(api, "Invalid HTTP request") == 0


async def test_other_bodies_are_refused(api: Api) -> None:
    problem(await api.http.post("/transform/submit", json={}), 415, "unsupported_media_type", "content-type")
    problem(await post(api, FILE + END, boundary=""), 400, "malformed_form", "body")


async def test_a_body_announced_too_large_is_refused_before_it_is_sent(api: Api) -> None:
    reader, writer = await api.connect(
        b"POST /transform/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_grows_too_large_is_refused(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield part("file", b"\xff\xd8\xff")[:-2]
        for _ in range(64):
            yield bytes(16 * 1024)

    problem(await post(api, chunks()), 413, "body_too_large", "file")


async def test_a_client_that_goes_away_leaves_nothing(api: Api) -> None:
    files, answered = api.stored(), log_lines(api, GIVEN_UP)
    _, writer = await api.connect(
        b"POST /transform/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n"
        b"Content-Type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n\r\n" + FILE
    )
    writer.close()
    await writer.wait_closed()
    await until(lambda: log_lines(api, GIVEN_UP) > answered, "the API saw the connection end")
    assert api.stored() == files


def log_lines(api: Api, words: str) -> int:
    return api.log.read_text().count(words)
