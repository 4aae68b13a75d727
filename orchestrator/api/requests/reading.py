"""Reads request bodies as they arrive, within limits of time; a client that disconnects is a Problem of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from orchestrator.api.requests.budget import CountBytes
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode

READ_SECONDS = 300.0
GRACE_SECONDS = 10.0
LEAST_RATE = 8_000
"""Bytes per second, on average since the body began, that a client must send after GRACE_SECONDS."""
SILENT_SECONDS = 30.0
"""Seconds that a client may send nothing, however fast it was before."""

INCOMPLETE = Problem(ProblemCode.INCOMPLETE_BODY, "the connection ended before the body did")
_TOO_SLOW = (
    f"the upload was too slow: at least {LEAST_RATE // 1000} kB a second must come, without a pause of more than "
    f"{SILENT_SECONDS:g} s, and all of it within {READ_SECONDS:g} s"
)


async def pieces(
    request: Request[Any, Any, Any], count_bytes: CountBytes, gone: Problem
) -> AsyncGenerator[bytes, None]:
    """The body in pieces, counted with ``count_bytes``. Raises Problem, which is ``gone`` when the client disconnects.

    The server passes on at most Content-Length bytes, and Litestar at most ``request_max_body_size`` of the app or the
    route.
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
        # Without it the connection would wait for the rest of the body.
        close = {"Connection": "close"}
        raise Problem(ProblemCode.UPLOAD_TOO_SLOW, _TOO_SLOW, headers=close) from None
    except InternalServerException:
        # Litestar raises this when the client has disconnected. The answer reaches no one; the log shows it.
        raise gone from None


async def read_body(request: Request[Any, Any, Any], count_bytes: CountBytes) -> bytes:
    """The whole body; raises Problem."""
    async with aclosing(pieces(request, count_bytes, INCOMPLETE)) as body:
        return b"".join([piece async for piece in body])
