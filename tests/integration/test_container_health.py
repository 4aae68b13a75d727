"""What the health checks of the containers look at."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.keeping import Times
from orchestrator.domain.styles import STYLES
from orchestrator.services.retention import Retention
from orchestrator.services.running.runner import Runner
from orchestrator.worker import Worker
from stack.redis import RedisServer
from tests.conftest import ROOT
from tests.support.fakes import FakeInference, MemoryStorage, a_script
from tests.support.programs import ran
from tests.support.servers import free_port


async def test_a_living_worker_touches_its_heartbeat(tmp_path: Path) -> None:
    heartbeat = tmp_path / "alive"
    with RedisServer(tmp_path) as server:
        store = RedisJobStore(server.url, lease_seconds=0.5)
        inference = FakeInference(a_script())
        storage = MemoryStorage()
        runner = Runner(store, storage, inference, STYLES, lease_seconds=0.5, retry_delay=0.1)
        retention = Retention(store, storage, upload_ttl=60, times=Times(record=60))
        worker = Worker(
            store, inference, runner, retention,
            name="w", jobs=1, lease_seconds=0.5, drain_seconds=0.1, heartbeat=heartbeat,
        )  # fmt: skip
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        try:
            await asyncio.to_thread(wait_for, heartbeat)
            heartbeat.unlink()
            await asyncio.to_thread(wait_for, heartbeat)
        finally:
            stop.set()
            await running
            await store.aclose()
    heartbeat.unlink()
    await asyncio.sleep(0.5)
    assert not heartbeat.exists()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port: int) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "orchestrator.commands.api_health")
    return ran(*command, cwd=ROOT, env={"REROOM_PORT": str(port)})


def test_an_api_that_answers_is_healthy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(port).returncode == 0
    monkeypatch.setattr(Answer, "status", 503)
    assert ask(port).returncode == 1


def test_an_api_that_is_gone_is_reported_in_one_line() -> None:
    said = ask(free_port())
    assert said.returncode == 1
    assert "refused" in said.stderr
    assert len(said.stderr.splitlines()) == 1
