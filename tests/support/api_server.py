"""A real API process for tests, with the test in the worker's place: it takes jobs from the same store."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from litestar import Litestar
from PIL import Image

from orchestrator.adapters.redis import RedisErrands, RedisJobStore, RedisKeyStore, RedisStyleStore
from orchestrator.domain.job import Job
from orchestrator.ports import Lease
from orchestrator.services.keys import KeyService
from tests.support.servers import free_port

ADMIN_TOKEN = "a token for the tests"
SIGNING_KEY = "a signing key for the tests"
ALLOWED_ORIGIN = "https://rooms.example"
START_SECONDS = 30.0


@dataclass
class Api:
    base_url: str
    storage_dir: Path
    process: asyncio.subprocess.Process
    http: httpx2.AsyncClient
    store: RedisJobStore
    keys: KeyService
    styles: RedisStyleStore
    errands: RedisErrands
    log: Path

    @property
    def ws_url(self) -> str:
        return self.base_url.replace("http", "ws", 1)

    async def connect(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own, over which these bytes were sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.base_url.rpartition(":")[2]))
        writer.write(request)
        await writer.drain()
        return reader, writer

    async def submit(self, **data: str) -> str:
        """Submit a photo; the job's id."""
        response = await self.http.post("/transform/submit", files={"file": ("a.jpg", photo())}, data=data)
        assert response.status_code == 202, response.text
        return str(response.json()["job_id"])

    async def take_back(self, answer: httpx2.Response) -> Job:
        """The job of a submission, which must have been accepted; it is cancelled."""
        assert answer.status_code == 202, answer.text
        job = await self.store.get(answer.json()["job_id"])
        await self.http.delete(f"/transform/{job.id}")
        return job

    async def claim(self, job_id: str) -> Lease:
        """Begin the job as a worker would."""
        lease = await self.store.claim("a-test", 2.0)
        assert lease is not None
        assert lease.job.id == job_id
        return lease

    def stored(self) -> list[Path]:
        """Every file under the storage folder, also temporary ones."""
        return [path for path in self.storage_dir.rglob("*") if path.is_file()]


def photo(size: tuple[int, int] = (96, 64), format: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (120, 90, 60)).save(out, format)
    return out.getvalue()


def problem(response: httpx2.Response, status: int, code: str, field: str | None = None) -> None:
    """Asserts that the answer is this problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    found = (response.status_code, body["status"], body["code"], body.get("field"))
    assert found == (status, status, code, field)
    assert set(body) >= {"type", "title", "detail", "instance"}
    assert body["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"


@contextlib.asynccontextmanager
async def running_api(
    redis_url: str, folder: Path, *, program: Sequence[str] = ("-m", "orchestrator.app"), **environment: str
) -> AsyncIterator[Api]:
    """The API on a free port, without Triton and in open mode; ended, and its log checked, afterwards. ``program`` is
    what Python runs."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    settings: dict[str, Any] = {
        "REDIS_URL": redis_url, "API_BASE_URL": base_url, "ALLOWED_ORIGINS": ALLOWED_ORIGIN,
        "REROOM_PORT": str(port), "REROOM_SIGNING_KEY": SIGNING_KEY, "REROOM_OPEN": "true",
        "REROOM_STORAGE_DIR": str(folder / "storage"), "REROOM_ADMIN_TOKEN": ADMIN_TOKEN,
        "REROOM_TRITON_URL": f"127.0.0.1:{free_port()}", "REROOM_REDIS_PREFIX": f"test-{port}:",
        "REROOM_LOG_FORMAT": "text", "PYTHONPATH": os.pathsep.join(sys.path),
    } | environment  # fmt: skip
    log = folder / "api.log"
    with open(log, "wb") as output:  # noqa: ASYNC230  (the log of a process that is yet to be started)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, env=os.environ | settings, stdout=output, stderr=output
        )
    store = RedisJobStore(redis_url, prefix=settings["REROOM_REDIS_PREFIX"])
    keys = RedisKeyStore(redis_url, prefix=settings["REROOM_REDIS_PREFIX"])
    styles = RedisStyleStore(redis_url, prefix=settings["REROOM_REDIS_PREFIX"])
    errands = RedisErrands(redis_url, prefix=settings["REROOM_REDIS_PREFIX"])
    try:
        async with httpx2.AsyncClient(base_url=base_url, timeout=30.0) as http:
            await _wait_until_alive(http, process, log)
            yield Api(
                base_url, folder / "storage", process, http, store, KeyService(keys), styles, errands, log
            )
    finally:
        await store.aclose()
        await keys.aclose()
        await styles.aclose()
        await errands.aclose()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)
    assert "Traceback" not in said(log), said(log)


@contextlib.asynccontextmanager
async def serving(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    """The app on a free port of this process, and a client for it."""
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (server.started or task.done()):  # noqa: ASYNC110  (uvicorn has no event for it)
                await asyncio.sleep(0.01)
        base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=base_url, timeout=20.0) as http:
            yield http
    finally:
        server.should_exit = True
        await task


def said(log: Path) -> str:
    return log.read_text(errors="replace")


async def _wait_until_alive(http: httpx2.AsyncClient, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, said(log)
            with contextlib.suppress(httpx2.TransportError):
                if (await http.get("/health/live")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
