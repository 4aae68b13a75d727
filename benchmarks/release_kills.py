"""kill -9 at random moments of a release's life: does the live version serve on, is all whole, does a rerun complete?

    python -m benchmarks.release_kills                                     # into results/releases.json, under ``kills``
    python -m benchmarks.release_kills --what triton --moments 10 --add    # ten more of one kind

- ``publisher``: ``python -m export release publish`` of a version that was made elsewhere, into a folder in which
  another is live; ``fetcher``: ``fetch`` of it from an S3 server over HTTP. Each is killed as a process, between the
  moment at which it usually begins to write and the one at which it ends; then the loader's check and ``verify`` judge
  the live version, the same command is run again, and ``verify`` judges everything.
- ``triton``, ``stub``, ``agent``: tritonserver, the process of one of its models, and the agent, in the embedded stack
  with one Triton, the bundle `tiny` and a job every 1.2 s, while a version is promoted or rolled back; anywhere between
  the command and the end of what it brings about. Then a job is submitted, the stack recovers by itself, and what is
  wanted becomes live; where the agent took the kill for the version's fault (``refused``), by promoting it again.

Figures: ``moments``, and ``midway``, those at which a command had written something (``too_late``: it had ended, and
another moment was drawn); ``live_lost``, ``verify_failed`` and ``rerun_failed``; ``left_behind``, where files or
loaded graphs stayed that nobody needs, and ``shared_memory_left``, where files in /dev/shm did; ``failed_jobs``,
``mixed_results`` (pictures that are not of the version that the job names), ``attempts_spent`` beyond the first ones;
and ``longest_s`` from a kill until a job that was submitted right then had its picture.

The moments are drawn with a seed for each kind and number: ``--add`` goes on with the next ones, so that a long
run can be made in parts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.killed_commands import Command, KilledCommand, fetching, publishing
from benchmarks.killed_servers import NEW, VICTIMS, killed_server, of_jobs
from benchmarks.other_releases import add_version
from measuring import report
from stack.stack import Stack
from stack.triton import ROOT

COMMANDS: dict[str, Callable[[Path], AbstractContextManager[Command]]] = {
    "publisher": publishing,
    "fetcher": fetching,
}
KINDS = (*COMMANDS, *VICTIMS)
NEVER = ("live_lost", "verify_failed", "rerun_failed", "left_behind", "failed_jobs", "mixed_results")
"""Figures that should be 0."""


def chances(kind: str, first: int, moments: int) -> list[random.Random]:
    """One for each moment."""
    return [random.Random(f"{kind} {number}") for number in range(first, first + moments)]


def kill_command(kind: str, first: int, moments: int) -> dict[str, Any]:
    """The figures of a command."""
    with TemporaryDirectory(prefix="reroom-kills-") as name, COMMANDS[kind](Path(name)) as command:
        killed = KilledCommand(command, Path(name))
        for chance in chances(kind, first, moments):
            killed.strike(chance)
        return {**killed.count, "first_write_s": killed.first_seconds, "usual_s": killed.usual_seconds}


def kill_server(kind: str, first: int, moments: int) -> dict[str, Any]:
    """The figures of a part of the stack."""

    async def strike(stack: Stack) -> dict[str, Any]:
        async with killed_server(stack, kind) as (killed, load):
            for chance in chances(kind, first, moments):
                await killed.strike(chance)
        return {**killed.count, "longest_s": killed.longest_seconds, **of_jobs(load)}

    with TemporaryDirectory(prefix="reroom-kills-") as name:
        release = shutil.copytree(ROOT / "releases" / "tiny", Path(name) / "tiny")
        add_version(release, NEW, buckets=1)
        stack = Stack(Path(name) / "run", release=release, device="cpu", agent=True)
        with stack, stack.supervised():
            try:
                return asyncio.run(strike(stack))
            except BaseException:
                for log in ("agent", "triton"):
                    print((stack.logs / f"{log}.log").read_text()[-4000:], file=sys.stderr)
                raise


def added(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The figures of two runs together: counts are sums, seconds the longest, sentences both."""
    both = dict(before)
    for name, value in found.items():
        if name.endswith("_s"):
            both[name] = max(before.get(name, 0.0), value)
        elif isinstance(value, list):
            both[name] = sorted({*before.get(name, []), *value})[:5]
        else:
            both[name] = before.get(name, 0) + value
    return both


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.release_kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--moments", type=int, default=50, help="of each kind")
    parser.add_argument("--what", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--add", action="store_true", help="to the moments that an earlier call wrote")
    parser.add_argument("--out", type=Path, default=RESULTS / "releases.json")
    given = parser.parse_args(arguments)
    console = Console()
    for kind in given.what:
        written = report.read(given.out)
        kills: dict[str, Any] = written.get("kills", {})
        before: dict[str, Any] = kills.get(kind, {}) if given.add else {}
        kill = kill_command if kind in COMMANDS else kill_server
        found = added(before, kill(kind, before.get("moments", 0), given.moments))
        # Written after each kind, since a whole run takes half an hour.
        report.write(given.out, written | {"kills": kills | {kind: found} | report.circumstances()})
        console.print(kind, found)
    kills = report.read(given.out)["kills"]
    console.print(table({kind: kills[kind] for kind in KINDS if kind in kills}))
    return int(any(kills[kind].get(name) for kind in given.what for name in NEVER))


def table(kills: dict[str, dict[str, Any]]) -> Table:
    shown = ("moments", *NEVER, "longest_s")
    made = Table("killed", *shown, box=None)
    for kind, found in kills.items():
        made.add_row(kind, *(str(found.get(name, "")) for name in shown))
    return made


if __name__ == "__main__":
    sys.exit(main())
