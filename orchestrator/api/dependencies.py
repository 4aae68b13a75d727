"""What handlers get by the name of a parameter. ``app.py`` makes each dependency when the API starts."""

from __future__ import annotations

from typing import Any, TypedDict

from litestar.datastructures import State
from litestar.di import Provide

from orchestrator.api.middleware.access import caller_provider
from orchestrator.api.middleware.clients import Clients
from orchestrator.api.middleware.guesses import Guesses
from orchestrator.api.middleware.limiting import Limiter
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.requests.prefer import Waits
from orchestrator.api.responses.presenters import Presenter
from orchestrator.api.routes.health import HealthChecks
from orchestrator.domain.plans import Plans
from orchestrator.photos.gate import PhotoGate
from orchestrator.ports import Inference, JobStore, Oversight, PageLinks, SignedFiles, Storage, Usage
from orchestrator.services.analysis import AnalysisService
from orchestrator.services.dead_letters import DeadLetters
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import KeyService
from orchestrator.services.notifying.webhooks import WebhookService
from orchestrator.services.releases.control import ReleaseControl
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.budget import MonthlyBudget
from orchestrator.services.submitting.direct_uploads import DirectUploads
from orchestrator.services.submitting.once import Once
from orchestrator.services.submitting.submissions import Submissions
from orchestrator.settings import Settings


class Dependencies(TypedDict):
    """The dependencies by the name of the parameter."""

    settings: Settings
    plans: Plans
    """As they were when the API started: those that limits go by."""
    keys: KeyService
    styles: StyleService
    clients: Clients
    guesses: Guesses
    limiter: Limiter
    store: JobStore
    storage: Storage
    signed_files: SignedFiles | None
    """None where the storage's links lead to another server."""
    uploads: Uploads
    direct_uploads: DirectUploads
    once: Once
    dead_letters: DeadLetters
    submissions: Submissions
    waits: Waits
    gate: PhotoGate
    jobs: JobService
    analysis: AnalysisService
    usage: Usage
    oversight: Oversight
    inference: Inference
    releases: ReleaseControl
    webhooks: WebhookService
    monthly_budget: MonthlyBudget
    presenter: Presenter
    page_links: PageLinks
    checks: HealthChecks


def providers() -> dict[str, Provide]:
    """Litestar's ``dependencies``: each is read from the application's state, which ``app.py`` fills, except
    ``caller``, who makes the request."""
    return {"caller": caller_provider()} | {name: _provider(name) for name in Dependencies.__annotations__}


def _provider(name: str) -> Provide:
    def from_state(state: State) -> Any:
        return state[name]

    return Provide(from_state, sync_to_thread=False)
