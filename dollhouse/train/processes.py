"""Parts of a long run: processes side by side, each with a log of its own, that end together.

No part outlives the run: an error or a signal ends all of them, and each has a guard (stack/guard.py) that ends it and
its descendants when the starting process was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.process import Part as Command
from stack.process import Process, StackError, describe
from stack.terminal import Report

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""How long parts may take to end after SIGTERM; then they are killed."""
REPORT_SECONDS = 60.0


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

    ``environment`` is added to our own. Every ``report_seconds`` there is a line for each running part. Raises
    StackError, which names the part and its log, when one cannot start or fails; whatever is raised, by a signal too,
    no part runs on.
    """
    waiting = [list(lane) for lane in lanes]
    running: dict[int, tuple[Part, Process]] = {}
    due = time.monotonic() + report_seconds
    try:
        while True:
            for number, lane in enumerate(waiting):
                if number in running and running[number][1].exit_status is not None:
                    part, process = running.pop(number)
                    _check(process)
                    report(f"{part.name}: done")
                if number not in running and lane:
                    part = lane.pop(0)
                    command = Command(
                        name=part.name, command=part.command, env=environment, stop_seconds=GRACE_SECONDS
                    )
                    running[number] = part, Process(command, part.log)
            if not running:
                return
            if time.monotonic() >= due:
                due += report_seconds
                for part, _ in running.values():
                    report(f"{part.name}: {part.progress()}")
            time.sleep(POLL_SECONDS)
    finally:
        for _, process in running.values():
            process.ask_to_stop()
        for _, process in running.values():
            process.stop()


def _check(process: Process) -> None:
    """Raises StackError when an ended process has failed."""
    if status := process.stop():
        lines = [line.strip() for line in process.written() if line.strip()] or ["it printed nothing"]
        raise StackError(f"{process.part.name} {describe(status)}: {lines[-1]} (its log: {process.log})")
