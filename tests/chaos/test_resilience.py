"""The seeded short version of `python -m benchmarks.resilience`: the model is a script, everything else is real."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos import STOP, Chaos, Fault
from stack.process import Part, free_ports
from stack.redis import redis_part
from stack.supervisor import Supervisor
from stack.triton import answers
from tests.support.api_server import SIGNING_KEY, photo

ROOT = Path(__file__).resolve().parents[2]
LEASE, PASSWORD = 1.0, "secret"
FAULTS = [Fault("worker-1"), Fault("worker-2", STOP), Fault("api"), Fault("redis")]
JOBS = 20


async def test_no_job_of_three_owners_is_lost_or_doubled(tmp_path: Path) -> None:
    redis, port, triton = free_ports(3)
    redis_url, url = (
        f"redis://:{PASSWORD}@127.0.0.1:{redis}/0",
        f"http://127.0.0.1:{port}",
    )
    python = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "client" / "src")))}

    def parts() -> Iterator[Part]:
        yield redis_part(tmp_path / "redis", redis, password=PASSWORD)
        settings = {
            "REDIS_URL": redis_url, "API_BASE_URL": url, "REROOM_PORT": str(port), "REROOM_DRAIN": "0",
            "REROOM_STORAGE_DIR": str(tmp_path / "storage"), "REROOM_SIGNING_KEY": SIGNING_KEY,
            "REROOM_TRITON_URL": f"127.0.0.1:{triton}",
        }  # fmt: skip
        command = [sys.executable, "-m", "orchestrator.app"]
        yield Part(name="api", command=command, env=settings, ready=lambda: answers(f"{url}/health/live"))
        script = ROOT / "tests" / "support" / "fake_worker.py"
        for name in ("worker-1", "worker-2"):
            arguments = [redis_url, str(tmp_path / "storage"), str(LEASE), "5", "0.03"]
            yield Part(name=name, command=[sys.executable, script, *arguments], env=python)

    with Supervisor(parts, tmp_path / "logs", lambda line: None) as running, running.supervised():
        chaos = Chaos(
            running,
            url=url,
            redis_url=redis_url,
            objects=tmp_path / "storage" / "objects",
            photo=photo(),
            preferences={"seed": 1},
            lease_seconds=LEASE,
            seed=1,
        )
        found = await asyncio.wait_for(chaos.run(JOBS, FAULTS, (0.0, 0.3)), 100)
    assert found.lost == found.doubled == found.cancelled_and_completed == [], found
    assert sum(found.ended.values()) == JOBS + len(FAULTS) + 3
    assert found.given_up == 0
    assert set(found.ended) <= {"completed", "cancelled"}, found
