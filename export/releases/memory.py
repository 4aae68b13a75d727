"""How much memory a Triton holds, with the processes of its Python models; and whether that has grown.

Seen from the same machine, or from a container that shares Triton's processes (``pid:`` in Compose,
``shareProcessNamespace`` in Kubernetes); elsewhere nothing is known, and nothing is concluded.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SERVER, STUB = "tritonserver", "triton_python_backend_stub"
KERNEL_NAME = 15
"""Letters of a process's name that the kernel keeps."""

GROWTH, SPARE_MB = 1.25, 256
"""A Triton leaks when it holds more than this factor times what it held with the same graphs, and that much more."""


@dataclass(frozen=True)
class Usage:
    """Megabytes."""

    server: int
    models: int
    """Of the processes of its Python models, which with the embedded backend hold the graphs."""
    gpu: int = 0

    @property
    def total(self) -> int:
        return self.server + self.models


def usage_of(grpc_port: int) -> Usage | None:
    """Of the Triton that listens on ``grpc_port``; None = it cannot be seen from here."""
    server, stubs = _processes(grpc_port)
    if not server:
        return None
    return Usage(_megabytes(server), sum(map(_megabytes, stubs)), _gpu_megabytes({server, *stubs}))


def dead_processes(grpc_port: int) -> int:
    """How many processes of the models of that Triton have died without its having noticed."""
    # Whatever they are called: a process begins as a shell that becomes the model's.
    server, _ = _processes(grpc_port)
    return sum(_stat(pid)[1:] == ("Z", server) for pid in _pids() if server)


def _processes(grpc_port: int) -> tuple[int, list[int]]:
    """The server's process, 0 = it cannot be seen, and those of its models."""
    server = next((pid for pid in _pids() if _is_server(pid, grpc_port)), 0)
    name = STUB[:KERNEL_NAME]
    return server, [pid for pid in _pids() if server and _stat(pid)[::2] == (name, server)]


@dataclass
class Growth:
    """What was held with how many bytes of graphs, for the question whether it has grown."""

    first: dict[int, int] = field(default_factory=dict)
    """Megabytes when so many bytes of graphs were loaded for the first time."""

    def leaked(self, graphs: int, megabytes: int) -> str:
        """A sentence when ``megabytes`` are too much for ``graphs`` bytes; empty when they are not, or when that is
        not known yet."""
        before = self.first.setdefault(graphs, megabytes)
        if megabytes > before * GROWTH and megabytes > before + SPARE_MB:
            return f"Triton holds {megabytes} MB, and held {before} MB with the same graphs before"
        return ""


def _pids() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal())


def _is_server(pid: int, port: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    if not words or Path(words[0]).name != SERVER:
        return False
    told = [word.partition("=")[2] for word in words if word.startswith("--grpc-port=")]
    return (told[-1] if told else "8001") == str(port)


def _stat(pid: int) -> tuple[str, str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", "", 0
    name, _, rest = text.rpartition(")")
    fields = rest.split()
    return name.partition("(")[2], fields[0], int(fields[1])


def _megabytes(pid: int) -> int:
    """Its share of memory that it shares with others, and all of the rest."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("Pss:")), 0)


def _gpu_megabytes(pids: set[int]) -> int:
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    rows = [line.split(",") for line in done.stdout.splitlines() if done.returncode == 0]
    return sum(int(used) for pid, used in rows if pid.strip() in map(str, pids) and used.strip().isdecimal())
