"""Usage in Redis. The scripts write it when jobs are submitted and end (lua/shared/quota.lua)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.usage import Account, UsageRow
from orchestrator.ports import Usage

_CONNECTIONS = 8
_AT_ONCE = 500
"""Hashes that are read in one go, so that Redis and this process serve others between them."""


class RedisUsage(Usage):
    """Belongs to one event loop; call :meth:`aclose` at the end."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def rows(self, days: Sequence[str], owner: str | None) -> list[UsageRow]:
        places = [(day, owner) for day in days] if owner is not None else await self._owners(days)
        found: list[UsageRow] = []
        for at in range(0, len(places), _AT_ONCE):
            some = places[at : at + _AT_ONCE]
            with redis_calls():
                async with self._client.pipeline(transaction=False) as together:
                    for day, who in some:
                        together.hgetall(f"{self._keys.usage}{day}:{who}")
                    hashes: list[dict[str, str]] = await together.execute()
            for (day, who), fields in zip(some, hashes, strict=True):
                found += _rows(day, who, fields)
        return found

    async def _owners(self, days: Sequence[str]) -> list[tuple[str, str]]:
        """Each day with each of its owners."""
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                for day in days:
                    together.smembers(f"{self._keys.usage}{day}")
                owners = await together.execute()
        return [(day, who) for day, all in zip(days, owners, strict=True) for who in sorted(all)]

    async def owners_on(self, days: Sequence[str]) -> list[int]:
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                for day in days:
                    together.scard(f"{self._keys.usage}{day}")
                found: list[int] = await together.execute()
        return found

    async def account(self, owner: str, day: str) -> Account:
        account = f"{self._keys.account}{owner}"
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                together.hlen(f"{self._keys.reserved}{owner}")
                for period in (day, day[:7]):
                    together.hmget(f"{account}:{period}", ["used", "reserved"])
                together.hmget(f"{account}:storage", ["bytes", "objects"])
                unfinished, today, month, stored = await together.execute()
        return Account(
            unfinished_jobs=unfinished,
            gpu_ms_today=sum(map(_number, today)),
            gpu_ms_this_month=sum(map(_number, month)),
            stored_bytes=_number(stored[0]),
            stored_objects=_number(stored[1]),
        )

    async def spent(self, month: str) -> int:
        with redis_calls():
            sums: Any = await self._client.hmget(f"{self._keys.account}service:{month}", ["used", "reserved"])
        return sum(map(_number, sums))


def _rows(day: str, owner: str, fields: dict[str, str]) -> list[UsageRow]:
    """What the sums of an owner's day say."""
    sums: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for name, number in fields.items():
        style, tier, outcome, what = name.split(":")
        sums[style, tier, outcome][what] = int(number)
    return [
        UsageRow(
            day=day,
            owner=owner,
            style=style,
            tier=tier,
            outcome=outcome,
            jobs=each["jobs"],
            gpu_ms=each["ms"],
            micros=each["micros"],
        )
        for (style, tier, outcome), each in sorted(sums.items())
    ]


def _number(text: str | None) -> int:
    return 0 if text is None else int(text)
