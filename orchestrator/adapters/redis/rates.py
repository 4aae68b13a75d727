"""Rate limits in Redis. One script counts a request for all of its limits, by the clock of the Redis server.

The library ``limits`` asks Redis once for each limit, and once more for what remains. A request that the second limit
refuses has then been counted by the first, and its moving window keeps every request of an hour in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.adapters.redis.connection import connect
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.ports import RateLimit, Rates, RateState

_CONNECTIONS = 16


class RedisRates(Rates):
    """Belongs to one event loop; call :meth:`aclose` at the end. ``clock``: a simulation's, in seconds since 1970.

    A request is counted twice when the reply about it was lost and the client library has asked again.
    """

    def __init__(
        self, url: str, *, prefix: str = "reroom:", clock: Callable[[], float] | None = None
    ) -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=1)
        self._call = Scripts(self._client, Keys.under(prefix), clock)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def take(self, limits: Sequence[RateLimit]) -> list[RateState]:
        if not limits:
            return []
        asked = [{"of": each.of, "seconds": each.seconds, "quota": each.quota} for each in limits]
        reply = await self._call("take_rates", limits=asked)
        return [
            RateState(limit=limit, remaining=remaining, reset=reset, refused=bool(refused))
            for limit, (refused, remaining, reset) in zip(limits, reply, strict=True)
        ]
