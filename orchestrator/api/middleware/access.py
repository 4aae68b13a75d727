"""Who may use which route: the only place where the API recognises callers.

Each route declares a rule, with ``opt=access(Rule.READ)``; :func:`check_access` is part of the guard of all routes
(:func:`orchestrator.api.middleware.limiting.admit`). Callers
send their key as ``Authorization: Bearer …`` or ``X-API-Key``, or a one-time ticket as ``?ticket=`` where a browser can
send no header.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler, WebsocketRouteHandler
from litestar.routes import BaseRoute, HTTPRoute, WebSocketRoute
from litestar.types import Scope as AsgiScope

from orchestrator.api.middleware.clients import Clients
from orchestrator.api.middleware.guesses import Guesses
from orchestrator.api.responses.errors import Problem, to_problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import OPEN, Caller, Scope, parse
from orchestrator.ports import Unavailable
from orchestrator.services.keys import KeyService, NotRecognised
from orchestrator.settings import Settings, is_loopback

Connection = ASGIConnection[Any, Any, Any, Any]


class Rule(StrEnum):
    """What a route asks of its callers."""

    TRANSFORM = "transform"
    """The scope ``transform``."""
    READ = "read"
    """The scope ``read``."""
    ADMIN = "admin"
    """The scope ``admin``."""
    PUBLIC = "public"
    """Nothing."""
    SIGNED = "signed"
    """A link that this service signed. The route's handler checks it."""

    @property
    def scope(self) -> Scope | None:
        """The scope that a caller needs; None = no caller is looked for."""
        return None if self in (Rule.PUBLIC, Rule.SIGNED) else Scope(self)


CHALLENGE = {"WWW-Authenticate": "Bearer"}
STORE_SECONDS = 1.0
"""Seconds that a public route waits to learn who asks."""
TICKET = "ticket"
"""The query parameter."""

NO_TICKET = "this ticket was used, has expired, or is for another job: ask POST /tickets for another"

_RULE, _TICKET, _CALLER, _REFUSAL = "access", "access_ticket", "caller", "refusal"
_UNUSED = "unused_ticket"


def access(rule: Rule, *, ticket: bool = False) -> dict[str, Any]:
    """The ``opt`` of a route. ``ticket``: whether a ticket for the job of its path does instead of a key."""
    return {_RULE: rule, _TICKET: ticket}


def rule_of(handler: BaseRouteHandler) -> Rule:
    """Raises KeyError for a route that declares none."""
    rule: Rule = handler.opt[_RULE]
    return rule


def every_handler(routes: Sequence[BaseRoute]) -> list[tuple[str, HTTPRouteHandler | WebsocketRouteHandler]]:
    """The handlers of all routes with their paths, without those that Litestar makes for OPTIONS. Raises RuntimeError
    for a route that declares no rule: it would be anyone's guess who may use it."""
    found: list[tuple[str, HTTPRouteHandler | WebsocketRouteHandler]] = []
    for route in routes:
        match route:
            case HTTPRoute():
                made = [each for each in route.route_handlers if each.http_methods != {"OPTIONS"}]
                found += [(route.path_format, each) for each in made]
            case WebSocketRoute():
                found.append((route.path_format, route.route_handler))
            case _:
                raise RuntimeError(f"{route.path}: routes of this kind have no rule for who may use them")
    for path, handler in found:
        if _RULE not in handler.opt:
            raise RuntimeError(f"{path}: say who may use it, with opt=access(Rule.…)")
    return found


def takes_ticket(handler: BaseRouteHandler) -> bool:
    return bool(handler.opt.get(_TICKET))


async def check_access(connection: Connection, handler: BaseRouteHandler) -> None:
    """The first part of the guard. OPTIONS passes, as browsers ask without credentials.

    Raises Problem. A WebSocket's refusal is kept for :func:`admitted` instead, because a browser gets no reason from a
    handshake that is refused.
    """
    if connection.scope.get("method") == "OPTIONS":
        return
    needed = rule_of(handler).scope
    if needed is None:
        return
    state = connection.scope["state"]
    try:
        state[_CALLER] = await _caller(connection, needed, tickets=takes_ticket(handler))
    except (Problem, Unavailable) as refusal:
        if connection.scope["type"] != ScopeType.WEBSOCKET:
            raise
        refuse_later(connection.scope, refusal)


async def use_ticket(connection: Connection) -> None:
    """The last part of the guard, so that a request that is refused for another reason leaves its ticket: take the
    ticket that :func:`check_access` has found, if any. Raises Problem when it is gone, and Unavailable."""
    ticket = connection.scope["state"].pop(_UNUSED, None)
    if ticket is not None:
        try:
            await _keys(connection).redeem(ticket, _job_of(connection))
        except NotRecognised:
            raise _unauthorized(NO_TICKET) from None


def admitted(scope: AsgiScope) -> Caller:
    """The caller of a WebSocket. Raises Problem."""
    state = scope["state"]
    if _REFUSAL in state:
        raise state[_REFUSAL]
    caller: Caller = state[_CALLER]
    return caller


def known_caller(scope: AsgiScope) -> Caller | None:
    """Who makes the request; None where nobody was looked for, or nobody was recognised."""
    caller: Caller | None = scope["state"].get(_CALLER)
    return caller


def refuse_later(scope: AsgiScope, refusal: Exception) -> None:
    """Keep the refusal of a WebSocket for :func:`admitted`."""
    scope["state"].setdefault(_REFUSAL, to_problem(refusal))


def has_caller(scope: AsgiScope) -> bool:
    """Whether the request was let in because of who makes it."""
    return _CALLER in scope.get("state", {})


async def is_admin(connection: Connection) -> bool:
    """Whether an administrator uses this public route. False also when the store does not say so in time: the route
    answers without it."""
    text = _sent(connection)
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return text is not None and (await _recognise(connection, text)).is_admin
    except (NotRecognised, Problem, Unavailable, TimeoutError):
        return False


async def recognised(connection: Connection) -> Caller | None:
    """Who uses this public route; None where nobody is recognised, as the route has an answer for everybody. Raises
    Unavailable."""
    text = _sent(connection)
    try:
        if text is None:
            return _without_key(connection, Scope.READ)
        return await _recognise(connection, text)
    except (NotRecognised, Problem):
        return None


def caller_provider() -> Provide:
    """Litestar's dependency ``caller``, for routes whose rule needs a scope."""

    def from_scope(scope: AsgiScope) -> Caller:
        caller: Caller = scope["state"][_CALLER]
        return caller

    return Provide(from_scope, sync_to_thread=False)


async def _caller(connection: Connection, needed: Scope, *, tickets: bool) -> Caller:
    text, ticket = _sent(connection), connection.query_params.get(TICKET) if tickets else None
    try:
        if text is not None:
            caller = await _recognise(connection, text, guarded=needed is Scope.ADMIN)
        elif ticket is not None:
            caller = await _keys(connection).holder(ticket, _job_of(connection))
            connection.scope["state"][_UNUSED] = ticket
        else:
            caller = _without_key(connection, needed)
    except NotRecognised:
        raise _unauthorized(
            NO_TICKET
            if text is None
            else "this key is not valid: it is unknown, was revoked or replaced, or has expired"
        ) from None
    if needed not in caller.scopes:
        raise Problem(
            ProblemCode.MISSING_SCOPE,
            f"this needs a key with the scope {needed}; yours has {', '.join(sorted(caller.scopes))}",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        )
    return caller


async def _recognise(connection: Connection, text: str, *, guarded: bool = False) -> Caller:
    """Who sends this key. Raises NotRecognised, Unavailable, and Problem for an address that was wrong too often.

    What may be a guess at the administrator's token is any text that has not the form of an API key, on every route:
    the right one would be told from the answer. Of keys that have, those sent to administrators' routes (``guarded``)
    count.
    """
    keys = _keys(connection)
    if not guarded and parse(text) is not None:
        return await keys.recognise(text)
    guesses: Guesses = connection.app.state["guesses"]
    clients: Clients = connection.app.state["clients"]
    address = clients.asking(connection.client.host if connection.client else None)
    # Before the key is looked at: the right one must not be told from wrong ones.
    if left := guesses.seconds_left(address):
        detail = f"your address has sent too many wrong keys; try again in {left} s"
        raise Problem(ProblemCode.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(left)})
    try:
        return await keys.recognise(text)
    except NotRecognised:
        guesses.note(address)
        raise


def _job_of(connection: Connection) -> str:
    """The id in the path, for which a ticket must be."""
    return str(connection.path_params.get("job_id", ""))


def _sent(connection: Connection) -> str | None:
    """The key or token of the headers; None if there is none. Authorization with another scheme than Bearer, such as a
    proxy's own, is none."""
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        if scheme.lower() == "bearer":
            return text.strip() or None
    key = connection.headers.get("x-api-key")
    return None if key is None else key.strip() or None


def _without_key(connection: Connection, needed: Scope) -> Caller:
    """Who has sent no key: in open mode, someone on this machine who may do as they like."""
    settings: Settings = connection.app.state.settings
    if not settings.open:
        raise _unauthorized(
            "send a key: Authorization: Bearer rr_…, or X-API-Key; the service's operator makes one with "
            "`python -m orchestrator keys create`"
        )
    if not _from_here(connection):
        raise _unauthorized("without a key, this service is open to its own machine alone")
    host = connection.headers.get("host")
    if host is not None and not _is_ours(host, settings):
        # A page whose own name was made to lead here (DNS rebinding) sends no Origin with a GET, but its name as Host.
        detail = (
            "without a key, this service is called as localhost, or by a name that its operator gives in "
            "API_BASE_URL or ALLOWED_ORIGINS"
        )
        raise Problem(ProblemCode.FORBIDDEN_ORIGIN, detail, field="host")
    origin = connection.headers.get("origin")
    if origin is not None and not {"*", origin} & {*settings.origins}:
        # Nothing else keeps a page that someone on this machine visits from using the service.
        detail = "pages of this origin may not call this service; its operator can name it in ALLOWED_ORIGINS"
        raise Problem(ProblemCode.FORBIDDEN_ORIGIN, detail, field="origin")
    if needed in OPEN.scopes:
        return OPEN
    if settings.admin_token is None:
        raise Problem(
            ProblemCode.ADMIN_DISABLED, "REROOM_ADMIN_TOKEN is not set, so there is no administrator"
        )
    raise _unauthorized("this needs the administrator's bearer token")


def _from_here(connection: Connection) -> bool:
    """Whether the client, which a trusted proxy may have named, is on this machine."""
    client = connection.client
    try:
        return client is not None and ipaddress.ip_address(client.host).is_loopback
    except ValueError:
        return False


def _is_ours(host: str, settings: Settings) -> bool:
    """Whether a name, with its port, is this machine's own or one that the operator has named."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or not settings.hosts.isdisjoint(("*", name))


def _unauthorized(detail: str) -> Problem:
    return Problem(ProblemCode.UNAUTHORIZED, detail, headers=CHALLENGE)


def _keys(connection: Connection) -> KeyService:
    keys: KeyService = connection.app.state["keys"]
    return keys
