"""What all storage adapters share."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Coroutine
from typing import Any, TypeVar
from zlib import crc32

T = TypeVar("T")

_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}")


def check_key(key: str) -> str:
    """The key itself; raises ValueError if it is not a storage key (see the port)."""
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without its final slash; raises ValueError if it is not a valid prefix."""
    if not prefix.endswith("/"):
        raise ValueError(f"a prefix ends with a slash: {prefix!r}")
    return check_key(prefix[:-1])


def link_begin(key: str, now: float, expires_in: int) -> int:
    """The UNIX second at which a link begins that is requested at ``now`` and lasts ``expires_in`` seconds.

    It stays the same for ``expires_in / 2`` seconds, so that equal requests get equal links. When it changes depends on
    the key, so that not all links change at once.
    """
    span = expires_in / 2
    phase = crc32(key.encode()) / 2**32 * span
    return math.floor((now - phase) // span * span + phase)


async def to_its_end(writing: Coroutine[Any, Any, T]) -> T:
    """The result of ``writing``, which must be bounded in time. A cancellation takes effect only after it has ended."""
    task = asyncio.create_task(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it
        raise
