"""The dashboard has the types that Grafana publishes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.programs import ran

TSC = ROOT / "client-typescript" / "node_modules" / "typescript" / "bin" / "tsc"
TYPES = ROOT / "tests" / "typescript" / "node_modules" / "@grafana"
NODE = shutil.which("node")
DASHBOARD = """import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
export const dashboard: Omit<Dashboard, "panels"> & { panels: (Panel | RowPanel)[] } = """

if NODE is None:
    pytest.skip("there is no node on PATH", allow_module_level=True)
if not (TSC.exists() and TYPES.exists()):
    pytest.skip("not installed: run `make typescript`", allow_module_level=True)


@pytest.mark.parametrize(
    ("right", "wrong"), [("", ""), ('"gridPos"', '"gridpos"'), ('"unit": "s"', '"unit": 3')]
)
def test_the_dashboard_has_the_types_that_grafana_publishes(tmp_path: Path, right: str, wrong: str) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "@grafana").symlink_to(TYPES)
    (tmp_path / "package.json").write_text("{}")
    written = (ROOT / "docker" / "monitoring" / "dashboards" / "reroom.json").read_text()
    (tmp_path / "dashboard.ts").write_text(DASHBOARD + written.replace(right, wrong))
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "dashboard.ts")
    assert NODE is not None
    done = ran(NODE, TSC, *options, cwd=tmp_path, timeout=120)
    assert (done.returncode == 0) == (right == wrong), done.stdout
