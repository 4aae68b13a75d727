"""Checks whether each part works by using it. Everyone sees which parts are up; only the administrator sees details."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from msgspec import UNSET, UnsetType

from orchestrator.api.middleware.access import Rule, access, is_admin
from orchestrator.api.middleware.limiting import uncounted
from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.api.single_flight import SingleFlightCache
from orchestrator.ports import Inference, JobStore, PortError, Storage, Unavailable

CHECK_SECONDS = 2.0
HEALTH_SECONDS = 1.0
"""The age in seconds up to which an answer is reused."""
_NO_JOB = "0" * 32

Check = Callable[[], Awaitable[None]]


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: Literal["up", "down"]
    latency_ms: float
    detail: str | None = None
    """For the administrator only, since it contains addresses and messages of libraries."""
    devices: list[str] | UnsetType = UNSET
    """Of ``triton``: what the networks run on, cpu or cuda. Missing where the server does not say."""


class Services(msgspec.Struct, frozen=True):
    redis: ServiceHealth
    triton: ServiceHealth
    storage: ServiceHealth
    websocket: ServiceHealth
    workers: ServiceHealth


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["healthy", "degraded"]
    timestamp: Time
    services: Services


class Alive(msgspec.Struct, frozen=True):
    status: Literal["alive"] = "alive"


class HealthChecks:
    """Checks every part, at most once in HEALTH_SECONDS, since each check costs a write in Redis and a call of every
    other part."""

    def __init__(self, store: JobStore, storage: Storage, inference: Inference) -> None:
        self._store, self._storage, self._inference = store, storage, inference
        self._cached: SingleFlightCache[Health] = SingleFlightCache(HEALTH_SECONDS)

    async def latest(self) -> Health:
        """The newest answer, or a new one when that is too old."""
        return await self._cached(self._check_all)

    async def _check_all(self) -> Health:
        """Check all parts at the same time, each within CHECK_SECONDS."""
        parts = await asyncio.gather(
            check(self._store.probe),
            check(self._inference.ping, self._inference.degradation, self._inference.devices),
            check(self._storage.ping),
            check(lambda: reach_events(self._store)),
            check(lambda: find_worker(self._store)),
        )
        up = all(part.status == "up" for part in parts)
        return Health(
            status="healthy" if up else "degraded", timestamp=rfc3339(time.time()), services=Services(*parts)
        )


class HealthController(Controller):
    path = "/health"
    tags = ("service",)

    @get(
        "/",
        opt=access(Rule.PUBLIC) | uncounted(),
        operation_id="get_health",
        summary="The health of every part; 200 also when degraded",
    )
    async def health(self, request: Request[Any, Any, Any], checks: NamedDependency[HealthChecks]) -> Health:
        return await health_for(request, checks)

    @get(
        "/live",
        opt=access(Rule.PUBLIC) | uncounted(),
        operation_id="get_alive",
        summary="200 as long as this process answers",
    )
    async def live(self) -> Alive:
        return Alive()

    @get(
        "/ready",
        opt=access(Rule.PUBLIC) | uncounted(),
        operation_id="get_ready",
        summary="200 when jobs are accepted and the models are ready, 503 otherwise",
        responses={503: ResponseSpec(Health, description="A part is down", generate_examples=False)},
    )
    async def ready(
        self, request: Request[Any, Any, Any], checks: NamedDependency[HealthChecks]
    ) -> Response[Health]:
        health = await health_for(request, checks)
        needed = (health.services.redis, health.services.triton, health.services.storage)
        return Response(health, status_code=200 if all(part.status == "up" for part in needed) else 503)


async def health_for(request: Request[Any, Any, Any], checks: HealthChecks) -> Health:
    """The latest health, with details only for the administrator."""
    health = await checks.latest()
    if await is_admin(request):
        return health
    parts = msgspec.structs.asdict(health.services).values()
    public = Services(*(msgspec.structs.replace(part, detail=None) for part in parts))
    return msgspec.structs.replace(health, services=public)


async def find_worker(store: JobStore) -> None:
    """Raises Unavailable when no worker takes jobs."""
    if (await store.stats()).workers == 0:
        raise Unavailable("no worker has looked for jobs lately: they wait until one does")


async def reach_events(store: JobStore) -> None:
    """Reads events as a WebSocket does, but of a job that does not exist, so that they end at once."""
    async for _ in store.events(_NO_JOB, "0-0"):
        return


async def check(
    ping: Check, degradation: Callable[[], str] = str, devices: Callable[[], frozenset[str]] = frozenset
) -> ServiceHealth:
    """A part is up when ``ping`` returns. ``degradation`` then adds a detail, but does not make the part down, and
    ``devices`` what it computes on."""
    began = time.perf_counter()
    detail = None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await ping()
    except TimeoutError:
        detail = f"no answer within {CHECK_SECONDS:g} s"
    except PortError as error:
        detail = str(error)
    latency = round((time.perf_counter() - began) * 1000, 1)
    if detail:
        return ServiceHealth(status="down", latency_ms=latency, detail=detail)
    return ServiceHealth(
        status="up", latency_ms=latency, detail=degradation() or None, devices=sorted(devices()) or UNSET
    )
