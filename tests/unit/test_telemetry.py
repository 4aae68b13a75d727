"""Logs, metrics of several processes, product events: each by itself. test_scripted_hour has them together."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from orchestrator.telemetry import CannotObserve, context, metrics, sentry, tracing
from orchestrator.telemetry.analytics import Analytics
from orchestrator.telemetry.logs import JsonFormatter, TextFormatter, without_secrets
from orchestrator.telemetry.shared import SharedMetrics
from stack.stack import own_metrics_port
from tests.support.receiver import Receiver, receiving

# --- logs -------------------------------------------------------------------------------------------------------------


def a_record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("reroom.x", logging.WARNING, "f.py", 1, message, args, more.get("exc_info"))


def test_a_line_of_json_has_the_ids_and_the_exception() -> None:
    tokens = [
        (context.request_id, context.request_id.set("r" * 8)),
        (context.job_id, context.job_id.set("j")),
    ]
    try:
        raise ValueError("redis://:hunter2@there:1/0")
    except ValueError:
        record = a_record("two\nlines of %s", "text", exc_info=sys.exc_info())
    finally:
        line = JsonFormatter("api").format(record)
        for variable, token in tokens:
            variable.reset(token)
    assert "\n" not in line
    found = json.loads(line)
    assert found["message"] == "two\nlines of text"
    assert (found["level"], found["service"], found["process"]) == ("warning", "api", os.getpid())
    assert (found["request_id"], found["job_id"]) == ("rrrrrrrr", "j")
    assert "ValueError: redis://…@there:1/0" in found["exception"]
    assert found["time"].endswith("+00:00")


def test_a_line_of_text_stays_one_line() -> None:
    line = TextFormatter("api").format(a_record("said\r\n%s", "2026-01-01 1 INFO forged"))
    assert "\n" not in line
    assert line.endswith(f"{os.getpid()} WARNING reroom.x said\\r\\n2026-01-01 1 INFO forged")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://r2/b/k?X-Amz-Signature=ab&x=1 failed", "GET https://r2/b/k?… failed"),
        ("/files/a?expires=1&signature=abc", "/files/a?expires=1&signature=…"),
        ("redis://user:pass@h:1/0", "redis://…@h:1/0"),
        ("Authorization: Bearer abc.def", "Authorization: …"),
        ("sent Bearer abc.def", "sent Bearer …"),
        ("< x-api-key: a token, of the administrator", "< x-api-key: …"),
        ("< X-API-KEY: token\n< host: x", "< X-API-KEY: …\n< host: x"),
        ("< proxy-authorization: Digest username=x", "< proxy-authorization: …"),
        ("{'Authorization': b'AWS4-HMAC-SHA256 x'}", "{'Authorization': …"),
        ("the authorization has ended", "the authorization has ended"),
        ("key rr_a1b2_s3cr-et_x is revoked", "key rr_… is revoked"),
        ("job 0123, attempt 1: completed", "job 0123, attempt 1: completed"),
    ],
)
def test_secrets_in_messages_of_libraries_are_left_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


DEBUGGING = """
import logging
from orchestrator.telemetry import logs
logs.configure("api", "text", "debug")
for name in ("uvicorn.error", "websockets", "websockets.server", "reroom.api"):
    logging.getLogger(name).debug("%s: < x-forwarded-user: me", name)
"""


def test_headers_of_websockets_are_in_no_log() -> None:
    said = subprocess.run(
        [sys.executable, "-c", DEBUGGING], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stderr  # fmt: skip
    assert [line.split()[5] for line in said.splitlines()] == ["reroom.api:"], said


@pytest.mark.parametrize(
    "given", [None, "", "short", "a b c d e f g", "x" * 65, "-leading-dash", "a\nb" * 5, "ü" * 10]
)
def test_a_request_id_that_is_not_well_formed_is_replaced(given: str | None) -> None:
    assert context.chosen_request_id(given) != given
    assert context.chosen_request_id("01ARZ3NDEKTSV4RRFFQ69G5FAV") == "01ARZ3NDEKTSV4RRFFQ69G5FAV"


# --- metrics of several processes -------------------------------------------------------------------------------------

COUNTS = """
import sys
from orchestrator.telemetry import metrics
metrics.HTTP_REQUESTS.labels("GET", "/", sys.argv[1]).inc(int(sys.argv[2]))
metrics.HTTP_SECONDS.labels("GET", "/").observe(0.02)
metrics.WEBSOCKETS.inc()
print("counted", flush=True)
sys.stdin.read()
"""


def counting(status: str, count: int) -> subprocess.Popen[str]:
    """A process that has counted so many requests, and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTS, status, str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def kill(process: subprocess.Popen[str]) -> int:
    process.kill()
    process.communicate()
    return process.pid


def shown(shared: SharedMetrics) -> set[str]:
    registry = CollectorRegistry()
    registry.register(shared)
    lines = generate_latest(registry).decode().splitlines()
    wanted = (
        "reroom_http_requests_total",
        "reroom_http_request_duration_seconds_count",
        "reroom_websockets ",
    )
    return {line for line in lines if line.startswith(wanted)}


def test_counts_of_the_dead_stay_and_their_files_go() -> None:
    left = Path(tempfile.mkdtemp(prefix="reroom-metrics-"))  # as by a parent that was killed
    shared = SharedMetrics()
    try:
        assert not left.exists()
        processes = [counting("200", 3), counting("200", 4)]
        both = shown(shared)
        assert both == {
            'reroom_http_requests_total{method="GET",route="/",status="200"} 7.0',
            'reroom_http_request_duration_seconds_count{method="GET",route="/"} 2.0',
            "reroom_websockets 2.0",
        }
        shared.ended(kill(processes[0]))
        assert shown(shared) == {*both} - {"reroom_websockets 2.0"} | {"reroom_websockets 1.0"}
        shared.ended(kill(processes[1]))
        assert shown(shared) == {each for each in both if "websockets" not in each}
        shared.ended(processes[1].pid)
        assert {file.name for file in shared.folder.iterdir()} == {
            "counter_0.db", "histogram_0.db",
        }  # fmt: skip
        other = SharedMetrics()
        assert shared.folder.exists(), "another parent does not take it for left"
        other.close()
    finally:
        shared.close()
    assert not shared.folder.exists()


# --- product events ---------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def counted(result: str) -> float:
    found = metrics.REGISTRY.get_sample_value("reroom_analytics_events_total", {"result": result})
    return found or 0.0


def test_events_reach_a_webhook_as_lines(receiver: Receiver) -> None:
    before = counted("sent")
    analytics = Analytics(f"{receiver.url}/events")
    analytics.emit("completed", style="boho", tier="draft", seconds=1.23456)
    analytics.emit("failed", style="boho", tier="draft", seconds=2, code="model_error")
    analytics.close()
    lines = [json.loads(line) for body in receiver.bodies("/events") for line in body.splitlines()]
    assert [(line["event"], line["seconds"], line.get("code")) for line in lines] == [
        ("completed", 1.235, None), ("failed", 2.0, "model_error"),
    ]  # fmt: skip
    assert counted("sent") == before + 2


def test_a_sink_that_hangs_delays_nothing_and_what_does_not_fit_is_counted(receiver: Receiver) -> None:
    receiver.gate.clear()
    dropped, sent = counted("dropped"), counted("sent")
    analytics = Analytics(receiver.url, capacity=5)
    began = time.monotonic()
    for _ in range(200):
        analytics.emit("submitted", style="boho", tier="default")
    assert time.monotonic() - began < 1
    receiver.gate.set()
    analytics.close()
    assert counted("dropped") - dropped + counted("sent") - sent == 200
    assert counted("dropped") - dropped >= 90


@pytest.mark.parametrize("status", [500, 302])
def test_a_sink_that_refuses_costs_the_events_alone(receiver: Receiver, status: int) -> None:
    receiver.status = status
    dropped = counted("dropped")
    analytics = Analytics(receiver.url, pause=0.01)
    analytics.emit("submitted", style="boho", tier="default")
    analytics.close()
    assert counted("dropped") == dropped + 1


def test_a_file_that_cannot_be_written_costs_the_events_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    dropped = counted("dropped")
    analytics = Analytics(str(tmp_path / "file" / "events"), pause=0.01)
    analytics.emit("submitted", style="boho", tier="default")
    analytics.close()
    assert counted("dropped") == dropped + 1


def test_without_a_sink_there_is_no_thread() -> None:
    before = threading.active_count()
    analytics = Analytics()
    analytics.emit("submitted", style="boho", tier="default")
    analytics.close()
    assert threading.active_count() == before


# --- traces and Sentry ------------------------------------------------------------------------------------------------


def fail_within(parent: str | None) -> None:
    with tracing.span("run", "CONSUMER", parent) as run:
        part = tracing.begin("stage")
        tracing.begin("step", under=part).end()
        part.end()
        run.note(attempt=1)
        raise KeyError("what must not leave")


def test_spans_nest_and_carry_over() -> None:
    assert tracing.traceparent() is None
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        with tracing.span("submit", "SERVER") as submit:
            carried = tracing.traceparent()
            submit.note(http__route="/x")
            assert len(tracing.trace_id()) == 32
        with pytest.raises(KeyError):
            fail_within(carried)
    finally:
        tracing.stop()
    assert tracing.trace_id() == ""
    spans = {span.name: span for span in exporter.get_finished_spans()}
    parents = {name: span.parent.span_id if span.parent else None for name, span in spans.items()}
    ids = {name: span.context.span_id for name, span in spans.items() if span.context}
    assert parents == {"submit": None, "run": ids["submit"], "stage": ids["run"], "step": ids["stage"]}
    assert dict(spans["submit"].attributes or {}) == {"http.route": "/x"}
    assert spans["run"].status.description == "KeyError"
    assert not spans["run"].events


@pytest.mark.parametrize(
    ("package", "start"),
    [
        ("sentry_sdk", lambda: sentry.start("https://key@sentry.example.org/1", "api", "1")),
        ("opentelemetry.sdk.trace", lambda: tracing.start("api", "1", 1.0)),
    ],
)
def test_a_package_that_is_missing_is_one_sentence_that_says_what_to_do(
    package: str, start: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CannotObserve, match=rf"{package} is not installed: run `make setup`, or [^\n]*$"):
        start()


def test_a_wrong_dsn_is_one_sentence() -> None:
    with pytest.raises(CannotObserve, match=r"^SENTRY_DSN is not a DSN such as [^\n]*$"):
        sentry.start("sentry.example.org", "api", "1")


def test_on_one_machine_every_program_has_a_port_for_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REROOM_METRICS_PORT", raising=False)
    assert own_metrics_port({}, 2) == {}
    monkeypatch.setenv("REROOM_METRICS_PORT", "9464")
    assert own_metrics_port({}, 2) == {"REROOM_METRICS_PORT": "9466"}
    assert own_metrics_port({"REROOM_METRICS_PORT": "1000"}, 1) == {"REROOM_METRICS_PORT": "1001"}
