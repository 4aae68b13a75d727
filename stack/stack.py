"""The whole stack on one machine: Redis, Tritons, the API and workers."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.server.listening import bound
from orchestrator.settings import is_loopback
from stack.device import devices_in
from stack.process import Part, StackError, free_ports
from stack.redis import redis_part
from stack.secrets import api_key, signing_key
from stack.supervisor import Supervisor
from stack.terminal import Report, report
from stack.triton import EXIT_SECONDS, ROOT, answers, devices_of, triton_part

DRAIN_SECONDS = 2
"""How long jobs and requests may go on after Ctrl-C; jobs that have not ended by then go on at the next start."""
ENDING_SECONDS = 5
"""How long a part may then take to release its jobs and close its connections; after that it is killed."""
LOCALHOST = "127.0.0.1"
TRUE = ("1", "true", "yes", "on", "t", "y")
"""What pydantic takes for true, in lower case."""
WILDCARDS = {"0.0.0.0": LOCALHOST, "::": "::1"}
"""Addresses that stand for all of a machine's: to listen on, not to connect to; and what to connect to instead."""


class Stack(Supervisor):
    """Everything that serves, as parts named redis, triton (several: triton-1, …), api, worker-1, worker-2, …

    ``run`` is a folder for logs, stored pictures and Redis's data; ``port`` is the API's; ``triton_port`` is the first
    Triton's for gRPC, those of the others follow it; 0 = free ones. ``apis`` are the processes of the part api;
    ``device`` is what the networks are to run on, as in :func:`triton_part`. ``release`` is followed, not changed:
    what of it is served stands in ``run``; with ``agent`` a part of that name loads what shall be live while the rest
    serves, otherwise a restart of Triton does. ``env`` is added to the environment of the
    API and the workers. Where other machines reach ``host``, the service asks for keys; else it is open, unless
    REROOM_OPEN of the environment says false. ``triton_exit_seconds`` is how long a Triton may take to stop by itself.
    Once started, every part is ready, ``devices`` is what the networks run on, ``url`` is the API's and ``triton_urls``
    has host:port of each Triton's gRPC endpoint under its part's name.
    """

    def __init__(
        self,
        run: Path,
        *,
        release: Path,
        repositories: Sequence[Path] = (ROOT / "model_repository",),
        host: str = LOCALHOST,
        port: int = 0,
        triton_port: int = 0,
        workers: int = 1,
        tritons: int = 1,
        apis: int = 1,
        device: str | None = None,
        agent: bool = False,
        env: Mapping[str, str] | None = None,
        triton_exit_seconds: int = EXIT_SECONDS,
        report: Report = report,
    ) -> None:
        super().__init__(self._parts, run / "logs", report)
        self.triton_exit_seconds = triton_exit_seconds
        self.run, self.release, self.repositories = run, release, repositories
        self.host, self.port, self._env = host or LOCALHOST, port, env or {}
        self.triton_port = triton_port
        self.workers, self.tritons, self.apis = workers, tritons, apis
        self.device, self.agent = device, agent
        self.served_release = run / "releases" / release.name
        """The folder that the Tritons serve: what is live there may be older than what shall be live."""
        self.url = self.redis_url = ""
        self.triton_urls: dict[str, str] = {}
        self._settings: dict[str, str] = {}

    def _parts(self) -> Iterator[Part]:
        grpc_ports = (
            range(self.triton_port, self.triton_port + self.tritons) if self.triton_port else range(0)
        )
        if self.port:
            check_port_free(self.host, self.port, "`make up PORT=8080`")
        for each in grpc_ports:
            check_port_free(LOCALHOST, each, "`make up TRITON_PORT=0` for a free one")
        self.run.mkdir(parents=True, exist_ok=True)
        self.triton_urls = {}
        names = [f"triton-{n}" for n in range(1, self.tritons + 1)] if self.tritons > 1 else ["triton"]
        redis, free, *ports = free_ports(2 + 3 * len(names))
        port = self.port or free
        password = secrets.token_hex(16)
        self.url = f"http://{host_in_url(WILDCARDS.get(self.host, self.host))}:{port}"
        self.redis_url = f"redis://:{password}@127.0.0.1:{redis}/0"
        yield redis_part(self.run / "redis", redis, password=password)
        ports[1::3] = grpc_ports or ports[1::3]
        served = self.served_release / "served"
        served.mkdir(parents=True, exist_ok=True)
        follow: list[str | Path] = [self.served_release, "--source", self.release]
        module = [sys.executable, "-m"]
        for name, http, grpc, metrics in zip(names, ports[0::3], ports[1::3], ports[2::3], strict=True):
            self.triton_urls[name] = f"127.0.0.1:{grpc}"
            yield triton_part(
                [*self.repositories, served],
                self.run / name,
                (http, grpc, metrics),
                release=self.served_release,
                prepare=[*module, "export.releases.served", *follow, "--"],
                name=name,
                device=self.device,
                exit_seconds=self.triton_exit_seconds,
            )
        env = {
            "REDIS_URL": self.redis_url,
            "API_BASE_URL": os.environ.get("API_BASE_URL") or self.url,
            "REROOM_STORAGE_DIR": str((self.run / "storage").resolve()),
            "REROOM_SIGNING_KEY": os.environ.get("REROOM_SIGNING_KEY") or signing_key(self.run),
            "REROOM_TRITON_URL": ",".join(self.triton_urls.values()),
            "REROOM_RELEASES_AT": os.environ.get("REROOM_RELEASES_AT") or str(self.release.resolve()),
            "REROOM_HOST": self.host,
            "REROOM_PORT": str(port),
            "REROOM_API_PROCESSES": str(self.apis),
            "REROOM_DRAIN": str(DRAIN_SECONDS),
            "REROOM_OPEN": os.environ.get("REROOM_OPEN") or ("true" if is_loopback(self.host) else "false"),
            # A person reads the logs of this stack, and the ends of them in its reports.
            "REROOM_LOG_FORMAT": os.environ.get("REROOM_LOG_FORMAT") or "text",
            **self._env,
        }
        self._settings = env
        if self.agent:
            tritons = [word for url in self.triton_urls.values() for word in ("--triton", url)]
            command = [*module, "export.releases.agent", *follow, *tritons]
            yield Part(name="agent", command=command, stop_seconds=ENDING_SECONDS)
        live = f"{self.url}/health/live"
        yield Part(
            name="api",
            command=[*module, "orchestrator.app"],
            env=env,
            ready=lambda: answers(live),
            stop_seconds=DRAIN_SECONDS + ENDING_SECONDS,
        )
        for number in range(1, self.workers + 1):
            # A worker listens nowhere; a job that is submitted before it has begun to take jobs waits for it.
            yield Part(
                name=f"worker-{number}",
                command=[*module, "orchestrator.worker"],
                env={**env, **own_metrics_port(env, number)},
                stop_seconds=DRAIN_SECONDS + ENDING_SECONDS,
            )

    def api_key(self) -> str | None:
        """A key to the service, kept in ``run`` and made at the first call; None where the service is open. Raises
        StackError when it cannot be made."""
        if self._settings["REROOM_OPEN"].lower() in TRUE:
            return None
        return api_key(self.run, self._settings)

    @property
    def devices(self) -> set[str]:
        """cpu, cuda or both, once it is started; empty with a tritonserver of PATH, which does not say."""
        return devices_in(devices_of(self.run / name) for name in self.triton_urls)


def own_metrics_port(env: Mapping[str, str], number: int) -> dict[str, str]:
    """The environment in which a worker's metrics have a port of their own: ``number`` after that of the API."""
    name = "REROOM_METRICS_PORT"
    port = env.get(name) or os.environ.get(name, "")
    return {name: str(int(port) + number)} if port.isdecimal() else {}


def host_in_url(host: str) -> str:
    """A name or an address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def check_port_free(host: str, port: int, instead: str) -> None:
    """Raises StackError, which advises ``instead``, when a server could not listen there."""
    try:
        for probe in bound(host, port):
            probe.close()
    except OSError as error:
        raise StackError(
            f"cannot listen on {host_in_url(host)}:{port} ({error.strerror}): stop what uses it or choose another "
            f"port, e.g. {instead}"
        ) from None
