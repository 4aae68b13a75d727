"""API keys and tickets in Redis: a hash for each key, whose fields are the key's members as JSON."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import msgspec

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.domain.keys import Key, Secret
from orchestrator.ports import KeyNotFound, KeyStore, Ticket

_CONNECTIONS = 16


class RedisKeyStore(KeyStore):
    """A store belongs to one event loop; call :meth:`aclose` at the end. Raises ValueError for a URL that is not
    Redis's."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def add(self, key: Key) -> None:
        fields: dict[Any, Any] = {
            name: _text(value) for name, value in msgspec.structs.asdict(key).items() if value is not None
        }
        with redis_calls():
            async with self._client.pipeline(transaction=True) as together:
                together.hset(self._keys.api_key + key.id, mapping=fields)
                together.zadd(self._keys.api_keys, {key.id: key.created})
                await together.execute()

    async def get(self, key_id: str) -> Key:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.api_key + key_id)
        if not fields:
            raise KeyNotFound(key_id)
        return _key(fields)

    async def all(self) -> list[Key]:
        with redis_calls():
            ids: Any = await self._client.zrange(self._keys.api_keys, 0, -1)
            async with self._client.pipeline(transaction=False) as together:
                for key_id in ids:
                    together.hgetall(self._keys.api_key + key_id)
                found = await together.execute()
        return [_key(fields) for fields in found if fields]

    async def replace_secrets(self, key: Key, secrets: list[Secret]) -> bool:
        with redis_calls():
            before: Any = await self._client.hget(self._keys.api_key + key.id, "secrets")
        if before is None:
            raise KeyNotFound(key.id)
        after = _text(secrets)
        # The text is compared as it is stored: another version may write the same secrets in other words.
        if before != after and msgspec.json.decode(before, type=list[Secret]) != key.secrets:
            return False
        reply = await self._call("replace_secrets", key=key.id, before=before, after=after)
        if reply == "missing":
            raise KeyNotFound(key.id)
        return bool(reply == "ok")

    async def revoke(self, key_id: str, now: float) -> None:
        if not await self._call("revoke_key", key=key_id, now=_text(now)):
            raise KeyNotFound(key_id)

    async def used(self, key_id: str, now: float) -> None:
        with redis_calls():
            await self._client.hset(self._keys.api_key + key_id, "last_used", _text(now))

    async def put_ticket(self, digest: str, ticket: Ticket, seconds: float) -> None:
        with redis_calls():
            await self._client.set(self._keys.ticket + digest, _text(ticket), px=int(seconds * 1000))

    async def ticket(self, digest: str) -> Ticket | None:
        with redis_calls():
            return _ticket(await self._client.get(self._keys.ticket + digest))

    async def take_ticket(self, digest: str) -> Ticket | None:
        with redis_calls():
            return _ticket(await self._client.getdel(self._keys.ticket + digest))


def open_keys(url: str, prefix: str) -> AbstractAsyncContextManager[RedisKeyStore]:
    """The store, closed at the end. Raises ValueError for a URL that is not Redis's."""
    return aclosing(RedisKeyStore(url, prefix=prefix))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _ticket(text: Any) -> Ticket | None:
    return None if text is None else msgspec.json.decode(text, type=Ticket)


def _key(fields: dict[str, str]) -> Key:
    """The key in a hash; members that only another version knows are left out."""
    known = {name: msgspec.json.decode(fields[name]) for name in Key.__struct_fields__ if name in fields}
    return msgspec.convert(known, Key)
