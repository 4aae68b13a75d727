"""Errands in Redis: a list of those that wait, and a list for the report of each."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from orchestrator.adapters.redis.connection import MAX_BLOCK, connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.ports import Errand, Errands, Report, Unavailable

_CONNECTIONS = 16
_KEPT = 60
"""Seconds after which Redis forgets reports, and errands that no worker takes."""
_LEAST = 0.1
"""Seconds that a read blocks at least: 0 would be for ever."""


class _Waiting(msgspec.Struct, frozen=True):
    name: str
    errand: Errand
    until: float
    """UNIX seconds until which its sender waits."""


_text = msgspec.json.Encoder().encode


class RedisErrands(Errands):
    """Belongs to one event loop; call :meth:`aclose` at the end. Raises ValueError for a URL that is not Redis's."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        # A read that was sent twice would lose what the first one took.
        self._blocking = connect(url, max_connections=_CONNECTIONS, retries=0)
        self._keys = Keys.under(prefix)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()
        await self._blocking.aclose()

    async def send(self, errand: Errand, patience: float) -> Report:
        name, end = uuid.uuid4().hex, time.monotonic() + patience
        waiting = _Waiting(name, errand, time.time() + patience)
        await self._push(self._keys.errands, _text(waiting))
        while (left := end - time.monotonic()) > 0:
            if found := await self._pop(self._keys.report + name, left):
                return msgspec.json.decode(found, type=Report)
        raise Unavailable(f"no worker has made {errand.what} within {patience:.0f} s")

    async def take(self, seconds: float) -> tuple[str, Errand] | None:
        found = await self._pop(self._keys.errands, seconds)
        if found is None:
            return None
        try:
            waiting = msgspec.json.decode(found, type=_Waiting)
        except msgspec.DecodeError:
            # Of a version that says it otherwise: its sender will wait in vain, and send it again.
            return None
        return (waiting.name, waiting.errand) if time.time() < waiting.until else None

    async def report(self, name: str, report: Report) -> None:
        await self._push(self._keys.report + name, _text(report))

    async def _push(self, key: str, text: bytes) -> None:
        with redis_calls():
            async with self._client.pipeline(transaction=True) as both:
                both.rpush(key, text)
                both.expire(key, _KEPT)
                await both.execute()

    async def _pop(self, key: str, seconds: float) -> str | None:
        with redis_calls():
            found: Any = await self._blocking.blpop([key], timeout=max(_LEAST, min(MAX_BLOCK, seconds)))
        return None if found is None else str(found[1])
