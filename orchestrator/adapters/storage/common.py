"""What every storage adapter does alike."""

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
    """The key itself; raises ValueError if it is not one (see the port)."""
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without its final slash; raises ValueError if it is not one."""
    if not prefix.endswith("/"):
        raise ValueError(f"a prefix ends with a slash: {prefix!r}")
    return check_key(prefix[:-1])


def link_begin(key: str, now: float, expires_in: int) -> int:
    """UNIX seconds from which a link that is asked for ``now`` is valid, for ``expires_in``: the same for half of them.

    Keys take turns, so that not all links change at once.
    """
    span = expires_in / 2
    phase = crc32(key.encode()) / 2**32 * span
    return math.floor((now - phase) // span * span + phase)


async def to_its_end(writing: Coroutine[Any, Any, T]) -> T:
    """Its result. When cancelled, it ends only after ``writing`` did, which must be bounded in time."""
    task = asyncio.create_task(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody else asks for it
        raise
