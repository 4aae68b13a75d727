"""A Redis of every generation that jobs must run on, and a store of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from stack.redis import RedisServer
from tests.support.clock import Clock
from tests.support.servers import redis_binaries

LEASE = 0.6
"""Seconds."""
prefixes = (f"t{number}:" for number in itertools.count())


@pytest.fixture(scope="module", params=["7", "6.2"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = redis_binaries()[request.param]
    if binary is None:
        pytest.skip(f"no redis-server {request.param} here")
    with RedisServer(tmp_path_factory.mktemp("redis"), binary=binary) as running:
        yield running


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisJobStore]:
    opened = RedisJobStore(server.url, prefix=next(prefixes), lease_seconds=LEASE, job_ttl=60)
    yield opened
    await opened.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(server: RedisServer, clock: Clock) -> AsyncIterator[RedisJobStore]:
    """A store whose time is ``clock``'s."""
    opened = RedisJobStore(server.url, prefix=next(prefixes), lease_seconds=600, clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as opened:
        yield opened
