"""What docker/monitoring holds is accepted by the real tools, and names the metrics that the code has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from orchestrator.commands.dashboard import dashboard
from orchestrator.domain import levels
from orchestrator.telemetry import metrics
from tests.conftest import ROOT
from tests.support.programs import ran

FOLDER = ROOT / "docker" / "monitoring"
RULES = FOLDER / "rules.yml"
FOREIGN = {"up", "probe_ssl_earliest_cert_expiry", "nv_gpu_utilization", "nv_inference_queue_duration_us"}
"""Metrics of Prometheus itself, of the blackbox exporter and of Triton."""
NAME = re.compile(r"(?<![\w:$\"=])(?:up|(?:reroom|nv|probe)_\w+)\b(?!\s*:)")
"""A metric in PromQL; a recorded one has colons in its name."""


def promtool(*arguments: str | Path) -> tuple[int, str]:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool on PATH: run `setup/system.sh promtool` as root")
    done = ran(found, *arguments)
    return done.returncode, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> set[str]:
    return {rule["alert"] for rule in rules() if "alert" in rule}


def panel_queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def named(queries: list[str]) -> set[str]:
    found = {name for query in queries for name in NAME.findall(query)}
    return {name.removesuffix("_bucket") for name in found}


# --- the rules --------------------------------------------------------------------------------------------------------


def test_every_alert_fires_and_ends() -> None:
    status, said = promtool("test", "rules", FOLDER / "rules_test.yml")
    assert status == 0, said
    cases = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    assert {case["name"] for case in cases} == alerts(), "an alert without a test, or the reverse"
    for case in cases:
        steps = case["alert_rule_test"]
        assert {step["alertname"] for step in steps} == {case["name"]}
        assert [bool(step["exp_alerts"]) for step in steps] == [False, True, False], case["name"]


@pytest.mark.parametrize(
    ("right", "wrong"), [("> 120", "> 1200"), ("< 0.1", "< 0.01"), ("for: 3m", "for: 30m")]
)
def test_the_tests_of_the_rules_can_fail(tmp_path: Path, right: str, wrong: str) -> None:
    shutil.copy(FOLDER / "rules_test.yml", tmp_path)
    text = RULES.read_text()
    assert right in text
    (tmp_path / "rules.yml").write_text(text.replace(right, wrong))
    assert promtool("test", "rules", tmp_path / "rules_test.yml")[0] != 0


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"].keys() == {"summary", "description"}


# --- what Prometheus, Alertmanager and Grafana read -------------------------------------------------------------------


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yml").read_text()
    with_certificate = re.sub(r"(?m)^  # (- job_name: certificate|  .*)$", r"  \1", text)
    assert len(yaml.safe_load(with_certificate)["scrape_configs"]) == 4
    for each in (text, with_certificate):
        (tmp_path / "prometheus.yml").write_text(each.replace("/etc/prometheus/", f"{FOLDER}/"))
        status, said = promtool("check", "config", tmp_path / "prometheus.yml")
        assert status == 0, said


def test_alertmanager_takes_the_example() -> None:
    found = shutil.which("amtool")
    if found is None:
        pytest.skip("there is no amtool on PATH: run `setup/system.sh amtool` as root")
    done = ran(found, "check-config", FOLDER / "alertmanager.yml")
    assert done.returncode == 0, done.stderr
    text = (FOLDER / "alertmanager.yml").read_text()
    assert set(re.findall(r"Reroom\w+", text)) <= alerts()


def test_the_dashboard_is_what_the_command_prints() -> None:
    written = (FOLDER / "dashboards" / "reroom.json").read_text()
    assert json.loads(written) == dashboard(), "run `python -m orchestrator.commands.dashboard`"


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(panel_queries())
    ]
    groups = {"groups": [{"name": "panels", "rules": recorded}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(groups))
    status, said = promtool("check", "rules", tmp_path / "panels.yml")
    assert status == 0, said
    assert f"{len(recorded)} rules found" in said


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_rules_and_dashboard_name_the_metrics_that_there_are() -> None:
    queries = [*panel_queries(), *(rule["expr"] for rule in rules())]
    used = named(queries)
    assert used - set(metrics.names()) == FOREIGN, "a metric that the code does not have"
    assert set(metrics.names()) - named(panel_queries()) == set(), "a metric that no panel shows"


def test_names_follow_the_conventions() -> None:
    for name, kind in metrics.names().items():
        assert re.fullmatch(r"reroom_[a-z0-9_]+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind != "histogram" or name.endswith("_seconds"), name


def test_the_page_on_monitoring_has_every_metric_and_every_alert() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    missing = [name for name in (*metrics.names(), *alerts()) if f"`{name}`" not in page]
    assert missing == []
    claimed = set(re.findall(r"`(reroom_\w+|Reroom\w+)`", page))
    assert claimed <= {*metrics.names(), *alerts()}


def test_the_alerts_have_the_objectives_that_administrators_are_shown() -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    for alert, objective in (
        ("ReroomQueueOld", levels.OLDEST_WAIT_SECONDS),
        ("ReroomSlow", levels.TOTAL_SECONDS),
        ("ReroomJobsFail", levels.FAILED_SHARE),
    ):
        assert re.search(rf"> {objective:g}\b", expressions[alert]), alert
