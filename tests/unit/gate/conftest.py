"""One open gate for a module of pictures; tests of the pool open their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from orchestrator.uploads import PhotoGate
from tests.unit.gate.files import MAX_PIXELS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[PhotoGate]:
    async with PhotoGate(MAX_PIXELS, processes=1) as gate:
        yield gate
