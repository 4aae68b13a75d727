"""An hour of the service in seconds: submissions, cancels, failures and refusals over a real API in two processes, one
of which is killed, and real workers, one of which is killed too. What it then says about itself is what happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import websockets
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.domain.events import Step, Terminal
from orchestrator.domain.job import MAX_DELIVERIES
from stack.redis import RedisServer
from tests.support import scripted_worker
from tests.support.api_server import ADMIN_TOKEN, SIGNING_KEY, Api, photo, running_api, said
from tests.support.receiver import Receiver, receiving
from tests.support.running_stack import api_processes, until
from tests.support.scripted_worker import (
    ALWAYS_BREAKS,
    BREAKS_ONCE,
    COMPLETES,
    HANGS,
    IS_REFUSED,
    MODEL_SECONDS,
    PREVIEWS,
    STEPS,
    SURPRISES,
    TRITON,
)
from tests.support.servers import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILE_NAME = "annas-bedroom-17.png"
REQUEST_ID = "0123456789-of-a-proxy"
WORKER = Path(scripted_worker.__file__)
RETRIES = 1 + 2 * (MAX_DELIVERIES - 1)
ATTEMPTS = 7 + RETRIES
"""Of the first worker before the job over which it is killed: six jobs that end by themselves and one that hangs."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(port: int) -> Samples:
    """Every sample by its name and labels."""
    async with httpx2.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "a metric is exported twice"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(samples: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """The samples of one metric that are not zero, by labels."""
    return {labels: value for (each, labels), value in samples.items() if each == name and value}


def labels(**given: str) -> frozenset[tuple[str, str]]:
    return frozenset(given.items())


async def equal(port: int, name: str, truth: Mapping[frozenset[tuple[str, str]], float]) -> None:
    """Wait until the metric is the truth: a request is counted a moment after its answer. Samples of 0 do not count."""
    for _ in range(100):
        found = of(await scraped(port), name)
        if found == pytest.approx(truth):
            return
        await asyncio.sleep(0.03)
    wrong = {
        each: (found.get(each), truth.get(each))
        for each in {*found, *truth}
        if found.get(each) != truth.get(each)
    }
    pytest.fail(
        f"{name}: (exported, true) are " + "; ".join(f"{dict(each)}: {pair}" for each, pair in wrong.items())
    )


@dataclass
class Hour:
    """The script's own counts, and what the service said."""

    receiver: Receiver
    folder: Path
    metrics_port: int
    worker_port: int
    http: Counter[frozenset[tuple[str, str]]] = field(default_factory=Counter)
    submitted: Counter[str] = field(default_factory=Counter)
    upload_bytes: int = 0
    job_ids: dict[int, str] = field(default_factory=dict)
    api_log: str = ""
    worker_log: str = ""

    def runs(self) -> int:
        """Attempts that have ended, by their spans."""
        return sum(span.name == "run job" for span in self.receiver.spans())

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]


class Script:
    def __init__(self, api: Api, hour: Hour) -> None:
        self.api, self.hour = api, hour

    async def call(self, method: str, path: str, route: str, **more: Any) -> httpx2.Response:
        """A request over a connection of its own, so that both processes get some."""
        async with httpx2.AsyncClient(base_url=self.api.base_url) as http:
            answer = await http.request(method, path, **more)
        self.hour.http[labels(method=method, route=route, status=str(answer.status_code))] += 1
        if "files" in more:
            self.hour.upload_bytes += int(answer.request.headers["content-length"])
        return answer

    async def submit(self, seed: int, style: str = "boho", **more: Any) -> str:
        form = {"style": style, "preferences": json.dumps({"seed": seed, **more})}
        files = {"file": (FILE_NAME, photo(format="PNG"))}
        answer = await self.call(
            "POST",
            "/transform/submit?note=private-words",
            "/transform/submit",
            files=files,
            data=form,
            headers={"X-Request-Id": REQUEST_ID, "Authorization": "Basic private-token-of-a-client"},
        )
        assert answer.status_code == 202, answer.text
        assert answer.headers["x-request-id"] == REQUEST_ID
        self.hour.submitted[style] += 1
        job_id = str(answer.json()["job_id"])
        self.hour.job_ids[seed] = job_id
        return job_id

    async def ended(self, job_id: str) -> str:
        """Its state at its end, from the store, so that no request is counted."""
        async with asyncio.timeout(20):
            async for record in self.api.store.events(job_id, "0-0"):
                if isinstance(record.event, Terminal):
                    break
        return (await self.api.store.get(job_id)).status

    async def cancel(self, job_id: str) -> None:
        answer = await self.call("DELETE", f"/transform/{job_id}", "/transform/{job_id}")
        assert answer.status_code == 200

    async def steps_of(self, job_id: str) -> None:
        """Wait until it has made a step."""
        async with asyncio.timeout(20):
            async for record in self.api.store.events(job_id, "0-0"):
                if isinstance(record.event, Step):
                    return


@asynccontextmanager
async def worker(settings: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, WORKER, env=os.environ | settings, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hour(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hour]:
    folder = tmp_path_factory.mktemp("hour")
    async with AsyncExitStack() as stack:
        receiver = stack.enter_context(receiving())
        hour = Hour(receiver, folder, free_port(), free_port())
        prefix = "hour:"
        settings = {
            "REDIS_URL": redis.url, "REROOM_REDIS_PREFIX": prefix, "REROOM_SIGNING_KEY": SIGNING_KEY,
            "REROOM_STORAGE_DIR": str(folder / "storage"), "REROOM_LEASE_SECONDS": "1",
            "REROOM_RETRY_DELAY": "0.01", "REROOM_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "SENTRY_DSN": receiver.dsn, "REROOM_ANALYTICS": str(folder / "events.jsonl"),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        of_worker = settings | {"REROOM_METRICS_PORT": str(hour.worker_port), "REROOM_DRAIN": "1"}
        of_api = settings | {
            "REROOM_API_PROCESSES": "2",
            "REROOM_METRICS_PORT": str(hour.metrics_port),
            "REROOM_DRAIN": "1",
        }
        async with running_api(redis.url, folder, **of_api) as api:
            await until(lambda: said(api.log).count("Application startup complete") == 2, "both serve")
            await play(Script(api, hour), lambda: worker(of_worker, folder / "worker.log"))
        hour.api_log, hour.worker_log = said(folder / "api.log"), said(folder / "worker.log")
        yield hour


async def play(script: Script, a_worker: Callable[[], Any]) -> None:
    hour, api = script.hour, script.api
    # No worker yet: two wait, and one of them is cancelled.
    waits, gone = await script.submit(COMPLETES), await script.submit(COMPLETES, "modern")
    await script.cancel(gone)
    samples = await scraped(hour.metrics_port)
    assert of(samples, "reroom_queue_waiting_jobs") == {labels(): 1}
    assert of(samples, "reroom_workers_alive") == {}
    assert of(samples, "reroom_queue_oldest_wait_seconds")[labels()] < 60
    # Refused.
    for content in (b"not a picture at all", b""):
        answer = await script.call(
            "POST",
            "/transform/submit",
            "/transform/submit",
            files={"file": ("x", content)},
            data={"style": "boho"},
        )
        assert answer.status_code in (415, 422)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    await script.call("GET", "/no/such/place", "other")
    await script.call("HEAD", "/", "/")
    odd = await script.call("GET", "/", "/", headers={"X-Request-Id": "a b\tc"})
    assert len(odd.headers["x-request-id"]) == 32
    # A process of the API is killed, and another takes its place.
    before = api_processes(api.process.pid)
    await equal(hour.metrics_port, "reroom_http_requests_in_progress", {})
    os.kill(min(before), signal.SIGKILL)
    await until(lambda: len(api_processes(api.process.pid) - before) == 1, "another takes its place")
    await until(lambda: said(api.log).count("Application startup complete") == 3, "it serves")
    async with a_worker() as first:
        assert await script.ended(waits) == "completed"
        for seed, state in (
            (COMPLETES, "completed"), (BREAKS_ONCE, "completed"), (IS_REFUSED, "failed"),
            (ALWAYS_BREAKS, "failed"), (SURPRISES, "failed"),
        ):  # fmt: skip
            assert await script.ended(await script.submit(seed, quality="draft")) == state
        hanging = await script.submit(HANGS)
        await script.steps_of(hanging)
        await script.cancel(hanging)
        assert await script.ended(hanging) == "cancelled"
        await script.call("GET", f"/transform/status/{hanging}", "/transform/status/{job_id}")
        for job_id in (waits, "0" * 32):
            async with websockets.connect(f"{api.ws_url}/ws/transform/{job_id}") as socket:
                with suppress(websockets.ConnectionClosed):
                    while True:
                        await socket.recv()
        await check(hour)
        # A worker is killed over a job, which ends elsewhere, once.
        hanging = await script.submit(HANGS, "modern")
        await script.steps_of(hanging)
        # What it has told so far is not what the kill is about.
        await until(lambda: hour.runs() == ATTEMPTS, "its spans have come")
        first.kill()
        await first.wait()
    await script.cancel(hanging)
    async with a_worker():
        assert await script.ended(hanging) == "cancelled"
        await ended_are(hour, modern_cancelled=2)


async def ended_are(hour: Hour, modern_cancelled: int) -> None:
    truth = {
        labels(outcome="cancelled", style="modern", tier="default"): modern_cancelled,
        labels(outcome="cancelled", style="boho", tier="default"): 1,
        labels(outcome="completed", style="boho", tier="default"): 1,
        labels(outcome="completed", style="boho", tier="draft"): 2,
        labels(outcome="failed", style="boho", tier="draft"): 3,
    }
    await equal(hour.metrics_port, "reroom_jobs_ended_total", truth)


async def check(hour: Hour) -> None:
    """The metrics are the truth."""
    port = hour.metrics_port
    found = of(await scraped(port), "reroom_http_requests_total")
    started = {each: value for each, value in found.items() if ("route", "/health/live") in each}
    await equal(port, "reroom_http_requests_total", {**hour.http, **started})
    durations: Counter[frozenset[tuple[str, str]]] = Counter()
    for each, count in {**hour.http, **started}.items():
        short = frozenset(pair for pair in each if pair[0] != "status")
        durations[short] += int(count)
    await equal(port, "reroom_http_request_duration_seconds_count", durations)
    await equal(port, "reroom_http_requests_in_progress", {})
    await equal(port, "reroom_upload_bytes_total", {labels(): hour.upload_bytes})
    refusals = {labels(code="unsupported_image"): 1.0, labels(code="empty_file"): 1.0}
    await equal(port, "reroom_gate_refusals_total", refusals)
    await equal(port, "reroom_websockets", {})
    await equal(port, "reroom_websockets_closed_total", {labels(code="1000"): 1, labels(code="4404"): 1})
    await equal(port, "reroom_workers_alive", {labels(): 1})
    await equal(port, "reroom_dead_letters", {labels(): 2})
    await equal(port, "reroom_store_up", {labels(): 1})
    submitted = {
        labels(style="modern", tier="default"): 1.0,
        labels(style="boho", tier="default"): 2.0,
        labels(style="boho", tier="draft"): 5.0,
    }
    assert sum(submitted.values()) == sum(hour.submitted.values())
    await equal(port, "reroom_jobs_submitted_total", submitted)
    await ended_are(hour, modern_cancelled=1)
    await check_worker(hour.worker_port)


async def check_worker(port: int) -> None:
    completed = {labels(tier="default"): 1.0, labels(tier="draft"): 2.0}
    for name in ("reroom_job_run_seconds_count", "reroom_job_total_seconds_count"):
        await equal(port, name, completed)
    await equal(port, "reroom_job_wait_seconds_count", {labels(): 7})
    await equal(port, "reroom_job_attempts_total", {labels(): ATTEMPTS})
    await equal(port, "reroom_job_returns_total", {labels(reason="retry"): RETRIES})
    codes = ("invalid_request", "model_error", "internal_error")
    await equal(port, "reroom_job_failures_total", {labels(code=code): 1 for code in codes})
    await equal(port, "reroom_worker_jobs", {})
    await equal(port, "reroom_denoise_steps_total", {labels(): 3 * STEPS + 1})
    await equal(port, "reroom_previews_total", {labels(): 3 * PREVIEWS})
    seconds = {tier: count * MODEL_SECONDS for tier, count in (("default", 1), ("draft", 2))}
    gpu = {labels(style="boho", tier=tier): value for tier, value in seconds.items()}
    await equal(port, "reroom_gpu_seconds_total", gpu)
    await equal(port, "reroom_triton_up", {labels(triton=TRITON): 1})
    await equal(port, "reroom_triton_requests_in_flight", {})
    calls = {labels(triton=TRITON, call="restyle"): 3.0}
    await equal(port, "reroom_triton_call_duration_seconds_count", calls)
    failures = {"invalid_request": 1.0, "model_error": MAX_DELIVERIES + 1.0}
    truth = {labels(triton=TRITON, call="restyle", code=code): value for code, value in failures.items()}
    await equal(port, "reroom_triton_failures_total", truth)
    puts = of(await scraped(port), "reroom_storage_call_duration_seconds_count")[labels(call="put")]
    assert puts == 3 * 2, "a picture and a thumbnail each"


async def test_the_metrics_are_the_truth(hour: Hour) -> None:
    """``check`` has compared them while the service ran."""
    assert sum(hour.submitted.values()) == 9


async def test_every_line_is_json_with_its_request_and_job(hour: Hour) -> None:
    api = [json.loads(line) for line in hour.api_log.splitlines()]
    worker = [json.loads(line) for line in hour.worker_log.splitlines()]
    for line in (*api, *worker):
        assert line.keys() >= {"time", "level", "logger", "message", "service", "process"}
    assert {line["service"] for line in api} == {"api"}
    assert len({line["process"] for line in api}) == 4, "the parent, two processes, and the third"
    requests = [line for line in api if line["logger"] == "orchestrator.access"]
    assert len(requests) == sum(hour.http.values()) + sum(
        "/health/live" in line["message"] for line in requests
    )
    assert all(line["request_id"] and line["trace_id"] for line in requests)
    job_id = hour.job_ids[SURPRISES]
    of_job = [line for line in worker if line.get("job_id") == job_id]
    assert {line["request_id"] for line in of_job} == {REQUEST_ID}
    submitted = [line for line in requests if line.get("job_id") == job_id and line["method"] == "POST"]
    assert {line["trace_id"] for line in of_job} == {submitted[0]["trace_id"]}
    assert any("RuntimeError" in line.get("exception", "") for line in of_job)


async def test_no_log_and_no_sink_has_what_is_private(hour: Hour) -> None:
    sent = b"".join(body for _, body in hour.receiver.posts).decode(errors="replace")
    events = (hour.folder / "events.jsonl").read_text()
    for private in (FILE_NAME, "private-words", "private-token", SIGNING_KEY, ADMIN_TOKEN, "signature="):
        for text in (hour.api_log, hour.worker_log, sent, events):
            assert private not in text


async def test_one_trace_goes_from_the_request_to_each_step(hour: Hour) -> None:
    spans = hour.receiver.spans()
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)

    def attribute(span: Any, name: str) -> str:
        return next((each.value.string_value for each in span.attributes if each.key == name), "")

    def path(span: Any) -> list[str]:
        names = [span.name]
        while span.parent_span_id:
            span = by_id[span.parent_span_id]
            names.append(span.name)
        return names[::-1]

    job_id = hour.job_ids[BREAKS_ONCE]
    (queued,) = (span for span in spans if span.name == "queue job" and attribute(span, "job.id") == job_id)
    trace = [span for span in spans if span.trace_id == queued.trace_id]
    paths = Counter(" > ".join(path(span)) for span in trace)
    submit, run = "POST /transform/submit", "POST /transform/submit > queue job > run job"
    stages = ("analyzing", "generating", "transforming", "finalizing")
    assert paths[submit] == paths[f"{submit} > gate"] == paths[f"{submit} > storage put"] == 1
    assert paths[f"{run} > wait in the queue"] == 1
    assert paths[run] == paths[f"{run} > storage get"] == paths[f"{run} > restyle > triton restyle"] == 2
    assert all(paths[f"{run} > restyle > {stage}"] == 1 for stage in stages), paths
    assert paths[f"{run} > restyle > transforming > denoise step"] == STEPS
    assert paths[f"{run} > storage put"] == 2
    failed = [span for span in trace if span.status.code == 2]
    assert sorted(span.name for span in failed) == ["restyle", "triton restyle"]


async def test_an_unexpected_error_reaches_sentry_without_what_is_private(hour: Hour) -> None:
    errors = hour.receiver.errors()
    assert len(errors) == MAX_DELIVERIES
    for error in errors:
        assert error["exception"]["values"][-1]["type"] == "RuntimeError"
        assert error["tags"]["job_id"] == hour.job_ids[SURPRISES]
        assert error["tags"]["request_id"] == REQUEST_ID
        assert not error.keys() & {"request", "user", "breadcrumbs", "extra", "modules"}
        frames = error["exception"]["values"][-1]["stacktrace"]["frames"]
        assert frames
        assert all("vars" not in frame for frame in frames)


async def test_product_events_say_what_happened_and_nothing_more(hour: Hour) -> None:
    events = hour.events()
    told = Counter((event["event"], event["style"], event["tier"]) for event in events)
    # The job whose worker was killed was cancelled by the next one as it claimed it: nobody saw it end.
    assert told == {
        ("submitted", "boho", "default"): 2, ("submitted", "boho", "draft"): 5, ("submitted", "modern", "default"): 2,
        ("completed", "boho", "default"): 1, ("completed", "boho", "draft"): 2, ("failed", "boho", "draft"): 3,
        ("cancelled", "boho", "default"): 1, ("cancelled", "modern", "default"): 1,
    }  # fmt: skip
    members = {"event", "id", "at", "style", "tier", "seconds"}
    assert all(members <= event.keys() <= members | {"code"} for event in events)
    assert len({event["id"] for event in events}) == len(events)
