"""A photo by its URL: fetched like an upload, from the internet alone, and refused with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
import pytest_asyncio

import reroom
from orchestrator.adapters.redis import RedisOnceStore
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.domain.preferences import Preferences
from orchestrator.egress.guarded import Guarded
from orchestrator.photos.gate import PhotoRejected
from orchestrator.ports import Begun
from orchestrator.services.submitting import once
from orchestrator.services.submitting.fetching import PhotoFetcher
from orchestrator.services.submitting.submissions import PhotoUrl, Submission
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem, running_api
from tests.support.gate.files import encoded, picture

MAX_UPLOAD = 200_000
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Pictures:
    """A site with pictures and traps. ``{here}`` in a header is its address."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0
        jpeg = photo()
        self.pages = {
            "/room.jpg": self._answer(200, jpeg, "Content-Type: image/jpeg"),
            "/lies": self._answer(200, jpeg, "Content-Type: text/html"),
            "/page": self._answer(200, b"<html>", "Content-Type: image/jpeg"),
            "/empty": self._answer(200, b""),
            "/missing": self._answer(404, b""),
            "/partial": self._answer(206, jpeg[:100]),
            "/packed": self._answer(200, jpeg, "Content-Encoding: gzip"),
            "/large": self._answer(200, jpeg + bytes(MAX_UPLOAD)),
            "/endless": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"fff\r\n"
            + bytes(4095)
            + b"\r\n",
            "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + jpeg,
            "/3": self._to("/2"),
            "/2": self._to("http://127.0.0.1:{port}/1"),
            "/1": self._to("//127.0.0.1:{port}/room.jpg"),
            "/4": self._to("/3"),
            "/loop": self._to("/loop"),
            "/inside": self._to("http://169.254.169.254/latest/meta-data"),
            "/file": self._to("file:///etc/passwd"),
            "/no-url": self._to("http://["),
            "/no-host": self._to("//[x]/"),
        }

    def _answer(self, status: int, body: bytes, *headers: str) -> bytes:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _to(self, url: str) -> bytes:
        return self._answer(302, b"", f"Location: {url}")

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
            self.asked.append(path)
            if path == "/slow":
                await asyncio.sleep(20)
            page = self.pages.get(path, b"").replace(b"{port}", str(self.port).encode())
            writer.write(page)
            await writer.drain()
            if path == "/endless":
                while True:
                    writer.write(b"fff\r\n" + bytes(4095) + b"\r\n")
                    await writer.drain()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Pictures]:
    pictures = Pictures()
    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.create_task(pictures.handle(reader, writer)))
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    pictures.port = server.sockets[0].getsockname()[1]
    yield pictures
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.wait_closed()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    ours = {
        "REROOM_MAX_UPLOAD_BYTES": str(MAX_UPLOAD),
        "REROOM_EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
        "REROOM_EGRESS_PORTS": "*",
    }
    async with running_api(redis.url, tmp_path_factory.mktemp("api"), **ours) as api:
        yield api


async def submit(api: Api, url: str, **more: str) -> httpx2.Response:
    return await api.http.post("/transform/submit", files={"image_url": (None, url), **_form(more)})


def _form(fields: dict[str, str]) -> dict[str, tuple[None, str]]:
    return {name: (None, value) for name, value in fields.items()}


async def test_a_photo_is_fetched(api: Api, site: Pictures) -> None:
    site.asked.clear()
    for path in ("/room.jpg", "/lies", "/1", "/3"):
        answer = await submit(api, site.url(path), style="boho")
        assert answer.status_code == 202, answer.text
        job = await api.store.get(answer.json()["job_id"])
        assert any(path.read_bytes().startswith(b"\xff\xd8") for path in api.stored() if job.id in str(path))
        assert job.style == "boho"
    assert site.asked == ["/room.jpg", "/lies", "/1", "/room.jpg", "/3", "/2", "/1", "/room.jpg"]
    body = {"image_url": site.url("/room.jpg"), "style": "modern"}
    answer = await api.http.post("/transform/submit-upload", json=body)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/page", 415, "unsupported_image"), ("/empty", 422, "empty_file"), ("/missing", 422, "url_unreachable"),
        ("/partial", 422, "url_unreachable"), ("/packed", 422, "url_unreachable"), ("/cut", 422, "url_unreachable"),
        ("/large", 413, "body_too_large"), ("/endless", 413, "body_too_large"), ("/nothing", 422, "url_unreachable"),
        ("/4", 422, "url_unreachable"), ("/loop", 422, "url_unreachable"), ("/inside", 422, "url_not_allowed"),
        ("/file", 422, "invalid_url"), ("/no-url", 422, "invalid_url"), ("/no-host", 422, "invalid_url"),
    ],
)  # fmt: skip
async def test_what_is_no_photo_is_refused(
    api: Api, site: Pictures, path: str, status: int, code: str
) -> None:
    before = set(api.stored())
    problem(await submit(api, site.url(path)), status, code, "image_url")
    assert set(api.stored()) == before, "nothing is left behind"


async def test_the_same_request_is_done_once(api: Api, site: Pictures) -> None:
    site.asked.clear()
    form = _form({"image_url": site.url("/room.jpg")})
    headers = {"Idempotency-Key": "fetch-once"}
    first, second = [await api.http.post("/transform/submit", files=form, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    assert site.asked == ["/room.jpg"]
    other = _form({"image_url": site.url("/lies")})
    answer = await api.http.post("/transform/submit", files=other, headers=headers)
    problem(answer, 422, "idempotency_key_reused", "idempotency-key")


async def test_a_photo_that_changed_after_a_try_that_died_is_taken(
    api: Api, site: Pictures, redis: RedisServer
) -> None:
    url, key = site.url("/room.jpg"), "fetch-again"
    fingerprint = Submission(PhotoUrl(url), "modern", Preferences()).fingerprint()
    dead = RedisOnceStore(redis.url, prefix=f"test-{api.base_url.rpartition(':')[2]}:")
    begun = await dead.begin(once._name("", key), fingerprint, "dead", lock_seconds=60, seconds=60)
    assert isinstance(begun, Begun)
    await dead.interrupt(once._name("", key), "dead")
    await dead.aclose()
    storage = LocalStorage(api.storage_dir, UrlSigner(b"", ""))
    original = f"uploads/{begun.id}/original.jpg"
    await storage.put(original, b"as it was", "image/jpeg")
    answer = await api.http.post(
        "/transform/submit", files=_form({"image_url": url}), headers={"Idempotency-Key": key}
    )
    assert (answer.status_code, answer.json().get("job_id")) == (202, begun.id), answer.text
    assert (await storage.get(original)).startswith(b"\xff\xd8")


async def test_the_client_names_urls_and_uploads_heic(api: Api, site: Pictures) -> None:
    async with reroom.AsyncClient(api.base_url) as client:
        where = reroom.PhotoUrl(site.url("/room.jpg"))
        submitted = await client.submit(where, "boho")
        assert (await api.store.get(submitted.job_id)).style == "boho"
        heic = await client.upload(encoded(picture(), "HEIF"))
        items = [reroom.BatchItem(photo=photo) for photo in (where, heic, encoded(picture(), "AVIF"))]
        answers = await client.submit_batch(items)
        assert [type(answer) for answer in answers] == [reroom.Submitted] * 3, answers
        with pytest.raises(reroom.InvalidRequest) as refused:
            await client.submit(reroom.PhotoUrl("http://10.0.0.1/room.jpg"))
    assert (refused.value.code, refused.value.field) == ("url_not_allowed", "image_url")


async def test_one_way_to_give_a_photo(api: Api, site: Pictures) -> None:
    both: dict[str, Any] = {"file": photo(), **_form({"image_url": site.url("/room.jpg")})}
    problem(await api.http.post("/transform/submit", files=both), 422, "file_and_key", "image_url")
    for body, field in (
        ({"key": "a", "image_url": "b"}, "image_url"),
        ({"image_url": 5}, "image_url"),
        ({}, "key"),
    ):
        answer = await api.http.post("/transform/submit-upload", json=body)
        code = "file_and_key" if len(body) == 2 else "missing_file"
        problem(answer, 422, code, field)
    problem(await submit(api, "http://10.0.0.1/room.jpg"), 422, "url_not_allowed", "image_url")
    problem(await submit(api, "room.jpg"), 422, "invalid_url", "image_url")
    items = {"items": [{"image_url": "https://example.org/" + "a" * 2048}]}
    problem(await api.http.post("/transform/batch", json=items), 422, "invalid_url", "items[0].image_url")
    assert json.loads((await api.http.get("/schema")).text)["components"]["schemas"]["SubmitUpload"]["oneOf"]


async def test_a_slow_site_is_given_up(site: Pictures) -> None:
    async with Guarded(exceptions=[ip_network("127.0.0.1/32")]) as guarded:
        with pytest.raises(PhotoRejected, match=r"within 0\.2 s") as refused:
            await PhotoFetcher(guarded, seconds=0.2).fetch(site.url("/slow"), 1000)
    assert refused.value.field == "image_url"


async def test_bytes_are_counted_before_they_are_kept(site: Pictures) -> None:
    class Full(Exception):
        pass

    def refuse(count: int) -> None:
        raise Full

    async with Guarded(exceptions=[ip_network("127.0.0.1/32")]) as guarded:
        with pytest.raises(Full):
            await PhotoFetcher(guarded).fetch(site.url("/room.jpg"), 10**6, refuse)
