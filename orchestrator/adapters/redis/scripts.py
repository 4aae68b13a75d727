"""The Lua scripts. Each change of a job is one script, and therefore atomic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio as redis

from orchestrator.adapters.redis.connection import redis_calls
from orchestrator.adapters.redis.keys import GROUP, PARKED, Keys
from orchestrator.domain.job import DEFAULT_TIER, MESSAGES, TERMINAL, Job, JobState, Priority, pictures_of
from orchestrator.domain.plans import day_of
from orchestrator.domain.styles import counted_as
from orchestrator.domain.usage import Admission
from orchestrator.ports import Lease, Reservation
from orchestrator.telemetry import metrics

_FOLDER = Path(__file__).with_name("lua")
_SHARED = _FOLDER / "shared"
_COMMON = ("clock", "post", "turns", "quota", "levels", "common", "tree")
"""The texts that precede every script."""
PRIORITY_BONUS = 20
"""How far a job of high priority goes before others: by seconds within its owner's jobs, and before other owners by
work of that cost."""
_encode = msgspec.json.Encoder().encode


class Scripts:
    """Calls ``lua/<folder>/<name>.lua`` with named arguments; those that are None are left out. A call raises
    Unavailable when Redis is unavailable.

    ``clock`` replaces the Redis server's clock in tests: seconds since 1970.
    """

    def __init__(self, client: redis.Redis, keys: Keys, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._keys = keys
        self._scripts = {name: client.register_script(text) for name, text in texts().items()}

    async def __call__(self, name: str, /, **args: Any) -> Any:
        if self._clock:
            seconds, fraction = divmod(self._clock(), 1)
            args["clock"] = [int(seconds), int(fraction * 1e6)]
        given = {key: value for key, value in args.items() if value is not None}
        with redis_calls(name), metrics.timed(metrics.REDIS_SECONDS.labels(name)):
            return await self._scripts[name](keys=self._keys, args=[_encode(given)])


def texts() -> dict[str, str]:
    """The whole text of each script by its name."""
    common = constants() + "".join((_SHARED / f"{name}.lua").read_text() for name in _COMMON)
    paths = (path for path in _FOLDER.glob("*/*.lua") if path.parent != _SHARED)
    return {path.stem: common + path.read_text() for path in paths}


def script_names() -> dict[str, str]:
    """The names of the scripts by the SHA-1 with which they are called: for who looks at what Redis is sent."""
    return {hashlib.sha1(text.encode()).hexdigest(): name for name, text in texts().items()}


def constants() -> str:
    """Lua for the names that the scripts share with Python: the keys, the consumer group, and the states of a job."""
    keys = ", ".join(field.upper() for field in Keys._fields)
    states = "".join(f"local {state.name} = '{state}'\n" for state in JobState)
    terminal = ", ".join(f"[{state.name}] = true" for state in JobState if state in TERMINAL)
    edges = ", ".join(f"'{edge:g}'" for edge in metrics.JOB_SECONDS)
    messages = ", ".join(f"[{state.name}] = '{message}'" for state, message in MESSAGES.items())
    return (
        f"local {keys} = unpack(KEYS)\n"
        f"local GROUP, PARKED, DEFAULT_TIER = '{GROUP}', '{PARKED}', '{DEFAULT_TIER}'\n"
        f"local EDGES = {{{edges}}}\n"
        f"local HIGH, BONUS = '{Priority.HIGH}', {PRIORITY_BONUS}\n"
        f"{states}local TERMINAL = {{{terminal}}}\n"
        f"local MESSAGES = {{{messages}}}\n"
    )


def pairs(flat: list[str]) -> dict[str, str]:
    """The fields of a hash, which Lua returns as name, value, name, value …"""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def reservation_args(reservation: Reservation, seconds: float) -> dict[str, Any]:
    """A reservation as an argument of the scripts, which lasts for ``seconds``."""
    return {"name": reservation.name, "owner": reservation.owner, "ms": int(seconds * 1000)}


def admission_args(admission: Admission, job: Job, jobs: Sequence[Job]) -> dict[str, Any]:
    """What a submission asks for as an argument of the scripts, which count GPU time in whole milliseconds; each of its
    ``jobs`` reserves a part by its cost."""
    total = sum(each.cost for each in jobs) or 1.0
    plan = admission.plan
    limits = {
        "concurrent_jobs": plan.concurrent_jobs,
        "waiting_jobs": plan.waiting_jobs,
        "gpu_ms_per_day": _milliseconds(plan.gpu_seconds_per_day),
        "gpu_ms_per_month": _milliseconds(plan.gpu_seconds_per_month),
        "stored_bytes": plan.stored_bytes,
        "stored_objects": plan.stored_objects,
    }
    return {
        "owner": job.owner,
        "plan": {name: limit for name, limit in limits.items() if limit is not None},
        "day": day_of(job.created_at),
        "ms": _milliseconds(admission.estimated_seconds),
        "bytes": admission.stored_bytes,
        "objects": admission.stored_objects,
        "jobs": [
            {
                "job": each.id,
                "ms": _milliseconds(admission.estimated_seconds * each.cost / total),
                "style": counted_as(each.style),
                "tier": each.preferences.quality or DEFAULT_TIER,
                "objects": pictures_of(each.preferences),
            }
            for each in jobs
        ],
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def lease_args(lease: Lease) -> dict[str, str]:
    """A lease as an argument of the scripts."""
    return {
        "job": lease.job.id,
        "entry": lease.entry_id,
        "worker": lease.worker,
        "attempt": str(lease.attempt),
    }
