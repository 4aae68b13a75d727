"""Which other sites' pages may call this API (CORS, as in the Fetch standard).

Litestar's own middleware refuses preflights in plain text. It also sends ``Vary`` only in answers to pages of other
sites, so that a browser's cache may give them the answer to an ``<img>``, which lacks the CORS headers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.responses.errors import Problem, send_problem
from orchestrator.domain.codes import ProblemCode

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
EXPOSED = (
    "Allow", "ETag", "Idempotent-Replayed", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy",
    "Retry-After", "WWW-Authenticate", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
"""Response headers that a page may read in addition to the safelisted ones."""
PREFLIGHT_SECONDS = 7200
"""Seconds that browsers may cache a preflight; Chrome's own limit."""

_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")


class CrossOrigin:
    """ASGI middleware. ``origins``: the allowed ones, such as https://example.org; ``*`` allows all.

    Pages may send any header. There are no cookies, so no header gives a page rights that it does not have already.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = asked.get(b"origin")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*_with_vary(list(message["headers"])), *self._headers(origin)]
            await send(message)

        method = asked.get(b"access-control-request-method")
        if scope["method"] == "OPTIONS" and origin is not None and method is not None:
            wanted = asked.get(b"access-control-request-headers", "").strip()
            await self._preflight(origin, method, wanted, scope, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _allows(self, origin: str) -> bool:
        return "*" in self._origins or origin in self._origins

    def _headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        if "*" in self._origins:
            allowed = "*"
        elif origin is not None and self._allows(origin):
            allowed = origin
        else:
            return []
        exposed = ", ".join(EXPOSED)
        return [
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", exposed.encode()),
        ]

    async def _preflight(self, origin: str, method: str, wanted: str, scope: Scope, send: Send) -> None:
        if not self._allows(origin):
            detail = (
                "pages of this origin may not call this service; its operator can name it in ALLOWED_ORIGINS"
            )
            await send_problem(Problem(ProblemCode.FORBIDDEN_ORIGIN, detail, field="origin"), scope, send)
        elif method not in METHODS:
            allow = {"Allow": ", ".join(METHODS)}
            detail = f"there are {allow['Allow']}"
            await send_problem(Problem(ProblemCode.METHOD_NOT_ALLOWED, detail, headers=allow), scope, send)
        elif wanted and not _TOKENS.fullmatch(wanted):
            field = "access-control-request-headers"
            detail = "these are no names of headers, separated by commas"
            await send_problem(Problem(ProblemCode.BAD_REQUEST, detail, field=field), scope, send)
        else:
            headers = [
                (b"access-control-allow-methods", ", ".join(METHODS).encode()),
                (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
                (b"vary", b"Access-Control-Request-Headers"),
            ]
            if wanted:
                headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _with_vary(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with ``Vary: Origin``. Requests without an Origin need it too, because a cache must not give their
    answer to a request with an Origin."""
    vary = [b"Origin", *(value for name, value in headers if name.lower() == b"vary")]
    return [
        *((name, value) for name, value in headers if name.lower() != b"vary"),
        (b"vary", b", ".join(vary)),
    ]
