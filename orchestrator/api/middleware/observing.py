"""Sees every request and every WebSocket from outside: its id, its line in the log, its metrics, its span."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Send

from orchestrator.api.middleware.deadline import unhurried_seconds
from orchestrator.telemetry import context, metrics, tracing

HEADER = "X-Request-Id"
STREAM = "text/event-stream"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""The route of a request to an address that there is not, and any method that is not a usual one."""

log = logging.getLogger("orchestrator.access")


@dataclass
class _Seen:
    """What is known of an exchange."""

    status: int = 500
    stream_after: float | None = None
    """Seconds until the answer began, if it is a stream, which lasts as long as its job."""
    close_code: str = "client"


class Observed:
    """ASGI middleware, outside all others. A request's id is the client's X-Request-Id if that is well-formed, and is
    answered in the same header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers.from_scope(scope)
        seen = _Seen()
        token = context.request_id.set(context.chosen_request_id(given.get(HEADER.lower())))
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send, seen)
            else:
                await self._websocket(scope, receive, send, seen)
        finally:
            context.request_id.reset(token)

    async def _http(self, scope: Any, receive: Receive, send: Send, seen: _Seen) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        began = time.perf_counter()

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                headers = MutableScopeHeaders.from_message(message)
                headers[HEADER] = context.request_id.get()
                if headers.get("content-type", "").startswith(STREAM):
                    seen.stream_after = time.perf_counter() - began
            await send(message)

        metrics.HTTP_IN_PROGRESS.inc()
        with tracing.span(method, "SERVER", http__request__method=method) as span:
            span.note(request_id=context.request_id.get())
            try:
                await self._app(scope, receive, with_id)
            finally:
                seconds = time.perf_counter() - began
                route = scope.get("path_template") or OTHER
                metrics.HTTP_IN_PROGRESS.dec()
                metrics.HTTP_REQUESTS.labels(method, route, seen.status).inc()
                own = seconds - unhurried_seconds(scope) if seen.stream_after is None else seen.stream_after
                metrics.HTTP_SECONDS.labels(method, route).observe(own)
                span.rename(f"{method} {route}")
                span.note(http__route=route, http__response__status_code=seen.status)
                if seen.status >= 500:
                    span.failed(str(seen.status))
                self._log(scope, seen, seconds)

    def _log(self, scope: Any, seen: _Seen, seconds: float) -> None:
        # The path as it was sent, because a decoded one may contain line breaks; without the query, which may contain
        # a signature.
        path = scope["raw_path"].decode("ascii", "replace")
        fields = {
            "method": scope["method"],
            "path": path,
            "status": seen.status,
            "seconds": round(seconds, 4),
        }
        log.info("%s %s %d", scope["method"], path, seen.status, extra={"fields": fields})

    async def _websocket(self, scope: Any, receive: Receive, send: Send, seen: _Seen) -> None:
        async def noting(message: Message) -> None:
            if message["type"] == "websocket.close":
                seen.close_code = str(message["code"])
            await send(message)

        metrics.WEBSOCKETS.inc()
        try:
            await self._app(scope, receive, noting)
        finally:
            metrics.WEBSOCKETS.dec()
            metrics.WEBSOCKETS_CLOSED.labels(seen.close_code).inc()
