"""The contract of Rates, over every Redis that it must run on, with a simulation's clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from orchestrator.adapters.redis import RedisRates
from orchestrator.ports import RateLimit, Unavailable
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1_795_000_000.0)


@pytest.fixture
async def rates(server: RedisServer, clock: Clock) -> AsyncIterator[RedisRates]:
    opened = RedisRates(server.url, prefix=next(prefixes), clock=clock)
    yield opened
    await opened.aclose()


def a_limit(quota: int, seconds: int = 60, of: str = "me") -> RateLimit:
    return RateLimit(name="key-minute", of=f"{of}:{seconds}", quota=quota, seconds=seconds)


async def test_a_limit_counts_down_and_opens_again(rates: RedisRates, clock: Clock) -> None:
    limit = a_limit(3)
    taken = [(await rates.take([limit]))[0] for _ in range(5)]
    assert [state.remaining for state in taken] == [2, 1, 0, 0, 0]
    assert [state.refused for state in taken] == [False, False, False, True, True]
    reset = taken[-1].reset
    assert 60 <= reset <= 61
    clock.now += reset - 1
    assert (await rates.take([limit]))[0].refused
    clock.now += 1
    assert (await rates.take([limit]))[0].remaining == 2


async def test_a_request_counts_for_all_of_its_limits_or_for_none(rates: RedisRates) -> None:
    narrow, wide, other = a_limit(1), a_limit(9, 3600), a_limit(9, of="another")
    await rates.take([narrow, wide])
    for _ in range(5):
        states = await rates.take([wide, narrow])
        assert [(state.refused, state.remaining) for state in states] == [(False, 8), (True, 0)]
    assert [state.remaining for state in await rates.take([wide, other])] == [7, 8]
    assert await rates.take([]) == []


async def test_no_stretch_of_time_has_more_than_the_quota(rates: RedisRates, clock: Clock) -> None:
    chance, quota, granted = random.Random(7), 10, list[float]()
    for _ in range(600):
        clock.now += chance.choice([0.0, 0.1, 0.9, 3.0, 29.0])
        if not (await rates.take([a_limit(quota)]))[0].refused:
            granted.append(clock.now)
    assert all(later - earlier > 60 for earlier, later in zip(granted, granted[quota:], strict=False))
    # A sixtieth of the minute is how much stricter than that it may be.
    assert any(later - earlier < 61.1 for earlier, later in zip(granted, granted[quota:], strict=False))


async def test_many_at_once_get_no_more(server: RedisServer) -> None:
    prefix, limit = next(prefixes), a_limit(50)
    several = [RedisRates(server.url, prefix=prefix) for _ in range(4)]
    states = await asyncio.gather(*(rates.take([limit]) for rates in several for _ in range(40)))
    assert sum(not refused.refused for (refused,) in states) == 50
    await asyncio.gather(*(rates.aclose() for rates in several))


async def test_what_is_remembered_stays_small_and_goes(
    server: RedisServer, rates: RedisRates, clock: Clock
) -> None:
    limit = a_limit(10**6, of="small")
    for _ in range(200):
        clock.now += 0.7
        await rates.take([limit])
    client = rates._client
    (key,) = [name async for name in client.scan_iter(match="*:rate:small:60")]
    assert await client.hlen(key) <= 62
    assert 60 <= await client.ttl(key) <= 63


async def test_without_redis_the_store_is_unavailable() -> None:
    rates = RedisRates("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await rates.take([a_limit(1)])
    await rates.aclose()


async def test_a_count_does_not_wait_for_the_disk(server: RedisServer, rates: RedisRates) -> None:
    limit = a_limit(10, of="memory")
    await rates.take([limit])
    info = await rates._client.info("persistence")
    before = info["aof_current_size"]
    for _ in range(5):
        await rates.take([limit])
    assert (await rates._client.info("persistence"))["aof_current_size"] == before
