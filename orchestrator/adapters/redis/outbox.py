"""The outbox in Redis (lua/shared/post.lua)."""

from __future__ import annotations

from orchestrator.adapters.redis.connection import connect
from orchestrator.adapters.redis.endpoints import endpoint_of
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts, pairs
from orchestrator.ports import Outbox, Outcome, Outgoing, Settled

_CONNECTIONS = 8
_OURS = frozenset({"id", "kind", "written", "tries", "first", "last", "answer"})
"""The fields that every delivery has."""


class RedisOutbox(Outbox):
    """Belongs to one event loop; call :meth:`aclose` at the end."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._call = Scripts(self._client, Keys.under(prefix))

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def take(self, count: int, lease: float) -> list[Outgoing]:
        found = await self._call("take_deliveries", count=count, lease_ms=int(lease * 1000))
        return [_outgoing(receiver, pairs(endpoint), pairs(fields)) for receiver, endpoint, fields in found]

    async def settle(
        self, event: Outgoing, outcome: Outcome, *, delay: float, give_up: float | None
    ) -> Settled:
        kind = "delivered" if outcome.delivered else "disable" if outcome.disable else "refused"
        settled: Settled = await self._call(
            "settle_delivery",
            receiver=event.receiver,
            id=event.id,
            tries=event.tries,
            outcome=kind,
            reason=outcome.disable,
            answer=outcome.answer,
            delay_ms=int(delay * 1000),
            pause_ms=None if outcome.retry_after is None else int(outcome.retry_after * 1000),
            give_up_ms=None if give_up is None else int(give_up * 1000),
        )
        return settled


def _outgoing(receiver: str, endpoint: dict[str, str], fields: dict[str, str]) -> Outgoing:
    return Outgoing(
        receiver=receiver,
        endpoint=endpoint_of(endpoint) if "owner" in endpoint else None,
        id=fields["id"],
        kind=fields["kind"],
        written=int(fields["written"]) / 1000,
        fields={name: value for name, value in fields.items() if name not in _OURS},
        tries=int(fields["tries"]),
    )
