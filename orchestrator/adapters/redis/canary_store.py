"""Trials of releases in Redis (lua/releases/)."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.adapters.redis.connection import connect, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts
from orchestrator.domain.releases import Canary
from orchestrator.ports.canaries import CanaryStore, Judged, Noted, Pair, Trial

KEEP = 30 * 86400
"""Seconds that a trial is remembered after its last picture."""
SEEN = 7 * 86400
"""Seconds for which the same note is recognised."""
PAIRS = 12
"""How many of the newest pairs are kept, and of the worst."""
_CONNECTIONS = 8
_SUM = "sum:"


class _Begun(msgspec.Struct):
    canary: Canary
    live: int


class RedisCanaryStore(CanaryStore):
    """Belongs to one event loop; call :meth:`aclose` at the end."""

    def __init__(self, url: str, *, prefix: str = "reroom:") -> None:
        self._client = connect(url, max_connections=_CONNECTIONS, retries=3)
        self._keys = Keys.under(prefix)
        self._call = Scripts(self._client, self._keys)

    async def aclose(self) -> None:
        """Close all connections; running calls fail."""
        await self._client.aclose()

    async def note(self, canary: Canary, live: int, noted: Noted) -> None:
        pair = noted.pair
        await self._call(
            "note_trial",
            trial=_id(canary, live),
            begun=_text(_Begun(canary, live)),
            nonce=noted.id,
            sums=noted.sums,
            unit=noted.unit or None,
            pair=None if pair is None else _text(pair),
            gain=None if pair is None else pair.gain,
            most=PAIRS,
            keep=KEEP,
            seen=SEEN,
        )

    async def trial(self, canary: Canary, live: int) -> Trial | None:
        return await self._trial(_id(canary, live))

    async def _trial(self, trial_id: str) -> Trial | None:
        key = f"{self._keys.canary}{trial_id}"
        with redis_calls():
            async with self._client.pipeline(transaction=True) as together:
                together.hgetall(key)
                together.pfcount(f"{key}:units")
                together.lrange(f"{key}:newest", 0, -1)
                together.zrange(f"{key}:worst", 0, -1)
                fields, units, newest, worst = await together.execute()
        if "begun" not in fields:
            return None
        begun = msgspec.json.decode(fields["begun"], type=_Begun)
        judged = fields.get("judged")
        return Trial(
            canary=begun.canary,
            live=begun.live,
            sums={name[len(_SUM) :]: float(text) for name, text in fields.items() if name.startswith(_SUM)},
            units=units,
            newest=[msgspec.json.decode(text, type=Pair) for text in newest],
            worst=[msgspec.json.decode(text, type=Pair) for text in worst],
            judged=None if judged is None else msgspec.json.decode(judged, type=Judged),
        )

    async def last(self) -> Trial | None:
        with redis_calls():
            found: Any = await self._client.zrange(self._keys.canaries, -1, -1)
        return await self._trial(found[0]) if found else None

    async def judged(self, canary: Canary, live: int, judged: Judged) -> bool:
        event = {
            "decision": judged.decision,
            "reason": judged.reason,
            "version": canary.version,
            "live": live,
        }
        return bool(
            await self._call(
                "judge_trial",
                trial=_id(canary, live),
                begun=_text(_Begun(canary, live)),
                decision=judged.decision,
                judged=_text(judged),
                event=_text(event),
                keep=KEEP,
            )
        )

    async def take_turn(self, canary_id: str, worker: str, seconds: float) -> bool:
        key = f"{self._keys.canary}{canary_id}:turn"
        with redis_calls():
            taken: Any = await self._client.set(key, worker, nx=True, px=int(seconds * 1000))
            return bool(taken) or await self._client.get(key) == worker

    async def end_turn(self, canary_id: str, worker: str) -> None:
        key = f"{self._keys.canary}{canary_id}:turn"
        with redis_calls():
            if await self._client.get(key) == worker:
                await self._client.delete(key)


def _id(canary: Canary, live: int) -> str:
    return f"{canary.id}:{live}"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
