"""schemathesis, with every check that it has, on a real API with a real Triton: requests that the description allows
are taken, others are refused, and every answer is as described."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from stack.redis import RedisServer
from stack.triton import TritonServer
from tests.conftest import ROOT
from tests.support.api_server import ADMIN_TOKEN, running_api
from tests.support.jobs import a_job

FUZZING = Path(__file__).resolve().parents[1] / "fuzzing"
EXAMPLES = 25
"""Requests for each operation in each phase; with --max-examples 100 and other seeds, to look for more by hand."""


@pytest.mark.asyncio(loop_scope="module")
async def test_schemathesis_finds_nothing(redis: RedisServer, triton: TritonServer, tmp_path: Path) -> None:
    # URLs lead to a port of this machine where nobody listens, so that calling them takes no time.
    calls = {"REROOM_EGRESS_ALLOW_CIDRS": "127.0.0.1/32", "REROOM_EGRESS_PORTS": "9"}
    async with running_api(
        redis.url, tmp_path, REROOM_TRITON_URL=triton.grpc, REROOM_OPEN="", **calls
    ) as api:
        ended = a_job()
        await api.store.submit(ended)
        await api.store.cancel(ended.id)
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            *("--no-color", "--config-file", str(FUZZING / "schemathesis.toml")),
            *("run", f"{api.base_url}/schema", "--checks", "all", "--continue-on-failure"),
            *("--seed", "1", "--max-examples", str(EXAMPLES), "--request-timeout", "20", "--warnings", "off"),
            *("-H", f"Authorization: Bearer {ADMIN_TOKEN}"),
            cwd=tmp_path,
            env=os.environ
            | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(FUZZING), "ENDED_JOB": ended.id},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 240)
    said = output.decode(errors="replace")
    assert process.returncode == 0, said
    paths = json.loads((ROOT / "docs" / "openapi.json").read_bytes())["paths"]
    assert f"Tested: {sum(map(len, paths.values()))}\n" in said
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in said, said
