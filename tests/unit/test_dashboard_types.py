"""openapi-typescript and tsc on the API's description: what it makes is what tests/typescript/client.ts relies on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.api_schema import described
from tests.support.programs import ran

FOLDER = Path(__file__).resolve().parents[1] / "typescript"
NODE = shutil.which("node")
OPENAPI_TYPESCRIPT = FOLDER / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
TSC = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"

if NODE is None:
    pytest.skip("there is no node on PATH", allow_module_level=True)
if not OPENAPI_TYPESCRIPT.exists():
    pytest.skip("not installed: npm ci --prefix tests/typescript", allow_module_level=True)


def node(script: Path, folder: Path, *arguments: str) -> str:
    assert NODE is not None
    done = ran(NODE, script, *arguments, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


DASHBOARD = """import type { Dashboard, Panel, RowPanel } from "@grafana/schema";
export const dashboard: Omit<Dashboard, "panels"> & { panels: (Panel | RowPanel)[] } = """


@pytest.mark.parametrize(
    ("right", "wrong"), [("", ""), ('"gridPos"', '"gridpos"'), ('"unit": "s"', '"unit": 3')]
)
def test_the_dashboard_has_the_types_that_grafana_publishes(tmp_path: Path, right: str, wrong: str) -> None:
    schema = FOLDER / "node_modules" / "@grafana"
    if not schema.exists():
        pytest.skip("not installed: npm ci --prefix tests/typescript")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "@grafana").symlink_to(schema)
    (tmp_path / "package.json").write_text("{}")
    written = (FOLDER.parents[1] / "docker" / "monitoring" / "dashboards" / "reroom.json").read_text()
    (tmp_path / "dashboard.ts").write_text(DASHBOARD + written.replace(right, wrong))
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "dashboard.ts")
    assert NODE is not None
    done = ran(NODE, TSC, *options, cwd=tmp_path, timeout=120)
    assert (done.returncode == 0) == (right == wrong), done.stdout


def test_a_typescript_client_compiles(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(described()))
    options = ("--default-non-nullable", "false", "--output", "api.d.ts")
    said = node(OPENAPI_TYPESCRIPT, tmp_path, "openapi.json", *options)
    assert "warn" not in said.lower()
    shutil.copy(FOLDER / "client.ts", tmp_path)
    node(TSC, tmp_path, "--noEmit", "--strict", "client.ts")
