"""The event hub over a real Redis: order, resuming, one connection, slow watchers, outages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore, hub
from orchestrator.domain.events import Completed, EventRecord, Step
from orchestrator.ports import JobStore, Lease
from stack.redis import RedisServer
from tests.support.jobs import a_job, claim, collect, result

EVENTS = 150


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisJobStore]:
    opened = RedisJobStore(server.url)
    yield opened
    await opened.aclose()


async def publish_all(store: JobStore, lease: Lease, pause: float = 0.002) -> None:
    for number in range(1, EVENTS + 1):
        await store.publish(lease, number, Step(step=number, of=EVENTS, progress=number / EVENTS))
        await asyncio.sleep(pause)
    await store.finish(lease, Completed(result=result()))


def steps(seen: list[EventRecord]) -> list[int]:
    return [record.event.step for record in seen if isinstance(record.event, Step)]


async def test_watchers_that_attach_at_any_moment_miss_nothing(store: RedisJobStore) -> None:
    leases = [await claim(store, job=a_job()) for _ in range(3)]
    publishing = [asyncio.create_task(publish_all(store, lease)) for lease in leases]
    watching = []
    for index in range(60):
        watching.append(asyncio.create_task(collect(store, leases[index % 3].job.id)))
        await asyncio.sleep(0.005)
    for seen in await asyncio.wait_for(asyncio.gather(*watching), 20):
        assert steps(seen) == list(range(1, EVENTS + 1))
        assert isinstance(seen[-1].event, Completed)
    await asyncio.gather(*publishing)


async def test_a_watcher_that_comes_and_goes_sees_every_event_once(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    publishing = asyncio.create_task(publish_all(store, lease))
    seen: list[EventRecord] = []
    while not seen or not isinstance(seen[-1].event, Completed):
        async with aclosing(store.events(lease.job.id, seen[-1].seq if seen else "0-0")) as events:
            async for record in events:
                seen.append(record)
                if len(seen) % 7 == 0:
                    break
    assert steps(seen) == list(range(1, EVENTS + 1))
    await publishing


async def test_one_reading_connection_however_many_watchers(
    store: RedisJobStore, server: RedisServer
) -> None:
    leases = [await claim(store, job=a_job()) for _ in range(20)]
    watching = [asyncio.create_task(collect(store, lease.job.id)) for lease in leases for _ in range(5)]
    await asyncio.sleep(0.5)
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        reading = [each for each in await client.client_list() if each["cmd"] == "xread"]
    assert len(reading) == 1
    began = time.monotonic()
    for lease in leases:
        await store.finish(lease, Completed(result=result()))
    await asyncio.wait_for(asyncio.gather(*watching), 10)
    assert time.monotonic() - began < 5


async def test_a_new_watcher_is_served_at_once(store: RedisJobStore) -> None:
    """And not when the read that blocks at the time ends."""
    idle, busy = [await claim(store, job=a_job()) for _ in range(2)]
    watching_idle = asyncio.create_task(collect(store, idle.job.id))
    await asyncio.sleep(0.3)
    watching = asyncio.create_task(collect(store, busy.job.id))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await store.finish(busy, Completed(result=result()))
    await asyncio.wait_for(watching, 5)
    assert time.monotonic() - began < 1.5
    await store.finish(idle, Completed(result=result()))
    await watching_idle


async def test_a_watcher_too_slow_for_its_queue_misses_nothing(
    store: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "QUEUE_LIMIT", 10)
    lease = await claim(store, job=a_job())
    publishing = asyncio.create_task(publish_all(store, lease, pause=0))
    seen = []
    async for record in store.events(lease.job.id, "0-0"):
        seen.append(record)
        await asyncio.sleep(0.005)
    assert steps(seen) == list(range(1, EVENTS + 1))
    await publishing


async def test_an_outage_of_redis_loses_and_repeats_nothing(
    store: RedisJobStore, server: RedisServer
) -> None:
    lease = await claim(store, job=a_job())
    watching = asyncio.create_task(collect(store, lease.job.id))
    for number in range(1, 41):
        if number % 10 == 0:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await store.publish(lease, number, Step(step=number, of=40, progress=number / 40))
    await store.finish(lease, Completed(result=result()))
    assert steps(await asyncio.wait_for(watching, 20)) == list(range(1, 41))


async def test_a_watcher_of_an_erased_job_ends(store: RedisJobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CHECK_EVERY", 0.2)
    lease = await claim(store, job=a_job())
    watching = asyncio.create_task(collect(store, lease.job.id, "9999999999999-0"))
    await asyncio.sleep(0.1)
    store._hub._positions.pop(store._keys.events + lease.job.id)  # so that it misses the terminal event
    await store.finish(lease, Completed(result=result()))
    await store.erase(lease.job.id)
    assert await asyncio.wait_for(watching, 5) == []


async def test_watchers_can_be_cancelled_at_any_moment(store: RedisJobStore) -> None:
    lease = await claim(store, job=a_job())
    for index in range(60):
        watching = asyncio.create_task(collect(store, lease.job.id))
        await asyncio.sleep(index * 0.0001)
        watching.cancel()
        done, _ = await asyncio.wait([watching], timeout=3)
        assert done
    assert not store._hub._subscribers


async def test_readings_whose_replies_come_out_of_order_lose_nothing(
    store: RedisJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await claim(store, job=a_job())
    read, go_on = asyncio.Event(), asyncio.Event()
    call = store._hub._call

    async def late_once(name: str, **args: object) -> object:
        first = not read.is_set() and name == "catch_up"
        reply = await call(name, **args)
        if first:
            read.set()
            await go_on.wait()
        return reply

    monkeypatch.setattr(store._hub, "_call", late_once)
    late = asyncio.create_task(collect(store, lease.job.id))
    await read.wait()
    await store.publish(lease, 1, Step(step=1, of=2, progress=0.5))
    prompt = asyncio.create_task(collect(store, lease.job.id))
    await asyncio.sleep(0.3)
    go_on.set()
    await store.publish(lease, 2, Step(step=2, of=2, progress=0.9))
    await store.finish(lease, Completed(result=result()))
    for seen in await asyncio.wait_for(asyncio.gather(late, prompt), 10):
        assert steps(seen) == [1, 2]
