"""What the controllers work with; ``app.py`` builds it, Litestar hands it to each handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from orchestrator.api.budget import UploadBudget
from orchestrator.api.clients import Clients
from orchestrator.api.presenters import Presenter
from orchestrator.api.sharing import Shared
from orchestrator.photos.gate import PhotoGate
from orchestrator.ports import Inference, JobStore, SignedFiles, Storage
from orchestrator.services.analysis import Analyst
from orchestrator.services.direct_uploads import Incoming
from orchestrator.services.jobs import JobService
from orchestrator.settings import Settings

HEALTH_SECONDS = 1.0
"""How old an answer about the health of the parts may be."""


@dataclass(frozen=True, kw_only=True)
class Context:
    settings: Settings
    store: JobStore
    storage: Storage
    files: SignedFiles | None
    """None where the storage's links lead elsewhere."""
    inference: Inference
    clients: Clients
    uploads: UploadBudget
    gate: PhotoGate
    incoming: Incoming
    jobs: JobService
    analyst: Analyst
    presenter: Presenter
    health: Shared[Any] = field(default_factory=lambda: Shared(HEALTH_SECONDS))
    """The health of every part: its checks cost a write in Redis and calls of every other part."""

    def client(self, request: Request[Any, Any, Any]) -> str | None:
        """Who asks, for shares of what is scarce; None for a proxy that does not say for whom."""
        return self.clients.asking(request.client.host if request.client else None)


FromApp = NamedDependency[Context]
"""What a handler writes behind its parameter ``context``."""
