"""Prints the dashboard for Grafana, which the profile ``monitoring`` of docker/compose.yml shows.

python -m orchestrator.commands.dashboard > docker/monitoring/dashboards/reroom.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from orchestrator.programs.arguments import no_arguments

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 8, 7
"""Of a panel; a row of the dashboard has a width of 24."""

Unit = Literal["short", "s", "bytes", "Bps", "reqps", "percentunit", "cps"]


class Panel(NamedTuple):
    title: str
    unit: Unit
    queries: Sequence[tuple[str, str]]
    """PromQL and the legend of its lines."""
    kind: Literal["timeseries", "stat"] = "timeseries"
    stacked: bool = False


def quantile(name: str, by: str = "", q: float = 0.95) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({q}, sum by ({f'{by}, ' if by else ''}le) (rate({name}_bucket[$__rate_interval])))"


def rates(name: str, by: str) -> str:
    """Per second."""
    return f"sum by ({by}) (rate({name}[$__rate_interval]))"


def from_store(name: str, by: str) -> str:
    """Per minute, of what every API reads from the job store alike."""
    return f"60 * sum by ({by}) (max without (instance) (rate({name}[$__rate_interval])))"


ROWS: dict[str, Sequence[Panel]] = {
    "Jobs": (
        Panel("Waiting and running", "short", (
            ("max(reroom_queue_waiting_jobs)", "waiting"), ("max(reroom_queue_running_jobs)", "running"))),
        Panel("Oldest wait", "s", (("max(reroom_queue_oldest_wait_seconds)", "oldest"),)),
        Panel("Workers, dead letters, Redis", "short", (
            ("max(reroom_workers_alive)", "workers"), ("max(reroom_dead_letters)", "dead letters"),
            ("max(reroom_store_up)", "Redis answers")), kind="stat"),
        Panel("Submitted a minute, by style", "short", (
            (from_store("reroom_jobs_submitted_total", "style"), "{{style}}"),), stacked=True),
        Panel("Ended a minute, by outcome", "short", (
            (from_store("reroom_jobs_ended_total", "outcome"), "{{outcome}}"),), stacked=True),
        Panel("Failures a second, by code", "cps", ((rates("reroom_job_failures_total", "code"), "{{code}}"),)),
        Panel("Submission to picture", "s", (
            (quantile("reroom_job_total_seconds", "tier", 0.5), "p50 {{tier}}"),
            (quantile("reroom_job_total_seconds", "tier"), "p95 {{tier}}"))),
        Panel("Wait and run, p95", "s", (
            (quantile("reroom_job_wait_seconds"), "wait"),
            (quantile("reroom_job_run_seconds", "tier"), "run {{tier}}"))),
        Panel("Attempts a second, and those that came to nothing", "cps", (
            ("sum(rate(reroom_job_attempts_total[$__rate_interval]))", "attempts"),
            (rates("reroom_job_returns_total", "reason"), "{{reason}}"))),
    ),
    "Models and cost": (
        Panel("GPU seconds a second, by style", "short", (
            (rates("reroom_gpu_seconds_total", "style, tier"), "{{style}} {{tier}}"),), stacked=True),
        Panel("Seconds by stage", "short", (
            (rates("reroom_stage_seconds_total", "stage"), "{{stage}}"),), stacked=True),
        Panel("Pictures that were not signed, and the days until the certificate ends", "short", (
            (rates("reroom_unsigned_pictures_total", "reason"), "{{reason}} a second"),
            ("(min(reroom_signing_certificate_end_timestamp_seconds > 0) - time()) / 86400", "days"))),
        Panel("Budget used", "percentunit", (("max(reroom_budget_used_ratio)", "this month"),), kind="stat"),
        Panel("Steps and previews a second", "cps", (
            ("sum(rate(reroom_denoise_steps_total[$__rate_interval]))", "steps"),
            ("sum(rate(reroom_previews_total[$__rate_interval]))", "previews"))),
        Panel("Pictures a minute, by release", "short", (
            (f"60 * {rates('reroom_pictures_total', 'release')}", "{{release}}"),), stacked=True),
        Panel("Trials of releases that ended", "short", (
            ("sum by (decision) (increase(reroom_canary_decisions_total[$__rate_interval]))", "{{decision}}"),)),
        Panel("Jobs of each worker", "short", (("reroom_worker_jobs", "{{instance}}"),)),
        Panel("Tritons: up, and requests in flight", "short", (
            ("min by (triton) (reroom_triton_up)", "{{triton}} up"),
            ("sum by (triton) (reroom_triton_requests_in_flight)", "{{triton}} in flight"))),
        Panel("Calls of Triton, p95", "s", (
            (quantile("reroom_triton_call_duration_seconds", "triton, call"), "{{triton}} {{call}}"),)),
        Panel("Failures of Triton a second", "cps", (
            (rates("reroom_triton_failures_total", "triton, code"), "{{triton}} {{code}}"),)),
        Panel("Triton's own: GPU and queue of the denoiser", "percentunit", (
            ("avg by (instance) (nv_gpu_utilization)", "GPU {{instance}}"),
            ("sum by (model) (rate(nv_inference_queue_duration_us[$__rate_interval])) / 1e6", "queued: {{model}}"))),
    ),
    "API": (
        Panel("Requests a second, by route", "reqps", (
            (rates("reroom_http_requests_total", "route"), "{{route}}"),)),
        Panel("Answers a second, by status", "reqps", (
            (rates("reroom_http_requests_total", "status"), "{{status}}"),)),
        Panel("Time of requests, p95", "s", (
            (quantile("reroom_http_request_duration_seconds", "route"), "{{route}}"),)),
        Panel("In progress, and WebSockets", "short", (
            ("sum(reroom_http_requests_in_progress)", "requests"), ("sum(reroom_websockets)", "WebSockets"))),
        Panel("Refused a second", "cps", (
            (rates("reroom_gate_refusals_total", "code"), "gate: {{code}}"),
            (rates("reroom_connections_refused_total", "code"), "connection: {{code}}"),
            (rates("reroom_websockets_closed_total", "code"), "WebSocket: {{code}}"))),
        Panel("Uploads", "Bps", (("sum(rate(reroom_upload_bytes_total[$__rate_interval]))", "read"),)),
        Panel("The gate, p95", "s", ((quantile("reroom_gate_duration_seconds"), "a picture"),)),
    ),
    "Storage and Redis": (
        Panel("Storage, p95", "s", ((quantile("reroom_storage_call_duration_seconds", "call"), "{{call}}"),)),
        Panel("Redis, p95", "s", ((quantile("reroom_redis_call_duration_seconds", "call"), "{{call}}"),)),
        Panel("Errors a second", "cps", (
            (rates("reroom_storage_errors_total", "call"), "storage: {{call}}"),
            (rates("reroom_redis_errors_total", "call"), "Redis: {{call}}"))),
        Panel("Disk of pictures", "bytes", (
            ("min(reroom_storage_free_bytes)", "free"), ("min(reroom_storage_size_bytes)", "size"))),
        Panel("Product events a second", "cps", (
            (rates("reroom_analytics_events_total", "result"), "{{result}}"),)),
    ),
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Grafana's JSON model (schema version 41, Grafana 12)."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({
            "type": "row", "id": len(panels) + 1, "title": title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        })  # fmt: skip
        y += 1
        for number, panel in enumerate(row):
            x = number % (24 // WIDTH) * WIDTH
            y += HEIGHT if number and not x else 0
            panels.append(_panel(panel, len(panels) + 1, x, y))
        y += HEIGHT
    return {
        "uid": "reroom", "title": "reroom", "tags": ["reroom"], "schemaVersion": 41, "editable": True,
        "graphTooltip": 1, "refresh": "30s", "timezone": "browser", "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
    }  # fmt: skip


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    custom = {"fillOpacity": 20, "stacking": {"mode": "normal", "group": "A"}} if panel.stacked else {}
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
    return {
        "type": panel.kind, "id": number, "title": panel.title, "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {} if panel.kind == "stat" else options,
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def main() -> None:
    no_arguments("orchestrator.commands.dashboard", __doc__ or "")
    print(json.dumps(dashboard(), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
