"""Reading a request's body: as it comes, within a time, and with a name for clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from orchestrator.api.budget import CountBytes
from orchestrator.api.errors import Problem
from orchestrator.domain.codes import ProblemCode

READ_SECONDS = 300.0
GRACE_SECONDS = 10.0
LEAST_RATE = 8_000
"""Bytes a second, on average since the body began, that a client must send after GRACE_SECONDS."""
SILENT_SECONDS = 30.0
"""How long a client that was fast until then may send nothing."""

INCOMPLETE = Problem(ProblemCode.INCOMPLETE_BODY, "the connection ended before the body did")
_TOO_SLOW = (
    f"the upload was too slow: at least {LEAST_RATE // 1000} kB a second must come, without a pause of more than "
    f"{SILENT_SECONDS:g} s, and all of it within {READ_SECONDS:g} s"
)


async def pieces(
    request: Request[Any, Any, Any], count_bytes: CountBytes, gone: Problem
) -> AsyncGenerator[bytes, None]:
    """The body, counted with ``count_bytes``; raises Problem, which is ``gone`` when the client goes away.

    The server gives no more than Content-Length says, and Litestar no more than the app's or the route's
    ``request_max_body_size``.
    """
    clock = asyncio.get_running_loop().time
    began, received = clock(), 0
    try:
        async with aclosing(request.stream()) as stream:
            while True:
                by_rate = began + GRACE_SECONDS + received / LEAST_RATE
                deadline = min(by_rate, clock() + SILENT_SECONDS, began + READ_SECONDS)
                async with asyncio.timeout_at(deadline):
                    piece = await anext(stream, None)
                if piece is None:
                    return
                received += len(piece)
                count_bytes(len(piece))
                yield piece
    except TimeoutError:
        # Or the connection would wait for the rest of it.
        close = {"Connection": "close"}
        raise Problem(ProblemCode.UPLOAD_TOO_SLOW, _TOO_SLOW, headers=close) from None
    except InternalServerException:
        # Litestar's name for a client that went away; nobody reads this answer.
        raise gone from None


async def read_body(request: Request[Any, Any, Any], count_bytes: CountBytes) -> bytes:
    """All of it; raises Problem."""
    async with aclosing(pieces(request, count_bytes, INCOMPLETE)) as body:
        return b"".join([piece async for piece in body])
