"""What the API answers while the queue or Redis is full; and which keys may be submitted again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from stack.redis import RedisServer
from tests.contract.test_full_redis import a_replica, full, without_its_replicas
from tests.support.api_server import Api, photo, problem, running_api

MAX_QUEUE = 2

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    async with running_api(redis.url, folder, REROOM_MAX_QUEUE=str(MAX_QUEUE)) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as opened:
        yield opened


async def send(api: Api, key: str = "") -> httpx2.Response:
    files = {"key": (None, key.encode())} if key else {"file": ("a.jpg", photo())}
    return await api.http.post("/transform/submit", files=files)


async def upload(api: Api) -> str:
    data = photo()
    offer = (await api.http.post("/uploads", json={"content_type": "image/jpeg", "size": len(data)})).json()
    put = await api.http.put(offer["url"], content=data, headers=offer["headers"])
    assert put.status_code == 200, put.text
    return str(offer["key"])


async def test_a_full_queue_names_how_many_wait_and_when_to_come_back(api: Api) -> None:
    key = await upload(api)
    answers = await asyncio.gather(*(send(api) for _ in range(10)))
    jobs = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    assert len(jobs) == MAX_QUEUE
    for refused in (*(answer for answer in answers if answer.status_code != 202), await send(api, key)):
        problem(refused, 503, "queue_full")
        assert "2 jobs wait" in refused.json()["detail"]
        assert 2 <= int(refused.headers["retry-after"]) <= 300
    assert len(api.stored()) == MAX_QUEUE + 1
    for job in jobs:
        assert (await api.http.delete(f"/transform/{job}")).status_code == 200
    assert len(api.stored()) == 1, "photos of cancelled jobs go at once"
    await api.take_back(await send(api, key))  # a refusal by our fault does not use the key up


async def test_a_full_queue_is_reported_before_the_photo_is_looked_at(api: Api) -> None:
    jobs = [(await send(api)).json()["job_id"] for _ in range(MAX_QUEUE)]
    answer = await api.http.post("/transform/submit", files={"file": ("a.jpg", b"no photo at all")})
    problem(answer, 503, "queue_full")
    for job in jobs:
        await api.http.delete(f"/transform/{job}")


@pytest.mark.parametrize("state", [full, a_replica, without_its_replicas])
async def test_health_is_down_when_jobs_are_not_taken(
    api: Api, client: Redis, state: Callable[[Redis], AbstractAsyncContextManager[None]]
) -> None:
    key = await upload(api)

    async def status() -> str:
        return str((await api.http.get("/health")).json()["services"]["redis"]["status"])

    async with state(client):
        problem(await send(api, key), 503, "unavailable")
        await until_async(status, "down")
        answer = await api.http.get("/health/ready")
        assert (answer.status_code, answer.json()["services"]["redis"]["status"]) == (503, "down")
    await until_async(status, "up")
    await api.take_back(await send(api, key))


async def until_async(ask: Callable[[], Awaitable[str]], wanted: str) -> None:
    async with asyncio.timeout(10):
        while await ask() != wanted:  # noqa: ASYNC110  (the API is another process)
            await asyncio.sleep(0.1)


async def test_many_who_ask_for_the_health_share_an_answer(api: Api, client: Redis) -> None:
    async def probes() -> int:
        stats = await client.info("commandstats")
        return int(stats["cmdstat_set"]["calls"])

    before = await probes()
    answers = await asyncio.gather(*(api.http.get("/health") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert await probes() - before <= 5
