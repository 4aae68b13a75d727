"""A Redis that takes no writes: what is refused, that it shows, and that jobs which are there run to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Failed, Preview, Step
from orchestrator.domain.job import MAX_DELIVERIES, JobError, JobState
from orchestrator.ports import Reservation, Unavailable
from stack.redis import RedisServer
from tests.support.jobs import a_job, claim, collect, result
from tests.support.servers import free_port

BROKEN = JobError(code="model_error", detail="The model broke.")


@asynccontextmanager
async def _configured(
    client: redis.asyncio.Redis, name: str, value: str, usual: str = "0"
) -> AsyncIterator[None]:
    await client.config_set(name, value)
    try:
        yield
    finally:
        await client.config_set(name, usual)


def full(client: redis.asyncio.Redis) -> AbstractAsyncContextManager[None]:
    return _configured(client, "maxmemory", "300kb")


def without_its_replicas(client: redis.asyncio.Redis) -> AbstractAsyncContextManager[None]:
    return _configured(client, "min-replicas-to-write", "1")


@asynccontextmanager
async def a_replica(client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """As after a failover that clients have not noticed."""
    await client.replicaof("127.0.0.1", free_port())
    try:
        yield
    finally:
        await client.replicaof("NO", "ONE")


@pytest.mark.parametrize("state", [full, a_replica, without_its_replicas])
async def test_what_is_new_is_refused_and_the_probe_says_so(
    store: RedisJobStore,
    client: redis.asyncio.Redis,
    state: Callable[[redis.asyncio.Redis], AbstractAsyncContextManager[None]],
) -> None:
    await store.probe()
    reservation = Reservation(name="k", owner="o", seconds=9)
    async with state(client):
        await store.ping()
        for call in (store.probe(), store.submit(a_job()), store.reserve(reservation, 9)):
            with pytest.raises(Unavailable):
                await call
    await store.probe()
    await store.submit(a_job())


async def test_a_replica_without_its_master_and_anothers_endless_script_are_outages(
    server: RedisServer, store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    await store.submit(job := a_job())
    async with _configured(client, "replica-serve-stale-data", "no", "yes"), a_replica(client):
        for call in (store.probe(), store.get(job.id), store.claim("w", 0)):
            with pytest.raises(Unavailable):
                await call
    await client.config_set("lua-time-limit", "100")
    endless: asyncio.Future[Any] = asyncio.ensure_future(client.eval("while true do end", 0))
    await asyncio.sleep(0.3)
    with pytest.raises(Unavailable, match="BUSY"):
        await store.get(job.id)
    async with redis.asyncio.Redis.from_url(server.url) as other:
        await other.script_kill()
    with pytest.raises(redis.exceptions.ResponseError):
        await endless
    assert (await store.get(job.id)).status == JobState.QUEUED


async def test_jobs_run_and_end_while_redis_is_full(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    running, waiting, unwanted, used = [a_job() for _ in range(4)]
    reservation = Reservation(name="k", owner="o", seconds=9)
    assert await store.reserve(reservation, 9)
    first = await claim(store, job=running)
    for job in (waiting, unwanted, used):
        await store.submit(job)
    async with full(client):
        watching = asyncio.create_task(collect(store, running.id))
        await store.renew(first)
        await store.publish(first, 1, Step(step=1, of=2, progress=0.5))
        await store.publish(first, 2, Preview(step=1, jpeg="x" * 6000, progress=0.5))
        await store.finish(first, Completed(result=result()))
        seen = await asyncio.wait_for(watching, 5)
        assert [type(record.event) for record in seen[-3:]] == [Step, Preview, Completed]
        await store.cancel(unwanted.id)
        second = await claim(store)
        await store.release(second)
        for _ in range(MAX_DELIVERIES):
            second = await claim(store, "w2")
            assert second.job.id == waiting.id
            await store.retry(second, BROKEN, 0)
        await store.decline(await claim(store), ["a test"])
        await store.sweep("w")
        await store.free(reservation)
        assert sorted(await store.to_clean()) == sorted([unwanted.id, waiting.id])
        await store.cleaned([unwanted.id, waiting.id])
        await store.erase(running.id)
    assert isinstance((await collect(store, waiting.id))[-1].event, Failed)
    assert (await store.get(used.id)).status == JobState.QUEUED
    stats = await store.stats()
    assert (stats.queued, stats.running, stats.declined, stats.dead_letters) == (0, 0, 1, 1)
