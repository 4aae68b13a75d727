"""What an administrator may look at."""

from __future__ import annotations

from litestar import Controller, get

from orchestrator.api.admin import require_admin
from orchestrator.api.context import FromApp
from orchestrator.api.errors import problems
from orchestrator.ports import QueueStats, StorageStats


class DebugController(Controller):
    path = "/debug"
    tags = ("debug",)
    guards = (require_admin,)

    @get(
        "/queue/stats",
        operation_id="get_queue_stats",
        summary="Counts over all jobs",
        responses=problems(401, 403, 503),
    )
    async def queue(self, context: FromApp) -> QueueStats:
        return await context.store.stats()

    @get(
        "/storage/stats",
        operation_id="get_storage_stats",
        summary="How much is stored",
        responses=problems(401, 403, 503),
    )
    async def storage(self, context: FromApp) -> StorageStats:
        return await context.storage.stats()
