"""A release goes live and back again and again while jobs run: does one fail, is one mixed, how long does it take?

    python -m benchmarks.releases                     # into results/releases.json, under ``live``
    python -m benchmarks.releases --times 3 --tritons 1 --out few.json

The whole embedded stack, with one Triton and with two, serves the bundle `tiny`; a job is submitted every
so often, all of the same photo and seed. Another version of the bundle, which has other weights, is promoted and rolled
back. A version makes one picture, so a picture tells which version made it, and one that is neither's was mixed.

- ``failed_jobs``: that did not complete; ``mixed_results``: whose picture is not that of the version that they name
- ``rollback_s``: the longest time from the command to the moment from which every Triton gives new jobs to the old one;
  ``late_jobs`` were submitted after it and made by the other
- ``switch_p99``: the 99th percentile of the time from submission to completion from each command until its version is
  live, over that of the jobs that ran while nothing was loaded, tried or unloaded: before the first command, and for a
  while before each other one, so that both are of as many jobs and of the same minutes
- ``memory_growth``: Triton with its models' processes after ten promotes and rollbacks, over before the first;
  ``memory_mb`` says it after each, so that what is taken once can be told from what leaks. Every graph has run before
  that: one that has not yet holds less
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.other_releases import add_version
from benchmarks.release_jobs import PATIENCE, jobs_running, mixed, pictures_of, small_photo, until
from export.releases.changes import promote, roll_back
from export.releases.folder import live_version
from export.releases.host import Host, read_host
from export.releases.memory import usage_of
from export.releases.rollout import FolderRollouts
from measuring import report
from measuring.figures import percentile
from reroom import AsyncClient
from reroom.triton import TritonClient
from stack.stack import Stack
from stack.triton import ROOT

BUNDLE = "tiny"
BEFORE_SECONDS = 30.0
"""How long jobs run before the first switch."""
GROWS_WITHIN = 10
"""Promotes after which memory is compared."""
HELD_SECONDS = 2.0
"""How long a version stays live until the next command."""
QUIET_SECONDS = 6.0
"""How long nothing is done before the next promote: about as long as one takes."""


async def given_to(clients: Sequence[TritonClient], version: int) -> float:
    """When every Triton gave new requests to ``version``."""

    async def one(client: TritonClient) -> None:
        while (await client.probe("restyle", deadline=10)).release != version:
            pass

    await asyncio.wait_for(asyncio.gather(*map(one, clients)), PATIENCE)
    return time.monotonic()


def megabytes(stack: Stack) -> int:
    used = [usage_of(int(url.rpartition(":")[2])) for url in stack.triton_urls.values()]
    return sum(usage.total for usage in used if usage)


async def run_every_graph(stack: Stack, photo: bytes) -> None:
    """Let each Triton make pictures of every quality, with previews."""
    async with AsyncClient(stack.url) as client:
        for quality in ("draft", "standard", "best"):
            wanted = {"quality": quality, "steps": 2, "preview_every": 1, "seed": 8}
            asked = [await client.submit(photo, "modern", wanted) for _ in range(2 * len(stack.triton_urls))]
            for job in asked:
                await client.wait(job, timeout=PATIENCE)


async def measure(stack: Stack, photo: bytes, times: int, before_seconds: float) -> dict[str, Any]:
    release, host = stack.release, stack.served_release

    def state() -> Host:
        return read_host(host) or Host()

    rollouts = FolderRollouts(release)
    clients = [TritonClient(url) for url in stack.triton_urls.values()]
    switches: list[tuple[float, float]] = []
    quiet: list[tuple[float, float]] = []
    rollbacks: list[float] = []
    late = 0
    memory: list[int] = []
    await run_every_graph(stack, photo)
    async with jobs_running(stack.url, photo) as load:
        await asyncio.sleep(before_seconds / 3)  # the first jobs, for which everything is new
        began = time.monotonic()
        await asyncio.sleep(before_seconds)
        quiet.append((began, time.monotonic()))
        memory.append(megabytes(stack))
        for _ in range(times):
            asked = time.monotonic()
            promote(release, rollouts, 2, "cpu", by="a benchmark", again=True)
            live = await until(lambda: live_version(host) == 2, state)
            switches.append((asked, live))
            await asyncio.sleep(HELD_SECONDS)
            asked = time.monotonic()
            roll_back(release, rollouts, by="a benchmark")
            back = await given_to(clients, 1)
            rollbacks.append(back - asked)
            switches.append((asked, back))
            await asyncio.sleep(HELD_SECONDS)
            await until(lambda: state().ready == [1] and state().leaving is None, state)
            late += sum(
                each.submitted > back and each.release != f"{BUNDLE}-1" for each in load.ran if not each.error
            )
            memory.append(megabytes(stack))
            began = time.monotonic()
            await asyncio.sleep(QUIET_SECONDS)
            quiet.append((began, time.monotonic()))
    for client in clients:
        await client.close()
    pictures = pictures_of(load.ran)
    before = [seconds for begin, end in quiet for seconds in load.between(begin, end)]
    during = [seconds for begin, end in switches for seconds in load.between(begin, end)]
    return {
        "promotes": times,
        "jobs": len(load.ran),
        "by_release": {name: sum(each.release == name for each in load.ran) for name in sorted(pictures)},
        "failed_jobs": sum(bool(each.error) for each in load.ran),
        "errors": sorted({each.error for each in load.ran if each.error})[:5],
        "mixed_results": mixed(pictures),
        "rollback_s": round(max(rollbacks), 3),
        "late_jobs": late,
        "promote_s": round(max(end - begin for begin, end in switches[0::2]), 2),
        "jobs_before": len(before),
        "jobs_switching": len(during),
        "p99_before_s": round(percentile(before, 99), 3),
        "p99_switching_s": round(percentile(during, 99), 3),
        "switch_p99": round(percentile(during, 99) / percentile(before, 99), 3),
        "memory_mb": memory,
        "memory_growth": round(memory[: GROWS_WITHIN + 1][-1] / memory[0], 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.releases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=20, help="how often it goes live and back")
    parser.add_argument("--tritons", type=int, nargs="+", default=[1, 2], help="with so many servers each")
    parser.add_argument("--before", type=float, default=BEFORE_SECONDS, help="seconds without a switch")
    parser.add_argument("--out", type=Path, default=RESULTS / "releases.json")
    given = parser.parse_args(arguments)
    photo = small_photo()
    found: dict[str, Any] = {}
    for tritons in given.tritons:
        with TemporaryDirectory(prefix="reroom-releases-") as name:
            release = shutil.copytree(ROOT / "releases" / BUNDLE, Path(name) / BUNDLE)
            add_version(release, 2)
            stack = Stack(
                Path(name) / "run",
                release=release,
                tritons=tritons,
                workers=tritons,
                device="cpu",
                agent=True,
            )
            with stack, stack.supervised():
                found[str(tritons)] = asyncio.run(measure(stack, photo, given.times, given.before))
                print((stack.logs / "agent.log").read_text()[-3000:], file=sys.stderr)
    report.write(given.out, report.read(given.out) | {"live": found | report.circumstances()})
    Console().print(table(found))
    return int(any(run["failed_jobs"] or run["mixed_results"] for run in found.values()))


def table(found: dict[str, Any]) -> Table:
    shown = ("jobs", "failed_jobs", "mixed_results", "rollback_s", "promote_s", "switch_p99", "memory_growth")
    made = Table("servers", *shown)
    for servers, run in found.items():
        made.add_row(servers, *(str(run[name]) for name in shown))
    return made


if __name__ == "__main__":
    sys.exit(main())
