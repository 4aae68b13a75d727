"""What RFC 9110 requires of every route and Litestar does not do: HEAD, Allow, and refusing coded bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.routes import BaseRoute
from litestar.types import ASGIApp, HTTPScope, Message, Send

from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode

_HEAD = "reroom.head"
METHODS_WITH_BODY = ("PATCH", "POST", "PUT")


class Methods:
    """Wraps an application's ``asgi_handler``: HEAD is answered like GET (servers leave the body out), and every
    ``Allow`` lists all methods of the address."""

    def __init__(self, handler: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._handler, self._routes = handler, routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._handler(scope, receive, send)
            return
        # A copy, because the server reads the client's method from its own scope.
        inner = scope | {"method": "GET", _HEAD: True} if scope["method"] == "HEAD" else scope
        try:
            await self._handler(inner, receive, self._with_allow(inner, send))
        finally:
            if inner is not scope and "path_template" in inner:
                scope["path_template"] = inner["path_template"]  # for those outside

    def _with_allow(self, scope: HTTPScope, send: Send) -> Send:
        async def with_allow(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                if "allow" in headers:
                    headers["allow"] = ", ".join(sorted(self._allowed(scope, headers["allow"])))
            await send(message)

        return with_allow

    def _allowed(self, scope: HTTPScope, listed: str) -> set[str]:
        """The methods of the address. Litestar's answer to OPTIONS lacks those of its later handlers."""
        methods = {method.strip() for method in listed.split(",")}
        if scope["method"] == "OPTIONS":
            for route in self._routes:
                if route.path_format == scope.get("path_template"):
                    methods |= getattr(route, "methods", set())
        return methods | {"HEAD"} if "GET" in methods else methods


def is_head(scope: Any) -> bool:
    """Whether the request, which a route for GET handles, is a HEAD: a stream then needs no more than its headers."""
    return _HEAD in scope


def refuse_coded_body(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard that refuses compressed bodies. Raises Problem 415."""
    if connection.scope.get("method") not in METHODS_WITH_BODY:
        return
    coding = ", ".join(connection.headers.getall("content-encoding", []))
    if coding.strip().lower() not in ("", "identity"):
        raise Problem(
            ProblemCode.UNSUPPORTED_ENCODING,
            f"a body with Content-Encoding {coding[:100]} is not taken: send it as it is, without the header",
            field="content-encoding",
            headers={"Accept-Encoding": "identity"},
        )
