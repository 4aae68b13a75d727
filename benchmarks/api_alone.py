"""An API for benchmarks that need neither a worker nor Triton."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.process import Part, Process, free_ports
from stack.triton import answers


@contextmanager
def api_alone(folder: Path, redis_url: str, **env: str) -> Iterator[tuple[str, int]]:
    """An API with default settings but for ``env``, in open mode: its URL and its process. ``folder`` is for its log
    and pictures; its name is the prefix of the keys in Redis."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "REDIS_URL": redis_url,
        "REROOM_REDIS_PREFIX": f"{folder.name}:",
        "API_BASE_URL": url,
        "REROOM_PORT": str(port),
        "REROOM_STORAGE_DIR": str(folder / "storage"),
        "REROOM_OPEN": "true",
        "REROOM_SIGNING_KEY": "a key for a benchmark",
        "REROOM_TRITON_URL": "127.0.0.1:1",
        **env,
    }
    command = [sys.executable, "-m", "orchestrator.app"]
    part = Part(name="api", command=command, env=settings, ready=lambda: answers(f"{url}/health/live"))
    process = Process(part, folder / "api.log")
    try:
        process.wait_ready()
        yield url, process.pid
    finally:
        process.stop()
