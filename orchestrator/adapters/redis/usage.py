"""Usage and the outbox in Redis. The scripts write both when jobs are submitted and end (lua/quota.lua)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.usage import Account, UsageRow
from orchestrator.ports import Outbox, Outgoing, Usage

_CONNECTIONS = 8
_SENDERS = "senders"
"""The outbox's consumer group."""
_AT_ONCE = 20
_LONGEST = 3600.0
"""Seconds between two tries, at most."""


class RedisUsage(Usage, Outbox):
    """Belongs to one event loop; call :meth:`aclose` at the end."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def rows(self, days: Sequence[str], owner: str | None) -> list[UsageRow]:
        found = []
        for day, who, fields in await self._hashes(days, owner):
            sums: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
            for name, number in fields.items():
                style, tier, outcome, what = name.split(":")
                sums[style, tier, outcome][what] = int(number)
            found += [
                UsageRow(
                    day=day,
                    owner=who,
                    style=style,
                    tier=tier,
                    outcome=outcome,
                    jobs=each["jobs"],
                    gpu_ms=each["ms"],
                    micros=each["micros"],
                )
                for (style, tier, outcome), each in sorted(sums.items())
            ]
        return found

    async def _hashes(self, days: Sequence[str], owner: str | None) -> list[tuple[str, str, dict[str, str]]]:
        """The day, the owner and the sums of each hash."""
        keys = self._keys
        with redis_calls():
            if owner is None:
                async with self._client.pipeline(transaction=False) as together:
                    for day in days:
                        together.smembers(f"{keys.usage}{day}")
                    owners = await together.execute()
                places = [(day, who) for day, all in zip(days, owners, strict=True) for who in sorted(all)]
            else:
                places = [(day, owner) for day in days]
            async with self._client.pipeline(transaction=False) as together:
                for day, who in places:
                    together.hgetall(f"{keys.usage}{day}:{who}")
                hashes = await together.execute()
        return [(day, who, fields) for (day, who), fields in zip(places, hashes, strict=True) if fields]

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

    async def take(self, taker: str, patience: float) -> list[Outgoing]:
        try:
            return await self._take(taker, patience)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
        # The first time, or after everything in Redis was lost.
        await self._make_group()
        return await self._take(taker, patience)

    async def _take(self, taker: str, patience: float) -> list[Outgoing]:
        outbox = self._keys.outbox
        with redis_calls():
            due = await self._due(patience)
            tries = {str(each["message_id"]): int(each["times_delivered"]) + 1 for each in due}
            taken: Any = []
            if due:
                # An entry that another process has taken meanwhile is not idle any more, and stays with it.
                least = min(_pause(each, patience) for each in due)
                taken = await self._client.xclaim(outbox, _SENDERS, taker, int(least * 1000), list(tries))
            new: Any = await self._client.xreadgroup(_SENDERS, taker, {outbox: ">"}, count=_AT_ONCE)
        entries = [*taken, *(entry for _, found in new for entry in found)]
        return [
            Outgoing(
                entry=entry,
                id=fields["id"],
                to=fields["to"],
                written=int(entry.partition("-")[0]) / 1000,
                event=msgspec.json.decode(fields["event"]),
                tries=tries.get(entry, 1),
            )
            for entry, fields in entries
            if fields
        ]

    async def _due(self, patience: float) -> list[dict[str, Any]]:
        pending: Any = await self._client.xpending_range(
            self._keys.outbox, _SENDERS, min="-", max="+", count=1000, idle=int(patience * 1000)
        )
        due = [each for each in pending if each["time_since_delivered"] >= 1000 * _pause(each, patience)]
        return due[:_AT_ONCE]

    async def _make_group(self) -> None:
        with redis_calls():
            try:
                await self._client.xgroup_create(self._keys.outbox, _SENDERS, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def sent(self, event: Outgoing) -> None:
        with redis_calls():
            async with self._client.pipeline(transaction=False) as together:
                together.xack(self._keys.outbox, _SENDERS, event.entry)
                together.xdel(self._keys.outbox, event.entry)
                await together.execute()


def _pause(pending: dict[str, Any], patience: float) -> float:
    """Seconds between the last try and the next."""
    return min(_LONGEST, patience * 2.0 ** min(20, int(pending["times_delivered"]) - 1))


def _number(text: str | None) -> int:
    return 0 if text is None else int(text)
