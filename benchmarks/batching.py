"""What is gained by restyling several photos at once: throughput and latency at 1, 2, 4 and 8 jobs.

    python -m benchmarks.batching                          # dollhouse, into results/batching.json
    python -m benchmarks.batching --bundle tiny --rounds 1 --out tiny.json

Jobs of one shape at the bundle's defaults; as soon as one is done, the next one starts. The levels take turns,
several rounds of them, so that a slow minute of the machine hits all alike; throughput is the median over rounds,
latencies are of all jobs. ``throughput_gain_4`` is the throughput of 4 jobs at once over that of one at a time: the
median over rounds. The mean batch is that of the denoiser, by Triton's statistics.

On a GPU a small batch costs hardly more than one sample. On a CPU it costs nearly as much as its samples, one after
the other: several jobs can gain there only what a lone one leaves idle. ``idle_alone`` measures that: the share of the
cores' time that Triton and its models did not use while one job at a time ran. The gain is then at most
1 / (1 − idle_alone), unless a batch takes less computing than its samples. On a machine that others use too, these
figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.counters import Counters, difference
from measuring.figures import percentile
from measuring.gates import Gate
from measuring.machine import usable_cores
from measuring.memory import descendants
from measuring.releases import Release, ready_release
from measuring.sample import sample_request
from measuring.service import Service
from measuring.serving import served

GOAL = Gate(at_least=1.3)
LEVELS = (1, 2, 4, 8)
"""Jobs at once."""
SPAN = 10.0
"""Seconds in which new jobs are started, for each level and round."""


@dataclass(frozen=True)
class Round:
    """One level for SPAN seconds."""

    latencies: list[float]
    seconds: float
    """Until the last job was done."""
    cpu: float
    """Seconds of computing of Triton's processes."""
    denoiser: Counters

    @property
    def throughput(self) -> float:
        """Jobs a second."""
        return len(self.latencies) / self.seconds


@dataclass(frozen=True)
class Level:
    """Everything of one number of jobs at once."""

    rounds: list[Round] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        latencies = [each for one in self.rounds for each in one.latencies]
        whole = sum(one.seconds for one in self.rounds)
        executions = sum(one.denoiser.executions for one in self.rounds)
        return {
            "throughput": median(one.throughput for one in self.rounds),
            "latency_p50": percentile(latencies, 50),
            "latency_p95": percentile(latencies, 95),
            "mean_batch": sum(one.denoiser.samples for one in self.rounds) / executions,
            "cores_busy": sum(one.cpu for one in self.rounds) / whole,
            "cpu_seconds_per_job": sum(one.cpu for one in self.rounds) / len(latencies),
            "jobs": len(latencies),
        }


def gain(alone: Level, together: Level) -> float:
    """Throughput over throughput, the median over rounds."""
    pairs = zip(together.rounds, alone.rounds, strict=True)
    return median(one.throughput / other.throughput for one, other in pairs)


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time that processes have taken (Linux)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def run_level(service: Service, release: Release, jobs: int, pids: Sequence[int], span: float) -> Round:
    """``jobs`` restyles at once, one after the other each, until ``span`` seconds are over."""
    latencies: list[float] = []
    before, cpu = await service.counters(), cpu_seconds(pids)
    begun = time.perf_counter()

    async def work(seed: int) -> None:
        asked = sample_request(release, seed)
        while not latencies or time.perf_counter() - begun < span:
            start = time.perf_counter()
            await service.answer(asked)
            latencies.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as tasks:
        for seed in range(jobs):
            tasks.create_task(work(seed))
    seconds = time.perf_counter() - begun
    cpu = cpu_seconds(pids) - cpu
    return Round(latencies, seconds, cpu, difference(await service.counters(), before)["denoiser"])


async def run_levels(address: str, release: Release, pids: Sequence[int], rounds: int) -> dict[int, Level]:
    """All LEVELS in turn, ``rounds`` times, after a warm-up of the largest."""
    levels = {jobs: Level() for jobs in LEVELS}
    async with Service(address, release) as service:
        await run_level(service, release, max(LEVELS), pids, span=0.0)
        for number in range(1, rounds + 1):
            for jobs, level in levels.items():
                level.rounds.append(await run_level(service, release, jobs, pids, SPAN))
            rates = ", ".join(f"{jobs}: {level.rounds[-1].throughput:.2f}" for jobs, level in levels.items())
            print(f"round {number} of {rounds}, jobs a second at {rates}", flush=True)
    return levels


def measure(release: Release, rounds: int) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    around = report.circumstances()
    with served(release) as server:
        assert server.process is not None
        levels = asyncio.run(run_levels(server.grpc, release, descendants(server.process.pid), rounds))
    documents = {str(jobs): level.document() for jobs, level in levels.items()}
    busy = documents["1"]["cores_busy"] / usable_cores()
    return {
        "throughput_gain_4": gain(levels[1], levels[4]),
        "throughput_gain": {str(jobs): gain(levels[1], level) for jobs, level in levels.items()},
        "idle_alone": 1.0 - busy,
        "computing_of_a_job_at_4": documents["4"]["cpu_seconds_per_job"]
        / documents["1"]["cpu_seconds_per_job"],
        "levels": documents,
        "rounds": rounds,
        **release.described,
        **around,
    }


def table(document: dict[str, Any]) -> Table:
    made = Table(
        "jobs at once", "jobs/s", "gain", "p50, s", "p95, s", "mean batch", "cores busy", "goal", box=None
    )
    for column in made.columns[:-1]:
        column.justify = "right"
    for jobs, level in document["levels"].items():
        made.add_row(
            jobs,
            f"{level['throughput']:.2f}",
            f"{document['throughput_gain'][jobs]:.2f}",
            f"{level['latency_p50']:.3f}",
            f"{level['latency_p95']:.3f}",
            f"{level['mean_batch']:.2f}",
            f"{level['cores_busy']:.2f}",
            report.reached(GOAL, document["throughput_gain_4"]) if jobs == "4" else "",
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="the bundle to restyle with (dollhouse)")
    parser.add_argument("--rounds", type=int, default=3, help=f"of {SPAN:g} s for each level (3)")
    parser.add_argument("--out", type=Path, default=RESULTS / "batching.json")
    given = parser.parse_args()
    document = measure(ready_release(given.bundle), given.rounds)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"idle while one job ran: {document['idle_alone']:.0%} of the cores' time")
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
