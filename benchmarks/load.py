"""Two Tritons under mixed load: is cost-aware routing better than to the Triton with the fewest requests?

    python -m benchmarks.load                              # both parts, into results/load.json
    python -m benchmarks.load --only simulation --profile quarter.json --bundle sd15_quarter

Photos of three shapes in three qualities come at random (Poisson) at 70 % of what two Tritons can do without batches.
Both policies of ``orchestrator/adapters/triton/routing.py`` get the same arrivals.

simulation   discrete events with step times from a profile (benchmarks/load_simulation.py says how a Triton is
             modelled), many seeds. ``policies``: a worker that takes every job at once. ``settings``: workers that run
             a limited number of jobs at once, two workers that do not see each other's jobs, and jobs that are all
             alike. ``assumed``: the same profile with batches that save a given share, which nobody has measured: what
             a GPU might show.
real         two embedded Tritons, each with its models on one core of its own, with the profile, and the worker's own
             pool, which has 8 jobs at once. Client, gRPC and Python share the two cores with them. The capacity is
             measured, as what "fewest requests" gets done in a second of jobs that all wait already: several jobs at
             once take these cores longer than one after the other. (The first try left that out, and any number of jobs
             at once: "fewest requests" then fell behind for good, and the gain meant nothing.)

``p99_gain`` is the p99 of seconds from arrival to end, fewest requests over cost-aware, all jobs of all seeds together;
``p50_gain`` likewise. ``slowdown``: these seconds over those of the same job alone. ``samples_per_execution``: of the
denoisers. Nothing is fitted to these figures: the one number of the policy (PATIENCE) was chosen with invented step
times and other seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks import RESULTS
from benchmarks.load_simulation import Asked, Device, Ended, Outcome, Simulation, trace
from benchmarks.profile import Bucket, measure, on_cores
from export.releases.folder import LIVE, add_profile
from measuring import report
from measuring.counters import Counters, difference, parse
from measuring.figures import percentile
from measuring.gates import Gate
from measuring.machine import usable_cores
from measuring.releases import Release, ready_release
from measuring.sample import sample_photo
from measuring.serving import served
from orchestrator.adapters.triton import TritonPool
from orchestrator.adapters.triton.routing import Policy, least_delay, least_requests
from orchestrator.domain.cost import Profile, WorkTable
from reroom.triton import RestyleRequest, Result
from restyle.release import load_release_of
from restyle.work import work_of

GOAL = Gate(at_least=1.25)
POLICIES: Mapping[str, Policy] = {"least_requests": least_requests, "cost_aware": least_delay}
SHARE = 0.7
"""Of the capacity."""
TRITONS = 2
SEEDS = range(1000, 1020)
JOBS = 1000
"""Of each seed."""
SETTINGS: Mapping[str, tuple[int, int | None]] = {
    "one worker, 4 jobs at once": (1, 4),
    "one worker, 16 jobs at once": (1, 16),
    "two workers, any number": (2, None),
}
"""Workers, and the jobs that each runs at once."""
ASSUMED = (0.0, 0.3, 0.6)
"""What each step of a batch but the first is spared."""
REAL_SECONDS = 30.0
"""In which jobs arrive, for each policy and round."""
REAL_JOBS = 8
"""At once, on both Tritons together: two workers' REROOM_WORKER_JOBS. The others wait, first come, first served."""
REAL_CAPACITY_JOBS = 60
"""Sent all at once, to measure the capacity."""
REAL_ROUNDS = 2
"""Each with other arrivals, and the policies in the other order."""


def work_table_of(release: Release, profile: Profile) -> WorkTable:
    """What `restyle` would say of the release if it had this profile."""
    told = work_of(load_release_of(release.folder)) | {"profile": profile}
    return msgspec.convert(told, WorkTable, from_attributes=True)


def sizes_of(table: WorkTable) -> list[Bucket]:
    """Three shapes of photos: of the smallest bucket, the native one and the largest."""
    by_area = sorted(table.buckets, key=lambda size: size[0] * size[1])
    return [by_area[0], (table.side, table.side), by_area[-1]]


def simulated(
    table: WorkTable,
    seeds: Sequence[int],
    workers: int = 1,
    jobs: int | None = None,
    sizes: Sequence[Bucket] = (),
) -> dict[str, Any]:
    """Both policies over ``seeds``; ``sizes`` are the photos', () = three shapes."""
    device, sizes = Device(table), sizes or sizes_of(table)
    works = {(kind, size): table.work(*size, quality=kind) for kind in table.kinds for size in sizes}
    found: dict[str, list[Outcome]] = {name: [] for name in POLICIES}
    for seed in seeds:
        arrivals = trace(device, sizes, SHARE, TRITONS, JOBS, seed)
        for name, policy in POLICIES.items():
            # The policies break ties by chance.
            random.seed(seed)
            run = Simulation(device, policy, works, tritons=TRITONS, workers=workers, jobs=jobs)
            found[name].append(run.run(arrivals))
    return compared({name: described(outcomes) for name, outcomes in found.items()}, found)


def described(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One policy's figures."""
    ended = [each for outcome in outcomes for each in outcome.ended]
    return {
        **spread([each.seconds for each in ended]),
        "slowdown": spread([each.seconds / each.alone for each in ended]),
        "by_quality": {
            quality: spread([each.seconds for each in ended if each.asked.quality == quality])
            for quality in sorted({each.asked.quality for each in ended})
        },
        "samples_per_execution": sum(each.samples for each in outcomes)
        / sum(each.executions for each in outcomes),
        "jobs": len(ended),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": sum(values) / len(values),
        "p50": percentile(values, 50),
        "p99": percentile(values, 99),
    }


def compared(
    policies: dict[str, Any], outcomes: Mapping[str, Sequence[Outcome]] | None = None
) -> dict[str, Any]:
    """The gains of cost_aware over least_requests, and both policies' figures."""
    before, after = policies["least_requests"], policies["cost_aware"]
    found: dict[str, Any] = {f"{name}_gain": before[name] / after[name] for name in ("p99", "p50", "mean")}
    found["slowdown_p99_gain"] = before["slowdown"]["p99"] / after["slowdown"]["p99"]
    if outcomes and len(outcomes["cost_aware"]) > 1:
        gains = [
            percentile(_seconds(one), 99) / percentile(_seconds(other), 99)
            for one, other in zip(outcomes["least_requests"], outcomes["cost_aware"], strict=True)
        ]
        found["p99_gain_by_seed"] = {f"p{rank}": percentile(gains, rank) for rank in (10, 50, 90)}
    return found | {"policies": policies}


def _seconds(outcome: Outcome) -> list[float]:
    return [each.seconds for each in outcome.ended]


def with_saving(table: WorkTable, saved: float) -> WorkTable:
    """The same single samples, and batches of which each further one costs 1 − ``saved`` of the first."""
    assert table.profile is not None
    batches = [1, table.max_batch]
    factors = [1.0, 1.0 + (table.max_batch - 1) * (1.0 - saved)]
    seconds = {
        name: {bucket: [times[0] * factor for factor in factors] for bucket, times in by.items()}
        for name, by in table.profile.seconds.items()
    }
    profile = Profile(batches=batches, seconds=seconds, device="assumed")
    return msgspec.structs.replace(table, profile=profile)


def simulation(table: WorkTable, seeds: Sequence[int]) -> dict[str, Any]:
    """Everything of the first part."""
    few = seeds[: max(2, len(seeds) // 4)]
    alike = msgspec.structs.replace(table, kinds={table.quality: table.kinds[table.quality]})
    return {
        **simulated(table, seeds),
        "seeds": [seeds[0], seeds[-1]],
        "settings": {
            **{name: simulated(table, few, *setting) for name, setting in SETTINGS.items()},
            "all jobs alike": simulated(alike, few, sizes=[(table.side, table.side)]),
        },
        "assumed": {
            f"batches save {saved:.0%}": simulated(with_saving(table, saved), few) for saved in ASSUMED
        },
    }


class Tritons:
    """Two embedded Tritons, each on a core of its own, and a pool before them."""

    def __init__(self, urls: Sequence[str], release: Release) -> None:
        self._urls, self._release = urls, release

    async def answered(self, policy: Policy, arrivals: Sequence[Asked], alone: Device) -> Outcome:
        """Every job of ``arrivals`` at its time. Raises InferenceError."""
        pool = TritonPool(self._urls, policy=policy)
        ended: list[Ended] = []
        try:
            await pool.ping()
            before = await self._counters()
            begun = time.perf_counter()

            turns = asyncio.Semaphore(REAL_JOBS)

            async def answer(number: int, asked: Asked) -> None:
                await asyncio.sleep(begun + asked.at - time.perf_counter())
                async with turns:
                    await restyle(number, asked)

            async def restyle(number: int, asked: Asked) -> None:
                request = RestyleRequest(
                    image=photo_of(asked.size), prompt="a room", quality=asked.quality or None, seed=number
                )
                async with aclosing(pool.restyle(request)) as events:
                    async for event in events:
                        if isinstance(event, Result):
                            seconds = time.perf_counter() - begun - asked.at
                            ended.append(Ended(asked, seconds, alone.alone(asked)))

            async with asyncio.TaskGroup() as tasks:
                for number, asked in enumerate(arrivals):
                    tasks.create_task(answer(number, asked))
            ran = difference(await self._counters(), before)
            steps = [counters for name, counters in ran.items() if name.startswith("denoiser")]
            return Outcome(ended, sum(each.samples for each in steps), sum(each.executions for each in steps))
        finally:
            await pool.aclose()

    async def _counters(self) -> dict[str, Counters]:
        """The sums over all Tritons, while no request is running."""
        await asyncio.sleep(0.2)
        total: dict[str, list[Any]] = {"model_stats": []}
        for url in self._urls:
            client = InferenceServerClient(url)
            found = await client.get_inference_statistics(as_json=True)
            total["model_stats"] += found["model_stats"]
            await client.close()
        return parse(total)


def photo_of(size: Bucket) -> Any:
    """A photo of that height and width."""
    square = sample_photo(max(size))
    return np.ascontiguousarray(square[: size[0], : size[1]])


def with_profile(release: Release, profile: Mapping[str, Any], folder: Path) -> Release:
    """The release with that profile, in ``folder``; its own folder stays as it is."""
    shutil.copytree(release.folder / "versions", folder / "versions")
    shutil.copy(release.folder / LIVE, folder / LIVE)
    (folder / "models").symlink_to((release.folder / "models").resolve())
    add_profile(folder, profile)
    return Release(folder)


def real(release: Release, profile: Mapping[str, Any], seed: int, seconds: float) -> dict[str, Any]:
    """Everything of the second part. The arrivals are as many as fit into ``seconds`` at SHARE of the capacity, which
    is measured before."""
    cores = sorted(range(usable_cores()))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reroom-load-")))
        release, urls = with_profile(release, profile, folder), []
        for number in range(TRITONS):
            with on_cores({cores[number % len(cores)]}):
                urls.append(stack.enter_context(served(release)).grpc)
        return asyncio.run(_real(Tritons(urls, release), urls, release, seed, seconds))


async def _real(
    tritons: Tritons, urls: Sequence[str], release: Release, seed: int, seconds: float
) -> dict[str, Any]:
    pool = TritonPool(urls[:1])
    await pool.ping()
    table = pool.work_table()
    await pool.aclose()
    assert table is not None
    sizes = sizes_of(table)
    alone: dict[tuple[str, Bucket], float] = {}
    one = Tritons(urls[:1], release)
    for _ in range(3):
        for kind in sorted(table.kinds):
            for size in sizes:
                outcome = await one.answered(least_requests, [Asked(0.0, kind, size)], _Alone({}))
                alone[kind, size] = min(alone.get((kind, size), 1e9), outcome.ended[0].seconds)
    kinds = sorted(alone)
    crowd = [Asked(0.0, *kinds[number % len(kinds)]) for number in range(REAL_CAPACITY_JOBS)]
    done = await tritons.answered(least_requests, crowd, _Alone(alone))
    rate = SHARE * REAL_CAPACITY_JOBS / max(each.seconds for each in done.ended)
    found: dict[str, list[Outcome]] = {name: [] for name in POLICIES}
    for round_ in range(REAL_ROUNDS):
        draw, at, arrivals = random.Random(seed + round_), 0.0, []
        while (at := at + draw.expovariate(rate)) < seconds:
            arrivals.append(Asked(at, *draw.choice(kinds)))
        for name in list(POLICIES)[:: -1 if round_ % 2 else 1]:
            found[name].append(await tritons.answered(POLICIES[name], arrivals, _Alone(alone)))
    return {
        **compared({name: described(outcomes) for name, outcomes in found.items()}, found),
        "seconds_alone": {
            f"{kind} {height}x{width}": value for (kind, (height, width)), value in alone.items()
        },
        "seeds": [seed, seed + REAL_ROUNDS - 1],
        "jobs_at_once": REAL_JOBS,
        "arrivals_per_second": rate,
        "arrivals_per_second_by_jobs_alone": SHARE * TRITONS * len(alone) / sum(alone.values()),
    }


class _Alone(Device):
    """What jobs take alone, as measured whole."""

    def __init__(self, seconds: Mapping[tuple[str, Bucket], float]) -> None:
        self._alone = seconds

    def alone(self, asked: Asked) -> float:
        return self._alone.get((asked.quality, asked.size), 1.0)


def table(document: Mapping[str, Any]) -> Table:
    made = Table("", "p50 gain", "p99 gain", "goal", "slowdown p99 gain", "samples/execution", box=None)

    def row(name: str, found: Mapping[str, Any], goal: bool = False) -> None:
        batches = [each["samples_per_execution"] for each in found["policies"].values()]
        made.add_row(
            name,
            f"{found['p50_gain']:.2f}",
            f"{found['p99_gain']:.2f}",
            report.reached(GOAL, found["p99_gain"]) if goal else "",
            f"{found['slowdown_p99_gain']:.2f}",
            " → ".join(f"{batch:.2f}" for batch in batches),
        )

    for name, found in document.get("simulation", {}).items():
        row(f"simulation, {name}", found, goal=True)
        for part in ("settings", "assumed"):
            for setting, each in found[part].items():
                row(f"  {setting}", each)
    if "real" in document:
        row("real", document["real"], goal=True)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="tiny", help="the bundle whose qualities are asked for (tiny)")
    parser.add_argument(
        "--profile", type=Path, help="a file of benchmarks.profile (measured anew, on one core)"
    )
    parser.add_argument("--only", choices=("simulation", "real"), help="one of the two parts (both)")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"of the simulation ({len(SEEDS)})")
    parser.add_argument("--seconds", type=float, default=REAL_SECONDS, help="of a real round (30)")
    parser.add_argument("--out", type=Path, default=RESULTS / "load.json")
    given = parser.parse_args()
    release = ready_release(given.bundle)
    # What was found for other bundles stays.
    document = report.read(given.out)
    found = json.loads(given.profile.read_text()) if given.profile else measure(release, cores={0})
    if given.only != "real":
        profiled = work_table_of(release, msgspec.convert(found, Profile))
        document.setdefault("simulation", {})[given.bundle] = {
            **simulation(profiled, SEEDS[: given.seeds]),
            "profile": found,
        }
    if given.only != "simulation":
        document["real"] = {
            **real(release, found, SEEDS[0], given.seconds),
            "release": release.facts["release"],
            **report.circumstances(),
        }
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
