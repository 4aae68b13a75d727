"""What servers of tests need: a free port, and a redis-server of every generation that this machine has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack.process import free_ports
from stack.redis import binaries


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def redis_binaries() -> dict[str, Path | None]:
    """redis-server by generation: ``7`` = the one on PATH if it is ≥ 7, ``6.2`` = an older one."""
    found = {redis_version(binary) >= (7, 0): binary for binary in binaries()}
    return {"7": found.get(True), "6.2": found.get(False)}


def redis_version(binary: Path) -> tuple[int, int]:
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10)
    major, minor = answer.stdout.split("v=")[1].split(".")[:2]
    return int(major), int(minor)
