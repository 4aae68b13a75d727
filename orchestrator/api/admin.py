"""Recognises the administrator, who sends ``Authorization: Bearer REROOM_ADMIN_TOKEN``."""

from __future__ import annotations

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from orchestrator.api.errors import Problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.settings import Settings

Connection = ASGIConnection[Any, Any, Any, Any]


def require_admin(connection: Connection, handler: BaseRouteHandler) -> None:
    """A guard for the administrator's routes. OPTIONS passes without a token. Raises Problem."""
    if connection.scope.get("method") == "OPTIONS":
        return
    if connection.app.state.settings.admin_token is None:
        raise Problem(
            ProblemCode.ADMIN_DISABLED, "REROOM_ADMIN_TOKEN is not set, so there is no administrator"
        )
    if not is_admin(connection):
        headers = {"WWW-Authenticate": "Bearer"}
        raise Problem(
            ProblemCode.UNAUTHORIZED, "this needs the administrator's bearer token", headers=headers
        )


def is_admin(connection: Connection) -> bool:
    settings: Settings = connection.app.state.settings
    token = settings.admin_token
    if token is None:
        return False
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    same = hmac.compare_digest(expected, given.strip().encode("utf-8", "replace"))
    return scheme.lower() == "bearer" and same
