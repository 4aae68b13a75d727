"""Reading a request's body: within a time, and with a name for clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from orchestrator.api.errors import Problem

READ_SECONDS = 300


@asynccontextmanager
async def reading(gone: Problem) -> AsyncIterator[None]:
    """Stands around reading. Raises Problem after READ_SECONDS, and ``gone`` when the client goes away."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            yield
    except TimeoutError:
        raise Problem(408, "upload_too_slow", f"the upload took more than {READ_SECONDS} s") from None
    except InternalServerException:
        # Litestar's name for a client that went away; nobody reads this answer.
        raise gone from None


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """All of it; the server gives no more than Content-Length says. Raises Problem."""
    async with reading(Problem(400, "incomplete_body", "the connection ended before the body did")):
        return await request.body()


def address(request: Request[Any, Any, Any]) -> str | None:
    """Of the client, or of a proxy that does not name it."""
    return request.client.host if request.client else None
