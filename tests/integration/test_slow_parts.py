"""Every answer comes within a time, whatever is slow behind the API; and nothing is left of what was refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from measuring.s3_server import S3Server
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import Storage
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem, running_api, said
from tests.support.relay import Relay, relaying

ANSWER = 1.5
IN_TIME = 6.0
"""On a busy machine; what is slow here takes longer by far."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refused(api: Api, method: str, path: str, **options: object) -> None:
    """Asserts that 503 is answered in time."""
    async with asyncio.timeout(IN_TIME):
        answer = await api.http.request(method, path, **options)  # type: ignore[arg-type]
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "try again soon" in answer.json()["detail"]
    assert "no answer after" in said(api.log)


class Slow:
    """An API and the relay before what it needs, which may become slow; and its storage by the short way."""

    def __init__(self, api: Api, relay: Relay, storage: Storage) -> None:
        self.api, self.relay, self.storage = api, relay, storage

    @contextmanager
    def by(self, delay: float, slow: bytes = b"") -> Iterator[None]:
        self.relay.delay, self.relay.slow = delay, slow
        try:
            yield
        finally:
            self.relay.delay, self.relay.slow = 0.0, b""
            self.relay.cut()

    async def nothing_left(self) -> None:
        """Waits until neither a waiting job nor a picture is left."""
        for _ in range(300):
            kinds = ("uploads/", "results/")
            left = [key for kind in kinds async for key in self.storage.older(kind, -60)]
            if not left and (await self.api.store.stats()).queued == 0:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"left: {left}, {await self.api.store.stats()}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3_slow(
    redis: RedisServer, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Slow]:
    bucket, folder = s3.bucket(), tmp_path_factory.mktemp("s3")
    async with relaying(s3.url) as relay, s3.open(bucket) as storage:
        environment = {**s3.environment(bucket), "REROOM_ANSWER_SECONDS": str(ANSWER)}
        async with running_api(redis.url, folder, **environment | {"R2_ENDPOINT_URL": relay.url}) as api:
            yield Slow(api, relay, storage)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis_slow(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slow]:
    """Its Triton answers nothing at all."""

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    silent = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with silent, relaying(redis.url) as relay:
        settings = {
            "REROOM_TRITON_URL": f"127.0.0.1:{silent.sockets[0].getsockname()[1]}",
            "REROOM_ANSWER_SECONDS": str(ANSWER),
        }
        address = urlsplit(redis.url).netloc.rpartition("@")[2]
        url = redis.url.replace(address, urlsplit(relay.url).netloc)
        async with running_api(url, tmp_path_factory.mktemp("redis"), **settings) as api:
            yield Slow(api, relay, LocalStorage(api.storage_dir, UrlSigner(b"", "")))


async def test_submits_to_a_slow_s3(s3_slow: Slow) -> None:
    api, key = s3_slow.api, f"incoming/{'0' * 32}/photo"
    await s3_slow.storage.put(key, photo(), "image/jpeg")
    with s3_slow.by(4.0):
        await refused(api, "POST", "/transform/submit", files={"file": ("a.jpg", photo())})
        await refused(api, "POST", "/transform/submit", files={"key": (None, key.encode())})
    assert await s3_slow.storage.get(key) == photo(), "what was not submitted may be submitted again"
    await s3_slow.nothing_left()


async def test_a_slow_deletion_does_not_cost_an_accepted_job(s3_slow: Slow) -> None:
    api, key = s3_slow.api, f"incoming/{'1' * 32}/photo"
    await s3_slow.storage.put(key, photo(), "image/jpeg")
    # The upload is replaced by an empty object.
    with s3_slow.by(4.0, b"application/octet-stream"):
        async with asyncio.timeout(IN_TIME):
            answer = await api.http.post("/transform/submit", files={"key": (None, key.encode())})
    await api.take_back(answer)


async def test_a_job_that_a_slow_redis_queued_all_the_same_is_taken_back(redis_slow: Slow) -> None:
    api = redis_slow.api
    # Scripts and connections are there then.
    await api.http.delete(f"/transform/{await api.submit()}")
    await redis_slow.storage.delete_prefix("uploads/")
    # Queueing works, but the answer comes too late.
    with redis_slow.by(4.0, b"/original.jpg"):
        await refused(api, "POST", "/transform/submit", files={"file": ("a.jpg", photo())})
    await redis_slow.nothing_left()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", f"/transform/status/{'0' * 32}"), ("DELETE", f"/transform/{'0' * 32}")]
)
async def test_jobs_in_a_slow_redis(redis_slow: Slow, method: str, path: str) -> None:
    with redis_slow.by(4.0):
        await refused(redis_slow.api, method, path)


async def test_a_silent_triton(redis_slow: Slow) -> None:
    await refused(redis_slow.api, "POST", "/analyze", files={"file": ("a.jpg", photo())})


async def test_the_time_begins_with_the_bodys_end(redis_slow: Slow) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"content_type": "image/jpeg",'
        await asyncio.sleep(1.3 * ANSWER)
        yield b'"size": 5}'

    assert (await redis_slow.api.http.post("/uploads", content=slowly())).status_code == 201
