"""Users' endpoints in Redis: a hash for each, whose fields are its members as JSON (lua/shared/post.lua)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.domain.webhooks import Endpoint
from orchestrator.ports import (
    Delivery,
    EndpointDisabled,
    EndpointNotFound,
    EndpointStore,
    TooManyEndpoints,
)

_CONNECTIONS = 8


class RedisEndpoints(EndpointStore):
    """Belongs to one event loop; call :meth:`aclose` at the end."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def add(self, endpoint: Endpoint, most: int) -> None:
        members = _members(msgspec.structs.asdict(endpoint))
        if not await self._call(
            "add_endpoint",
            id=endpoint.id,
            owner=endpoint.owner,
            members=members,
            events=" ".join(endpoint.wanted),
            most=most,
        ):
            raise TooManyEndpoints(endpoint.owner)

    async def get(self, owner: str, endpoint_id: str) -> Endpoint:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.endpoint + endpoint_id)
        found = endpoint_of(fields) if "owner" in fields else None
        if found is None or found.owner != owner:
            raise EndpointNotFound(endpoint_id)
        return found

    async def all(self, owner: str) -> list[Endpoint]:
        with redis_calls():
            ids: Any = await self._client.hkeys(self._keys.endpoints + owner)
            async with self._client.pipeline(transaction=False) as together:
                for endpoint_id in ids:
                    together.hgetall(self._keys.endpoint + endpoint_id)
                found = await together.execute()
        endpoints = [endpoint_of(fields) for fields in found if "owner" in fields]
        return sorted(endpoints, key=lambda each: (each.created, each.id))

    async def change(self, endpoint: Endpoint, members: dict[str, Any], enabled: bool | None = None) -> None:
        # Without these, an endpoint that was disabled meanwhile would be enabled again by chance.
        events = members.get("events", endpoint.events if enabled else None)
        if not await self._call(
            "change_endpoint",
            id=endpoint.id,
            owner=endpoint.owner,
            members=_members(members),
            events=None if events is None else " ".join(events),
            enabled=enabled,
        ):
            raise EndpointNotFound(endpoint.id)

    async def drop(self, owner: str, endpoint_id: str) -> None:
        if not await self._call("drop_endpoint", id=endpoint_id, owner=owner):
            raise EndpointNotFound(endpoint_id)

    async def test(self, owner: str, endpoint_id: str, event: str, kind: str) -> None:
        match await self._call("test_endpoint", id=endpoint_id, owner=owner, event=event, kind=kind):
            case "missing":
                raise EndpointNotFound(endpoint_id)
            case "disabled":
                raise EndpointDisabled(endpoint_id)

    async def deliveries(self, endpoint_id: str, count: int) -> list[Delivery]:
        keys = self._keys
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                together.lrange(keys.sent + endpoint_id, 0, count - 1)
                together.zrange(keys.lane + endpoint_id, 0, count - 1, withscores=True)
                ended, waiting = await together.execute()
            async with self._client.pipeline(transaction=False) as together:
                for delivery_id, _ in waiting:
                    together.hgetall(f"{keys.delivery}{endpoint_id}:{delivery_id}")
                hashes = await together.execute()
        found = [msgspec.convert(_ended(text), Delivery) for text in ended]
        found += [
            _waiting(fields, due / 1000) for (_, due), fields in zip(waiting, hashes, strict=True) if fields
        ]
        return sorted(found, key=lambda each: each.written, reverse=True)[:count]


def endpoint_of(fields: Mapping[str, str]) -> Endpoint:
    """The endpoint in a hash; members that only another version knows are left out."""
    known = {name: msgspec.json.decode(fields[name]) for name in Endpoint.__struct_fields__ if name in fields}
    return msgspec.convert(known, Endpoint)


def _members(values: Mapping[str, Any]) -> list[str]:
    """Name, value, name, value …; what is None is left out."""
    return [
        part
        for name, value in values.items()
        if value is not None
        for part in (name, msgspec.json.encode(value).decode())
    ]


def _ended(text: str) -> dict[str, Any]:
    said = msgspec.json.decode(text)
    return {
        "job": None,
        "answer": None,
        "next_try": None,
        **said,
        "written": said["written"] / 1000,
        "ended": said["ended"] / 1000,
    }


def _waiting(fields: Mapping[str, str], due: float) -> Delivery:
    return Delivery(
        id=fields["id"],
        kind=fields["kind"],
        job=fields.get("job"),
        outcome="waiting",
        tries=int(fields["tries"]),
        answer=fields.get("answer"),
        written=int(fields["written"]) / 1000,
        next_try=due,
        ended=None,
    )
