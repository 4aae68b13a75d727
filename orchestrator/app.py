"""The API, ``python -m orchestrator.app``, in one process or several."""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, asynccontextmanager, closing
from functools import partial
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import Message, Scope

from orchestrator.adapters.opening import Adapters, open_adapters, open_store, open_usage, page_links
from orchestrator.api.dependencies import Dependencies, providers
from orchestrator.api.middleware.access import every_handler, has_caller
from orchestrator.api.middleware.clients import Clients
from orchestrator.api.middleware.cross_origin import CrossOrigin
from orchestrator.api.middleware.deadline import AnswerWithin
from orchestrator.api.middleware.guesses import Guesses
from orchestrator.api.middleware.limiting import Limiter, add_rate_headers, admit
from orchestrator.api.middleware.observing import Observed
from orchestrator.api.middleware.semantics import Methods, refuse_coded_body
from orchestrator.api.openapi import schema_controller
from orchestrator.api.requests.budget import UploadBudget
from orchestrator.api.requests.forms import FORM_OVERHEAD
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.requests.prefer import Waits
from orchestrator.api.responses.errors import handle_error
from orchestrator.api.responses.presenters import Presenter
from orchestrator.api.routes.admin_page import AdminPageController
from orchestrator.api.routes.analyze import AnalyzeController
from orchestrator.api.routes.batch import BatchController
from orchestrator.api.routes.dead_letters import DeadLettersController
from orchestrator.api.routes.debug import DebugController
from orchestrator.api.routes.files import FilesController
from orchestrator.api.routes.health import HealthChecks, HealthController
from orchestrator.api.routes.keys import KeysController
from orchestrator.api.routes.listing import ListingController
from orchestrator.api.routes.oversight import OversightController
from orchestrator.api.routes.pages import PagesController
from orchestrator.api.routes.reference import ReferenceController
from orchestrator.api.routes.releases import ReleasesController
from orchestrator.api.routes.root import RootController
from orchestrator.api.routes.server_events import ServerEventsController
from orchestrator.api.routes.studio import StudioController
from orchestrator.api.routes.styles import StylesController
from orchestrator.api.routes.tickets import TicketsController
from orchestrator.api.routes.transform import TransformController
from orchestrator.api.routes.uploads import UploadsController
from orchestrator.api.routes.usage import UsageController
from orchestrator.api.routes.webhooks import WebhooksController
from orchestrator.api.routes.websocket import watch
from orchestrator.domain.webhooks import secret_bytes
from orchestrator.egress.guarded import Guarded
from orchestrator.photos.gate import PROCESSES, PhotoGate
from orchestrator.ports import Receiver, SignedFiles
from orchestrator.programs.arguments import no_arguments
from orchestrator.programs.observing import observed
from orchestrator.programs.undumpable import make_undumpable
from orchestrator.server.connections import BoundedProtocol, Limits
from orchestrator.server.exporting import BudgetCollector, DiskCollector, StoreCollector, exporting
from orchestrator.server.listening import bound
from orchestrator.server.processes import serve_in_processes
from orchestrator.services.analysis import AnalysisService
from orchestrator.services.collages import Collages
from orchestrator.services.dead_letters import DeadLetters
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import KeyService
from orchestrator.services.notifying.deliveries import Deliveries
from orchestrator.services.notifying.hook_events import HookEvents
from orchestrator.services.notifying.operator_events import OperatorEvents
from orchestrator.services.notifying.webhooks import WebhookService
from orchestrator.services.releases.control import ReleaseControl
from orchestrator.services.style_book import StyleBook
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.budget import MonthlyBudget
from orchestrator.services.submitting.costs import Costs
from orchestrator.services.submitting.direct_uploads import DirectUploads
from orchestrator.services.submitting.fetching import PhotoFetcher
from orchestrator.services.submitting.once import Once
from orchestrator.services.submitting.submissions import Submissions
from orchestrator.services.submitting.waiting import Waiting
from orchestrator.settings import Settings, SettingsError, load_settings, variables
from orchestrator.telemetry import CannotObserve, logs
from orchestrator.telemetry.analytics import open_analytics
from orchestrator.telemetry.metrics import REGISTRY
from orchestrator.telemetry.shared import SharedMetrics

UPLOADS_AT_ONCE = 16
"""The uploads of the largest size that the API's processes hold in memory together; more if they are smaller."""

CLIENTS = 4
"""One client may hold this fraction, a quarter, of that memory."""

ANSWER_MARGIN = 8.0
"""Seconds after the longest time for an answer, for which the idempotency key of a request whose process died stays in
use."""

OTHER_FILES = 500
"""Open files beside the connections of clients: those for Redis, S3, Triton and the decoders."""

ENDING_SECONDS = 10.0
"""Seconds that one of several processes may take to close its connections after the drain; then it is killed."""

INVALID_REQUEST = "Invalid HTTP request received."
"""What uvicorn logs for each invalid request."""
ROUTES = (
    RootController,
    HealthController,
    TransformController,
    ServerEventsController,
    ListingController,
    BatchController,
    UploadsController,
    TicketsController,
    StylesController,
    AnalyzeController,
    FilesController,
    PagesController,
    DebugController,
    DeadLettersController,
    KeysController,
    ReleasesController,
    UsageController,
    WebhooksController,
    ReferenceController,
    OversightController,
    StudioController,
    AdminPageController,
)
"""The HTTP routes of the API, without the one that serves its OpenAPI document."""

log = logging.getLogger("reroom.api")


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI application; ``settings`` come from the environment unless given. Raises SettingsError."""
    settings = settings or load_settings()
    app = Litestar(
        route_handlers=[*ROUTES, schema_controller(ROUTES, settings.max_upload_bytes), watch],
        lifespan=[_lifespan(settings)],
        dependencies=providers(),
        guards=[admit, refuse_coded_body],
        exception_handlers={Exception: handle_error},
        request_max_body_size=settings.max_upload_bytes + FORM_OVERHEAD,
        before_send=[_finish_response, add_rate_headers],
        openapi_config=None,
        logging_config=None,
    )
    every_handler(app.routes)  # raises for a route that does not say who may use it
    # Wraps all answers, while Litestar's own middleware wraps only routes.
    timed = AnswerWithin(Methods(app.asgi_handler, app.routes), settings.answer_seconds)
    app.asgi_handler = Observed(CrossOrigin(timed, settings.origins))
    return app


def _lifespan(settings: Settings) -> Any:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with _open_dependencies(settings) as dependencies:
            app.state.update(dependencies)
            yield

    return lifespan


@asynccontextmanager
async def _open_dependencies(settings: Settings) -> AsyncGenerator[Dependencies]:
    processes = max(1, PROCESSES // settings.api_processes)
    gate = PhotoGate(
        settings.max_pixels, processes, sandbox=settings.sandbox, manifests=settings.keep_manifests
    )
    guarded = Guarded(ports=settings.egress_ports, exceptions=settings.egress_exceptions)
    async with (
        open_analytics(settings.analytics) as analytics,
        open_adapters(settings) as adapters,
        gate,
        guarded,
    ):
        store, storage, inference = adapters.store, adapters.storage, adapters.inference
        clients = Clients(settings.trusted_proxies)
        plans, pricing = settings.plans, settings.pricing
        links = page_links(settings)
        jobs = JobService(
            store, storage, max_queue=settings.max_queue, plans=plans, pricing=pricing, analytics=analytics
        )
        direct_uploads = DirectUploads(store, storage, settings.upload_ttl)
        styles = StyleService(StyleBook(settings.styles_file), adapters.styles, plans)
        # Workers make them: they have the certificate that signs pictures.
        collages = Collages(store, adapters.errands, styles.title)
        presenter = Presenter(
            storage, collages, settings.api_base_url, settings.url_ttl, links, settings.times
        )
        waiting = Waiting(jobs, seconds=settings.wait_seconds, at_once=settings.waits_at_once)
        fetcher = PhotoFetcher(guarded)
        submissions = Submissions(
            jobs, gate, direct_uploads, settings.max_upload_bytes, Costs(inference), styles, fetcher
        )
        async with aclosing(submissions), _delivering(settings, adapters, guarded, presenter):
            yield Dependencies(
                settings=settings,
                plans=plans,
                keys=KeyService(adapters.keys, admin_token=settings.administrator),
                styles=styles,
                clients=clients,
                guesses=Guesses(),
                limiter=Limiter(adapters.rates, plans, clients),
                store=store,
                storage=storage,
                signed_files=storage if isinstance(storage, SignedFiles) else None,
                uploads=Uploads(upload_budget(settings), clients, settings.max_upload_bytes),
                direct_uploads=direct_uploads,
                dead_letters=DeadLetters(store, storage),
                once=Once(adapters.once, lock_seconds=settings.answer_seconds + ANSWER_MARGIN),
                submissions=submissions,
                waits=Waits(jobs, waiting, presenter),
                gate=gate,
                jobs=jobs,
                usage=adapters.usage,
                oversight=adapters.oversight,
                inference=inference,
                releases=ReleaseControl(adapters.rollouts, adapters.canaries, store, storage, inference),
                webhooks=WebhookService(adapters.endpoints, guarded),
                monthly_budget=MonthlyBudget(adapters.usage, store, pricing),
                analysis=AnalysisService(inference, settings.analyses_at_once),
                page_links=links,
                presenter=presenter,
                checks=HealthChecks(store, storage, inference),
            )


@asynccontextmanager
async def _delivering(
    settings: Settings, adapters: Adapters, guarded: Guarded, presenter: Presenter
) -> AsyncGenerator[None]:
    """Sends events to the operator's systems and to users' endpoints in the background."""
    urls: dict[Receiver, str | None] = {
        "budget": settings.budget_webhook,
        "usage": settings.usage_webhook,
        "releases": settings.releases_webhook,
    }
    receivers = {to: url for to, url in urls.items() if url is not None}
    secret = settings.events_secret
    signing = b"" if secret is None else secret_bytes(secret.get_secret_value())
    hooks = HookEvents(guarded, adapters.keys, presenter.result, settings.api_base_url)
    async with OperatorEvents(receivers, signing, settings.currency) as operator:
        sending = asyncio.create_task(Deliveries(adapters.outbox, operator, hooks).run())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait([sending])


def upload_budget(settings: Settings) -> UploadBudget:
    """The budget of one process: enough for at least one upload of the largest size, however many processes there
    are."""
    largest = settings.max_upload_bytes + FORM_OVERHEAD
    limit = max(UPLOADS_AT_ONCE * settings.max_upload_bytes // settings.api_processes, largest)
    return UploadBudget(limit, max(limit // CLIENTS, largest))


async def _finish_response(message: Message, scope: Scope) -> None:
    """Add security headers to every answer."""
    if message["type"] != "http.response.start" or scope["type"] != ScopeType.HTTP:
        return
    headers = MutableScopeHeaders.from_message(message)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if has_caller(scope):
        # Caches know that answers to Authorization are not for others, but not those to X-API-Key or a ticket.
        headers.setdefault("Cache-Control", "no-store")


def main() -> None:
    no_arguments("orchestrator.app", "The API: serves until SIGTERM or Ctrl-C.", variables())
    make_undumpable()
    try:
        settings = load_settings()
        _log_to_stderr(settings)
        if settings.open:
            log.warning("REROOM_OPEN: whoever is on this machine may use the service without a key")
        for warning in settings.warnings:
            log.warning(warning)
        if settings.api_processes == 1:
            with _exporting(settings, REGISTRY), observed("api", settings):
                uvicorn.run(create_app(settings), **_uvicorn(settings))
            return
        status = _serve_in_processes(settings)
    except (SettingsError, CannotObserve) as error:
        sys.exit(str(error))
    sys.exit(status)


def _serve_in_processes(settings: Settings) -> int:
    try:
        sockets = bound(settings.host, settings.port)
    except OSError as error:
        sys.exit(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")
    stop_seconds = settings.drain_seconds + ENDING_SECONDS
    if settings.metrics_port is None:
        return serve_in_processes(serve_in_process, settings.api_processes, sockets, stop_seconds)
    with closing(SharedMetrics()) as shared, _exporting(settings, shared):
        return serve_in_processes(
            serve_in_process, settings.api_processes, sockets, stop_seconds, shared.ended
        )


def _exporting(settings: Settings, counted: object) -> AbstractContextManager[None]:
    """Serve ``counted`` and what the job store and the disk say, if the settings ask for it."""
    collectors = [counted, StoreCollector(lambda: open_store(settings))]
    if settings.pricing.budget is not None:
        collectors.append(BudgetCollector(lambda: open_usage(settings), settings.pricing.budget.micros))
    if settings.r2_bucket_name is None:
        collectors.append(DiskCollector(settings.storage_dir))
    return exporting(settings.metrics_host, settings.metrics_port, *collectors)


def serve_in_process(sockets: Sequence[socket.socket]) -> None:
    """The main function of each process when there are several."""
    make_undumpable()
    settings = load_settings()
    _log_to_stderr(settings)
    with ExitStack() as stack:
        try:
            stack.enter_context(observed("api", settings))
            config = uvicorn.Config(create_app(settings), **_uvicorn(settings))
        except Exception:
            log.exception("the API cannot start")
            sys.exit(uvicorn.config.STARTUP_FAILURE)
        uvicorn.Server(config).run(list(sockets))


def _log_to_stderr(settings: Settings) -> None:
    logs.configure("api", settings.log_format, settings.log_level)
    # orchestrator.server.connections logs the same, with the reason and less often.
    logging.getLogger("uvicorn.error").addFilter(_without_secrets)


def _without_secrets(record: logging.LogRecord) -> bool:
    """A filter for uvicorn's log. It takes the query, which may hold a ticket, out of what uvicorn says of a WebSocket:
    '%s - "WebSocket %s" [accepted]'. It drops INVALID_REQUEST."""
    if isinstance(record.args, tuple) and "WebSocket %s" in str(record.msg):
        record.args = tuple(
            argument.partition("?")[0] if isinstance(argument, str) else argument for argument in record.args
        )
    return record.msg != INVALID_REQUEST


def _uvicorn(settings: Settings) -> dict[str, Any]:
    limits = Limits(_room_for(settings.max_connections), Clients(settings.trusted_proxies))
    return {
        "http": partial(BoundedProtocol, limits=limits),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        "host": settings.host,
        "port": settings.port,
        "workers": 1,
        "access_log": False,
        "log_config": None,
        "ws_max_size": 64 * 1024,
        "ws_per_message_deflate": False,  # previews are JPEG, and a compressor costs memory for each watcher
        "timeout_graceful_shutdown": math.ceil(settings.drain_seconds),
        "server_header": False,
    }


def _room_for(connections: int) -> int:
    """``connections``, or fewer if the system's limit on open files is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    room = max(wanted - OTHER_FILES, wanted // 2)
    if room < connections:
        log.warning("RLIMIT_NOFILE has room for %d connections, not for %d", room, connections)
    return min(room, connections)


if __name__ == "__main__":
    main()
