"""Processes that do not outlive us, and how to wait until they are ready."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

GUARD = Path(__file__).with_name("guard.py")
POLL_SECONDS = 0.05
TAIL_LINES = 20
START_ATTEMPTS = 3

T = TypeVar("T")


class StackError(Exception):
    """Something cannot run; the message is one sentence for the user, perhaps followed by the end of a log."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process: what to run and how to see that it serves."""

    name: str
    command: Sequence[str | Path]
    ready: Callable[[], bool] = lambda: True
    """Whether it serves now; must not raise and not block for more than a second. The default is for a process that
    listens nowhere."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    start_seconds: float = 60.0
    """How long it may take until it is ready."""
    stop_seconds: float = 5.0
    """How long it may take to end after SIGTERM; then it is killed."""
    shared_memory: str = ""
    """Prefix of the POSIX shared memory that it would leave behind when killed, and leave open to others."""
    error_pattern: str = ""
    """A regular expression for the lines of its log that give the reason of a failure; without a match, the last lines
    stand for them."""
    stop_last: bool = False
    """Whether other parts use it until they have stopped."""


class Process:
    """A running :class:`Part`, started under a guard: when we die, or drop this object, it ends too."""

    def __init__(self, part: Part, log: Path) -> None:
        """Start it; its output is appended to ``log``. Raises StackError when there is nothing to start."""
        self.part, self.log = part, log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log.stat().st_size if log.exists() else 0
        command = [
            sys.executable,
            "-I",
            "-S",
            GUARD,
            str(part.stop_seconds),
            log,
            part.shared_memory,
            *part.command,
        ]
        self._guard = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **part.env},
            start_new_session=True,
        )
        assert self._guard.stdout is not None
        with self._guard.stdout as output:
            line = output.readline().decode().strip()
        if not line.isdecimal():
            self.stop()
            raise StackError(f"{part.name}: {line.removeprefix('error: ') or 'its guard process died'}")
        self._started = time.monotonic()
        self.pid = int(line)
        """The process id of the command itself."""

    @property
    def exit_status(self) -> int | None:
        """None while it runs; 128 + n after signal n."""
        return self._guard.poll()

    def wait_ready(self) -> None:
        """Return when it serves; if it does not come to that, it is stopped.

        Raises StackError, with the end of its log, if it ends or takes too long.
        """
        try:
            while not self.ready():
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def ready(self) -> bool:
        """Whether it serves now. Raises StackError, with the end of its log, if it has ended or takes too long."""
        if self.exit_status is not None:
            raise StackError(f"{self.part.name} {describe(self.exit_status)} while starting\n{self.tail()}")
        if self.part.ready():
            self._close_shared_memory()
            return True
        if time.monotonic() - self._started > self.part.start_seconds:
            raise StackError(
                f"{self.part.name} was not ready after {self.part.start_seconds:.0f} s\n{self.tail()}"
            )
        return False

    def _close_shared_memory(self) -> None:
        """Pictures pass through it, and Triton makes it readable for every user of the machine, whatever the umask."""
        if self.part.shared_memory:
            for file in Path("/dev/shm").glob(f"{self.part.shared_memory}*"):
                file.chmod(0o600)

    def ask_to_stop(self) -> None:
        """Begin to stop it, without waiting."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    def stop(self) -> int:
        """Stop it and all its descendants; returns the exit status. Bounded by the part's ``stop_seconds``."""
        self.ask_to_stop()
        return self._guard.wait()

    def written(self) -> list[str]:
        """The lines of its log that it wrote in this run."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace").splitlines()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that it wrote in this run, of those that match its ``error_pattern``, with the log's path."""
        text = self.written()
        if self.part.error_pattern:
            text = [line for line in text if re.search(self.part.error_pattern, line)] or text
        return "\n".join([*(f"    {line}" for line in text[-lines:]), f"    (all of it: {self.log})"])


def describe(exit_status: int) -> str:
    """An exit status in words."""
    return (
        f"was ended by signal {exit_status - 128}"
        if exit_status > 128
        else f"ended with status {exit_status}"
    )


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 on which no process listens now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def retry_taken_ports(start: Callable[[], T]) -> T:
    """Call ``start``; again if another process took the free port that it chose before the server could."""
    for _ in range(START_ATTEMPTS - 1):
        try:
            return start()
        except StackError as error:
            if "already in use" not in str(error):
                raise
    return start()
