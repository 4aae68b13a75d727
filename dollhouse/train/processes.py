"""Parts of a long run: processes side by side, each with a log of its own, that end together.

No part outlives the process that started it: an error or a signal ends them all, and on Linux they are interrupted even
when that process is killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""How long parts may take to end after SIGTERM; then they are killed."""
REPORT_SECONDS = 60.0

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

Report = Callable[[str], None]


class PartFailed(Exception):
    """A part ended with an error or could not begin; the message names the part, the error and the log."""


@dataclass(frozen=True)
class Part:
    """One process."""

    name: str
    command: Sequence[str]
    log: Path
    """The file to which its output is appended."""
    progress: Callable[[], str]
    """Returns its progress, in a few words."""


def run_lanes(
    lanes: Sequence[Sequence[Part]],
    environment: Mapping[str, str],
    report: Report,
    report_seconds: float = REPORT_SECONDS,
) -> None:
    """Run the parts of a lane one after the other, and the lanes side by side, until all have ended.

    ``environment`` is added to that of this process. ``report`` gets a line when a part is done and, every
    ``report_seconds``, one for each running part. Raises PartFailed when a part fails. After any exception, also one
    raised by a signal, no part runs on.
    """
    waiting = [list(lane) for lane in lanes]
    running: dict[int, _Running] = {}
    due = time.monotonic() + report_seconds
    try:
        while True:
            for number, lane in enumerate(waiting):
                if number in running and running[number].ended():
                    report(f"{running.pop(number).part.name}: done")
                if number not in running and lane:
                    running[number] = _Running(lane.pop(0), environment)
            if not running:
                return
            if time.monotonic() >= due:
                due += report_seconds
                for each in running.values():
                    report(f"{each.part.name}: {each.part.progress()}")
            time.sleep(POLL_SECONDS)
    finally:
        _stop(list(running.values()))


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Locks ``folder`` for the block. Raises PartFailed when another process has locked it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartFailed(f"another training runs in {folder}: wait for it, or stop it") from None
        yield


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within the block, the first of SIGNALS raises KeyboardInterrupt, and further ones are ignored.

    SIGHUP stays ignored where it already was (nohup).
    """
    hang_up_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [each for each in SIGNALS if not (each == signal.SIGHUP and hang_up_ignored)]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Running:
    """A started part. It leads a process group of its own, so that the terminal's Ctrl-C does not reach it and its
    children can be ended with it."""

    def __init__(self, part: Part, environment: Mapping[str, str]) -> None:
        part.log.parent.mkdir(parents=True, exist_ok=True)
        with part.log.open("ab") as log:
            self._begin = log.tell()
            self.process = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=_prepare(os.getpid()),
            )
        self.part = part

    def ended(self) -> bool:
        """Whether it has ended; raises PartFailed when it ended with an error."""
        status = self.process.poll()
        if status:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise PartFailed(f"{self.part.name} {how}: {self._last_line()} (its log: {self.part.log})")
        return status is not None

    def signal_all(self, number: signal.Signals) -> None:
        """Signal its whole process group, which may outlive it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _last_line(self) -> str:
        with self.part.log.open("rb") as log:
            log.seek(self._begin)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it printed nothing"


def _stop(parts: Sequence[_Running]) -> None:
    for part in parts:
        part.signal_all(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for part in parts:
        with suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.0, deadline - time.monotonic()))
        part.signal_all(signal.SIGKILL)
        part.process.wait()


def _prepare(starter: int) -> Callable[[], None]:
    """What a child process does before it runs the part's command: request SIGINT for the death of ``starter`` (on
    Linux).

    SIGINT, because Python's process pools end their workers on KeyboardInterrupt only. The default handlers are
    restored, because a part would inherit ignored signals from a starter in the background of a shell or under nohup.
    """

    def prepare() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if _prctl is None:
            return
        _prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != starter:
            os._exit(1)

    return prepare
