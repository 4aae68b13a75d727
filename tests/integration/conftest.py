"""A Redis for each module, and the API over it with default settings; modules may have an API of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from reroom.triton import TritonClient
from stack.redis import RedisServer
from stack.triton import TritonServer
from tests.support.api_server import Api, running_api


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def client(triton: TritonServer) -> AsyncIterator[TritonClient]:
    """Of the Triton with the whole model repository; modules may have a client of another server."""
    async with TritonClient(triton.grpc) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running_api(redis.url, tmp_path_factory.mktemp("api")) as api:
        yield api
