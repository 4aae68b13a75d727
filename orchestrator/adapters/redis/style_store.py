"""The styles that callers make for themselves, in Redis: a hash for each owner, with each style as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.domain.styles import Style
from orchestrator.ports import KeyNotFound, StyleNotFound, StyleStore, TooManyStyles

_CONNECTIONS = 8


class RedisStyleStore(StyleStore):
    """Belongs to one event loop; call :meth:`aclose` at the end. Raises ValueError for a URL that is not Redis's."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def all(self, owner: str) -> Mapping[str, Style]:
        with redis_calls():
            fields: Any = await self._client.hgetall(self._keys.own_styles + owner)
        return {name: _style(text) for name, text in sorted(fields.items())}

    async def put(self, owner: str, name: str, style: Style, most: int) -> None:
        text = msgspec.json.encode(style).decode()
        match await self._call("put_style", owner=owner, name=name, style=text, most=most):
            case "revoked":
                raise KeyNotFound(owner)
            case "full":
                raise TooManyStyles(most)

    async def delete(self, owner: str, name: str) -> None:
        with redis_calls():
            if not await self._client.hdel(self._keys.own_styles + owner, name):
                raise StyleNotFound(name)


def _style(text: str) -> Style:
    """Members that only another version knows are left out."""
    found = msgspec.json.decode(text)
    return msgspec.convert({name: found[name] for name in Style.__struct_fields__ if name in found}, Style)
