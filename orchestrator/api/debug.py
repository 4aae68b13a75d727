"""What an administrator may look at."""

from __future__ import annotations

import hmac
from typing import Any

from litestar import Controller, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from orchestrator.api.context import Context, FromApp
from orchestrator.api.errors import Problem, problems
from orchestrator.ports import QueueStats, StorageStats


def require_admin(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard: lets requests with ``Authorization: Bearer REROOM_ADMIN_TOKEN`` pass; raises Problem."""
    context: Context = connection.app.state.context
    token = context.settings.admin_token
    if token is None:
        raise Problem(403, "admin_disabled", "REROOM_ADMIN_TOKEN is not set, so there is no administrator")
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    same = hmac.compare_digest(expected, given.strip().encode("utf-8", "replace"))
    if scheme.lower() != "bearer" or not same:
        headers = {"WWW-Authenticate": "Bearer"}
        raise Problem(401, "unauthorized", "this needs the administrator's bearer token", headers=headers)


class DebugController(Controller):
    path = "/debug"
    tags = ("debug",)
    guards = (require_admin,)

    @get("/queue/stats", summary="Counts over all jobs", responses=problems(401, 403, 503))
    async def queue(self, context: FromApp) -> QueueStats:
        return await context.store.stats()

    @get("/storage/stats", summary="How much is stored", responses=problems(401, 403, 503))
    async def storage(self, context: FromApp) -> StorageStats:
        return await context.storage.stats()
