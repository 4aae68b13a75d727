"""How much there is of what, for the administrator."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import NamedDependency

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.errors import problems
from orchestrator.ports import JobStore, QueueStats, Storage, StorageStats


class DebugController(Controller):
    path = "/debug"
    tags = ("debug",)
    opt = access(Rule.ADMIN)

    @get(
        "/queue/stats",
        operation_id="get_queue_stats",
        summary="Counts over all jobs",
        responses=problems(503),
    )
    async def queue(self, store: NamedDependency[JobStore]) -> QueueStats:
        return await store.stats()

    @get(
        "/storage/stats",
        operation_id="get_storage_stats",
        summary="How much is stored",
        responses=problems(503),
    )
    async def storage(self, storage: NamedDependency[Storage]) -> StorageStats:
        return await storage.stats()
