"""Requests that are done once, in Redis: a hash for each name."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.ports import AnotherRequest, Answered, Begun, InFlight, OnceStore

_CONNECTIONS = 16


class RedisOnceStore(OnceStore):
    """A store belongs to one event loop; call :meth:`aclose` at the end. Raises ValueError for a URL that is not
    Redis's. ``clock``: as in RedisJobStore."""

    def __init__(
        self, url: str, *, prefix: str = "reroom:", clock: Callable[[], float] | None = None
    ) -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys, clock)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def begin(
        self, name: str, fingerprint: str, token: str, *, lock_seconds: float, seconds: int
    ) -> Answered | Begun:
        reply = await self._call(
            "once_begin",
            name=name,
            fingerprint=fingerprint,
            token=token,
            id=uuid.uuid4().hex,
            lock_ms=int(lock_seconds * 1000),
            seconds=seconds,
        )
        match reply:
            case ["answered", answer]:
                return Answered(answer)
            case ["begun", made, earlier]:
                return Begun(made, bool(earlier))
            case ["busy"]:
                raise InFlight(name)
        raise AnotherRequest(name)

    async def extend(self, name: str, token: str, *, lock_seconds: float) -> bool:
        return bool(await self._call("once_extend", name=name, token=token, lock_ms=int(lock_seconds * 1000)))

    async def answer(self, name: str, token: str, answer: str) -> None:
        await self._call("once_end", name=name, token=token, answer=answer)

    async def forget(self, name: str, token: str) -> None:
        await self._call("once_end", name=name, token=token)

    async def interrupt(self, name: str, token: str) -> None:
        await self._call("once_end", name=name, token=token, interrupted=True)

    async def knows(self, name: str) -> bool:
        with redis_calls():
            return bool(await self._client.exists(self._keys.once + name))
