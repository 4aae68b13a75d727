"""What servers of tests need: a free port, and a redis-server of every generation that this machine has."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
from pathlib import Path

from stack.redis import binaries

FIRST_PORT, PORTS_EACH, MOST_PROCESSES = 20_000, 500, 20
"""Below those that the system gives to whoever asks for any, and for each process that runs tests its own: so no other
server takes a port between its choice and its use, or while a test needs that nothing listens there."""


def _own_ports() -> range:
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_PROCESSES
    first = FIRST_PORT + PORTS_EACH * process
    return range(first, first + PORTS_EACH)


# From anywhere among them: another checkout's tests may run on this machine.
_ports = itertools.islice(itertools.cycle(_own_ports()), random.randrange(PORTS_EACH), None)


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens, not given out before for a long time."""
    for port in itertools.islice(_ports, PORTS_EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of the ports {_own_ports()} is free")


def redis_binaries() -> dict[str, Path | None]:
    """redis-server by generation: ``7`` = the one on PATH if it is ≥ 7, ``6.2`` = an older one."""
    found = {redis_version(binary) >= (7, 0): binary for binary in binaries()}
    return {"7": found.get(True), "6.2": found.get(False)}


def redis_version(binary: Path) -> tuple[int, int]:
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10)
    major, minor = answer.stdout.split("v=")[1].split(".")[:2]
    return int(major), int(minor)
