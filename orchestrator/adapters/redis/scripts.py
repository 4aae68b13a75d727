"""The Lua scripts: each change of a job is one of them, and so is atomic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio as redis

from orchestrator.adapters.redis.connection import redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.ports import Lease, Reservation

_FOLDER = Path(__file__).with_name("lua")
_encode = msgspec.json.Encoder().encode


class Scripts:
    """Calls ``lua/<name>.lua`` with named arguments, without those that are None. All raise Unavailable when Redis is.

    ``clock`` replaces the server's in tests: seconds since 1970.
    """

    def __init__(self, client: redis.Redis, keys: Keys, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        common = (_FOLDER / "common.lua").read_text()
        self._keys = keys
        self._scripts = {
            path.stem: client.register_script(common + path.read_text())
            for path in _FOLDER.glob("*.lua")
            if path.stem != "common"
        }

    async def __call__(self, name: str, **args: Any) -> Any:
        if self._clock:
            seconds, fraction = divmod(self._clock(), 1)
            args["clock"] = [int(seconds), int(fraction * 1e6)]
        given = {key: value for key, value in args.items() if value is not None}
        with redis_calls():
            return await self._scripts[name](keys=self._keys, args=[_encode(given)])


def pairs(flat: list[str]) -> dict[str, str]:
    """What Lua returns for a hash: name, value, name, value …"""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def reservation_args(reservation: Reservation, seconds: float) -> dict[str, Any]:
    """A reservation as the scripts get it, to last so long."""
    return {"name": reservation.name, "owner": reservation.owner, "ms": int(seconds * 1000)}


def names(lease: Lease) -> dict[str, str]:
    """A lease as the scripts get it."""
    return {
        "job": lease.job.id,
        "entry": lease.entry_id,
        "worker": lease.worker,
        "attempt": str(lease.attempt),
    }
