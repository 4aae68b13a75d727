"""Every metric of the API and the worker, declared once. Names follow Prometheus' conventions: base units, ``_total``
for counters. No label may have an unlimited number of values: routes are templates, codes those of domain/codes.py.

Two kinds are here. The first are counted in the process where something happens; of several API processes they are
added up (shared.py). The second, ``STORED``, are read from the job store and the disk when Prometheus asks, by the
exporter of the API alone: so they are not counted twice, survive the death of any process, and include what no process
saw end, such as a job that is given up because its workers were killed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)

JOB_SECONDS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)
"""Dense where users wait; a draft on a GPU ends near the beginning, Stable Diffusion on a CPU near the end."""
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 22, 60)
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# --- the API ----------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = Counter(
    "reroom_http_requests_total",
    "Requests that were answered",
    ("method", "route", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "reroom_http_request_duration_seconds",
    "Time from a request's headers to the end of its answer",
    ("method", "route"),
    buckets=REQUEST_SECONDS,
    registry=REGISTRY,
)
HTTP_IN_PROGRESS = Gauge(
    "reroom_http_requests_in_progress",
    "Requests that are being answered",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
CONNECTIONS_REFUSED = Counter(
    "reroom_connections_refused_total",
    "Connections that were refused before they were a request of some route",
    ("code",),
    registry=REGISTRY,
)
UPLOAD_BYTES = Counter("reroom_upload_bytes_total", "Bytes of uploads that were read", registry=REGISTRY)
GATE_SECONDS = Histogram(
    "reroom_gate_duration_seconds",
    "Time that the gate took for a picture, the wait for a decoder included",
    buckets=CALL_SECONDS,
    registry=REGISTRY,
)
GATE_REFUSALS = Counter(
    "reroom_gate_refusals_total", "Pictures that the gate refused", ("code",), registry=REGISTRY
)
WEBSOCKETS = Gauge(
    "reroom_websockets", "Connected WebSockets", multiprocess_mode="livesum", registry=REGISTRY
)
WEBSOCKETS_CLOSED = Counter(
    "reroom_websockets_closed_total",
    "WebSockets that ended, by the service's close code; client = the client went first",
    ("code",),
    registry=REGISTRY,
)

# --- the worker -------------------------------------------------------------------------------------------------------

JOB_WAIT = Histogram(
    "reroom_job_wait_seconds",
    "Time from a job's submission to its first begin",
    buckets=JOB_SECONDS,
    registry=REGISTRY,
)
JOB_RUN = Histogram(
    "reroom_job_run_seconds",
    "Time of the attempt that completed a job",
    ("tier",),
    buckets=JOB_SECONDS,
    registry=REGISTRY,
)
JOB_SECONDS_IN_ALL = Histogram(
    "reroom_job_total_seconds",
    "Time from a job's submission to its completion",
    ("tier",),
    buckets=JOB_SECONDS,
    registry=REGISTRY,
)
JOB_ATTEMPTS = Counter("reroom_job_attempts_total", "Attempts that this worker began", registry=REGISTRY)
JOB_RETURNS = Counter(
    "reroom_job_returns_total",
    "Attempts that ended without an outcome: retry, outage, release, decline or lost",
    ("reason",),
    registry=REGISTRY,
)
JOB_FAILURES = Counter(
    "reroom_job_failures_total",
    "Jobs that failed in this worker, by the error's code",
    ("code",),
    registry=REGISTRY,
)
JOBS_RUNNING = Gauge(
    "reroom_worker_jobs", "Jobs that this worker runs", multiprocess_mode="livesum", registry=REGISTRY
)
DENOISE_STEPS = Counter("reroom_denoise_steps_total", "Steps that models reported", registry=REGISTRY)
PREVIEWS = Counter("reroom_previews_total", "Previews that models sent", registry=REGISTRY)
STAGE_SECONDS = Counter(
    "reroom_stage_seconds_total",
    "Time of completed jobs by stage of the model",
    ("stage",),
    registry=REGISTRY,
)
GPU_SECONDS = Counter(
    "reroom_gpu_seconds_total",
    "Time that the models took for completed jobs, by the results' own timings (on a CPU, that time)",
    ("style", "tier"),
    registry=REGISTRY,
)

UNSIGNED_PICTURES = Counter(
    "reroom_unsigned_pictures_total",
    "Pictures that were not signed though there is a certificate: it is not valid now (certificate), or C2PA failed "
    "(error)",
    ("reason",),
    registry=REGISTRY,
)
SIGNING_CERTIFICATE_END = Gauge(
    "reroom_signing_certificate_end_timestamp_seconds",
    "When the certificate ends that signs pictures; 0 without one",
    multiprocess_mode="livemin",
    registry=REGISTRY,
)
PICTURES = Counter(
    "reroom_pictures_total",
    "Pictures of completed jobs, by the release that made them",
    ("release",),
    registry=REGISTRY,
)
CANARY_DECISIONS = Counter(
    "reroom_canary_decisions_total",
    "Trials of a release that ended by themselves: promote, roll_back, or undecided when nothing was decided",
    ("decision",),
    registry=REGISTRY,
)
for _decision in ("promote", "roll_back", "undecided"):
    # From 0 on: of a series that begins with 1, Prometheus sees no increase.
    CANARY_DECISIONS.labels(_decision)

# --- what both call ---------------------------------------------------------------------------------------------------

TRITON_UP = Gauge(
    "reroom_triton_up",
    "Whether a Triton answered when it was last asked",
    ("triton",),
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
TRITON_REQUESTS = Gauge(
    "reroom_triton_requests_in_flight",
    "Requests that this process has sent to a Triton",
    ("triton",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
TRITON_SECONDS = Histogram(
    "reroom_triton_call_duration_seconds",
    "Time of the requests to a Triton that succeeded",
    ("triton", "call"),
    buckets=JOB_SECONDS,
    registry=REGISTRY,
)
TRITON_FAILURES = Counter(
    "reroom_triton_failures_total",
    "Requests that a Triton refused or failed, by the error's code",
    ("triton", "call", "code"),
    registry=REGISTRY,
)
STORAGE_SECONDS = Histogram(
    "reroom_storage_call_duration_seconds",
    "Time of the calls of the storage",
    ("call",),
    buckets=CALL_SECONDS,
    registry=REGISTRY,
)
STORAGE_ERRORS = Counter(
    "reroom_storage_errors_total",
    "Calls of the storage that found it unavailable",
    ("call",),
    registry=REGISTRY,
)
REDIS_SECONDS = Histogram(
    "reroom_redis_call_duration_seconds",
    "Time of the scripts in Redis",
    ("call",),
    buckets=CALL_SECONDS,
    registry=REGISTRY,
)
REDIS_ERRORS = Counter(
    "reroom_redis_errors_total",
    "Calls that found Redis unavailable: a script's name, or other",
    ("call",),
    registry=REGISTRY,
)
ANALYTICS_EVENTS = Counter(
    "reroom_analytics_events_total",
    "Events for product analytics: sent, or dropped because the sink did not take them in time",
    ("result",),
    registry=REGISTRY,
)


class Stored(NamedTuple):
    """A metric that is read when Prometheus asks."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


STORE_UP = Stored("reroom_store_up", "gauge", "Whether Redis answered this scrape")
QUEUE_WAITING = Stored("reroom_queue_waiting_jobs", "gauge", "Jobs that wait for a worker")
QUEUE_RUNNING = Stored("reroom_queue_running_jobs", "gauge", "Jobs that workers run")
QUEUE_OLDEST = Stored(
    "reroom_queue_oldest_wait_seconds",
    "gauge",
    "Since when the job waits that was submitted first; 0 without one",
)
DEAD_LETTERS = Stored("reroom_dead_letters", "gauge", "Jobs that were given up, and not replayed since")
WORKERS = Stored("reroom_workers_alive", "gauge", "Workers that have looked for jobs lately")
SUBMITTED = Stored("reroom_jobs_submitted_total", "counter", "Jobs that were queued", ("style", "tier"))
ENDED = Stored("reroom_jobs_ended_total", "counter", "Jobs that ended", ("outcome", "style", "tier"))
STORAGE_FREE = Stored(
    "reroom_storage_free_bytes", "gauge", "Free bytes where pictures are stored on local disk"
)
STORAGE_SIZE = Stored("reroom_storage_size_bytes", "gauge", "Size of the disk where pictures are stored")
BUDGET_USED = Stored(
    "reroom_budget_used_ratio",
    "gauge",
    "The share of this month's budget that is used or reserved; absent without a budget",
)
STORED = (
    STORE_UP, QUEUE_WAITING, QUEUE_RUNNING, QUEUE_OLDEST, DEAD_LETTERS, WORKERS, SUBMITTED, ENDED, STORAGE_FREE,
    STORAGE_SIZE, BUDGET_USED,
)  # fmt: skip


MOST_RELEASES = 20
"""How many releases one process tells apart: one that runs for months sees more than a graph can show."""
_releases: set[str] = set()


def release_label(release: str) -> str:
    """A release's name as a label; ``other`` for those beyond MOST_RELEASES, and for what is no name."""
    if release in _releases:
        return release
    if len(_releases) >= MOST_RELEASES or not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", release):
        return "other"
    _releases.add(release)
    return release


def names() -> dict[str, str]:
    """Every metric, as dashboards name it (of a histogram without ``_bucket`` …), with its type."""
    found: dict[str, str] = {stored.name: stored.kind for stored in STORED}
    for family in REGISTRY.collect():
        found[family.name + ("_total" if family.type == "counter" else "")] = family.type
    return found


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe the seconds of the block, whatever its end."""
    began = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - began)
