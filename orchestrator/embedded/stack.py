"""The whole stack on one machine: Redis, Triton, the API and workers."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.embedded.process import EmbeddedError, Part, free_ports
from orchestrator.embedded.redis import redis_part
from orchestrator.embedded.supervisor import Say, Supervisor, say
from orchestrator.embedded.triton import ROOT, answers, triton_part

DRAIN_SECONDS = 2
"""How long jobs may go on after Ctrl-C; what has not ended by then is given back and goes on at the next start."""


class Stack(Supervisor):
    """Everything that serves, as processes named redis, triton, api, worker-1, worker-2, …

    ``run`` is a folder for logs, stored pictures and Redis's data; ``port`` 0 = a free one; ``env`` is added to the
    environment of the API and the workers. Once started, every part is ready and ``url`` is the API's.
    """

    def __init__(
        self,
        run: Path,
        *,
        release: Path,
        repositories: Sequence[Path] = (ROOT / "model_repository",),
        host: str = "127.0.0.1",
        port: int = 0,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        say: Say = say,
    ) -> None:
        super().__init__(self._parts, run / "logs", say)
        self.run, self.release, self.repositories = run, release, repositories
        self.host, self.port, self.workers, self._env = host, port, workers, env or {}
        self.url = self.redis_url = self.triton_url = ""

    def _parts(self) -> Iterator[Part]:
        if self.port:
            check_port_free(self.host, self.port)
        self.run.mkdir(parents=True, exist_ok=True)
        redis, http, grpc, metrics, free = free_ports(5)
        port = self.port or free
        password = secrets.token_hex(16)
        self.url = f"http://{local_address(self.host)}:{port}"
        self.redis_url = f"redis://:{password}@127.0.0.1:{redis}/0"
        self.triton_url = f"127.0.0.1:{grpc}"
        yield redis_part(self.run / "redis", redis, password=password)
        yield triton_part(
            [*self.repositories, self.release / "models"],
            self.run,
            (http, grpc, metrics),
            release=self.release,
        )
        env = {
            "REDIS_URL": self.redis_url,
            "API_BASE_URL": os.environ.get("API_BASE_URL") or self.url,
            "REROOM_STORAGE_DIR": str((self.run / "storage").resolve()),
            "REROOM_SIGNING_KEY": os.environ.get("REROOM_SIGNING_KEY") or signing_key(self.run),
            "REROOM_TRITON_URL": self.triton_url,
            "REROOM_HOST": self.host,
            "REROOM_PORT": str(port),
            "REROOM_DRAIN": str(DRAIN_SECONDS),
            **self._env,
        }
        live = f"{self.url}/health/live"
        module = [sys.executable, "-m"]
        yield Part(name="api", command=[*module, "orchestrator.app"], env=env, ready=lambda: answers(live))
        for number in range(1, self.workers + 1):
            # A worker listens nowhere; a job that is submitted before it has begun to take jobs waits for it.
            yield Part(
                name=f"worker-{number}",
                command=[*module, "orchestrator.worker"],
                env=env,
                ready=lambda: True,
                stop_seconds=DRAIN_SECONDS + 5,
            )


def local_address(host: str) -> str:
    """Where this machine reaches a server that listens on ``host``."""
    return "127.0.0.1" if host in ("", "0.0.0.0") else host


def signing_key(run: Path) -> str:
    """The key kept in ``run``, so that signed URLs outlive a restart of the stack."""
    file = run / "signing_key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()


def check_port_free(host: str, port: int) -> None:
    """Raises EmbeddedError when the API could not listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EmbeddedError(
                f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it or choose another port, "
                "e.g. `make up PORT=8001`"
            ) from None
