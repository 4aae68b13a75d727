"""How often callers may ask: rate limits for keys and for addresses, by their plans.

:func:`admit` is the guard of all routes. What a route's rule for access says also says what is counted: requests with
a key count for the key and for the address, others for the address alone. Health checks are not counted, nor is the
administrator's token.

While the store is down nothing can be counted. Routes that need a key are answered 503 then, since keys are in the same
store; the others stay open.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from orchestrator.api.middleware.access import (
    Connection,
    check_access,
    known_caller,
    refuse_later,
    rule_of,
    use_ticket,
)
from orchestrator.api.middleware.clients import Clients
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import ADMINISTRATOR, DEFAULT_PLAN, Caller
from orchestrator.domain.plans import HOUR, MINUTE, Plan, Plans
from orchestrator.ports import RateLimit, Rates, RateState, Unavailable

log = logging.getLogger(__name__)

UNCOUNTED = "uncounted"
_STATES = "rate_states"
_TRIO = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_PLACES = {"key": "this key", "address": "your address"}
_TIMES = {MINUTE: "minute", HOUR: "hour"}


def uncounted() -> dict[str, Any]:
    """Part of the ``opt`` of a route that may be asked as often as one likes."""
    return {UNCOUNTED: True}


class Limiter:
    """Counts requests by the limits of plans."""

    def __init__(self, rates: Rates, plans: Plans, clients: Clients) -> None:
        self._rates, self._plans, self._clients = rates, plans, clients

    async def count(self, address: str | None, caller: Caller | None) -> list[RateState]:
        """Count a request from this address, by the limits of the caller's plan; None = nobody who is known."""
        plan = self._plans.of(DEFAULT_PLAN if caller is None else caller.plan)
        return await self._rates.take(limits_of(plan, self._clients.asking(address), caller))


def limits_of(plan: Plan, client: str | None, caller: Caller | None) -> list[RateLimit]:
    """The limits of a request. ``client`` is its address; a proxy that names no client (None) has no limit."""
    of_key = (plan.requests_per_minute, plan.requests_per_hour)
    of_address = (plan.address_requests_per_minute, plan.address_requests_per_hour)
    counted = []
    if caller is not None:
        counted.append(("key", caller.owner, of_key))
    if client is not None:
        counted.append(("address", client, of_address))
    return [
        RateLimit(
            name=f"{kind}-{_TIMES[seconds]}",
            of=f"{kind}:{seconds}:{who}",
            quota=quota,
            seconds=seconds,
        )
        for kind, who, quotas in counted
        for seconds, quota in zip((MINUTE, HOUR), quotas, strict=True)
        if quota is not None
    ]


async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard of all routes: who may use them (:func:`orchestrator.api.middleware.access.check_access`), and how
    often. A one-time ticket is used up only by a request that is not refused.

    Raises Problem. A WebSocket's refusal is kept, as there.
    """
    try:
        await check_access(connection, handler)
    except Problem:
        # Guesses of keys are counted too.
        await _count(connection, handler)
        raise
    try:
        await _count(connection, handler)
        await use_ticket(connection)
    except (Problem, Unavailable) as refusal:
        if connection.scope["type"] != ScopeType.WEBSOCKET:
            raise
        refuse_later(connection.scope, refusal)


async def _count(connection: Connection, handler: BaseRouteHandler) -> None:
    caller = known_caller(connection.scope)
    if handler.opt.get(UNCOUNTED) or connection.scope.get("method") == "OPTIONS" or caller is ADMINISTRATOR:
        return
    limiter: Limiter = connection.app.state["limiter"]
    try:
        states = await limiter.count(connection.client.host if connection.client else None, caller)
    except Unavailable as error:
        if rule_of(handler).scope is not None:
            raise
        log.debug("a request is not counted: %s", error)
        return
    connection.scope["state"][_STATES] = states
    refusing = [state for state in states if state.refused]
    if refusing:
        raise too_many_requests(max(refusing, key=lambda state: state.reset))


def too_many_requests(state: RateState) -> Problem:
    kind, _, time = state.limit.name.partition("-")
    detail = f"{_PLACES[kind]} may ask {state.limit.quota} times a {time}; try again in {state.reset} s"
    return Problem(
        ProblemCode.TOO_MANY_REQUESTS,
        detail,
        violated=state.limit.name,
        headers={"Retry-After": str(state.reset)},
    )


async def add_rate_headers(message: Message, scope: Scope) -> None:
    """Litestar's ``before_send``: tell the caller about their limits."""
    if message["type"] == "http.response.start" and scope["type"] == ScopeType.HTTP:
        states = scope.get("state", {}).get(_STATES)
        if states:
            headers = MutableScopeHeaders.from_message(message)
            for name, value in rate_headers(states).items():
                headers[name] = value


def rate_headers(states: Sequence[RateState]) -> dict[str, str]:
    """RateLimit and RateLimit-Policy list all limits (structured fields, draft-ietf-httpapi-ratelimit-headers). The
    older three are about the limit that will be met first; Reset are seconds from now."""
    policy = ", ".join(f'"{s.limit.name}";q={s.limit.quota};w={s.limit.seconds}' for s in states)
    now = ", ".join(f'"{s.limit.name}";r={s.remaining};t={s.reset}' for s in states)
    tightest = min(states, key=lambda state: (state.remaining, -state.reset))
    trio = (tightest.limit.quota, tightest.remaining, tightest.reset)
    return {"RateLimit-Policy": policy, "RateLimit": now} | {
        name: str(value) for name, value in zip(_TRIO, trio, strict=True)
    }
