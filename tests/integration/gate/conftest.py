"""One open gate for a module of pictures; tests of the pool open their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.files import MAX_PIXELS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[PhotoGate]:
    async with PhotoGate(MAX_PIXELS, processes=1) as gate:
        yield gate


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The pool runs on uvloop, as it does in the API; how processes are started and end is the loop's work."""
    if item.path.name == "test_pool.py":
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
