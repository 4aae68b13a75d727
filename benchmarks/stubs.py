"""What jobs notice when the processes of Python models die: kill -9 at random moments, under the whole stack.

    python -m benchmarks.stubs                 # 60 jobs each with one Triton and with two, into results/stubs.json
    python -m benchmarks.stubs --jobs 20 --kills 1 --out few.json

In the embedded stack every graph is a Python model too, beside `restyle`, `analyse` and `edges`: nine processes a
Triton. Each of them is killed ``--kills`` times while jobs run (at a random moment within the first second of them) and
as often while none does, in random order, on a random Triton; after an idle kill a job is submitted at once. The jobs
come through the public API and are spread evenly over the kills.

``recovery_…`` is the time from a kill until that Triton has another process for the model and every model answered a
small request; ``down_…`` the time until `/health/ready` answered 503, where there is one Triton. ``attempts_spent``
counts attempts beyond the first: an outage should cost none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.figures import percentile
from measuring.gates import Gate
from measuring.memory import stubs_of
from measuring.releases import Release, ready_release
from reroom import AsyncClient, JobStatus, Submitted
from reroom.triton import RestyleError, TritonClient
from reroom.triton.wire import ANALYSE, RESTYLE
from stack.demo import SAMPLE
from stack.stack import Stack

FAILED_GOAL, RECOVERY_GOAL = Gate(at_most=0), Gate(at_most=15.0)
TRITONS = (1, 2)
STEPS = 60
"""Steps of each job: about a second for the bundle `tiny`."""
SECONDS = 120.0
"""How long anything may take before the benchmark itself fails."""


@dataclass
class Tally:
    """What happened with one number of Tritons."""

    kills: dict[str, dict[str, int]] = field(default_factory=dict)
    recovery: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    jobs: list[JobStatus] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """From submission to end, of each job."""

    def document(self) -> dict[str, Any]:
        failed = [job for job in self.jobs if job.status != "completed"]
        return {
            "jobs": len(self.jobs),
            "failed_jobs": len(failed),
            "failures": [f"{job.status}: {job.message}" for job in failed],
            "attempts_spent": sum(max(job.attempts - 1, 0) for job in self.jobs),
            "recovery_p50_s": median(self.recovery),
            "recovery_p95_s": percentile(self.recovery, 95),
            "recovery_max_s": max(self.recovery),
            "down_p95_s": percentile(self.down, 95) if self.down else None,
            "job_p50_s": median(self.seconds),
            "job_max_s": max(self.seconds),
            "kills": self.kills,
        }


class Bench:
    """A supervised stack whose models are killed."""

    def __init__(
        self, stack: Stack, client: AsyncClient, http: httpx2.AsyncClient, chance: random.Random
    ) -> None:
        self.stack, self.client, self.http, self.chance = stack, client, http, chance
        self.tally = Tally()
        self.photo = SAMPLE.read_bytes()

    async def run(self, jobs: int, kills: int) -> Tally:
        part = next(iter(self.stack.triton_urls))
        models = sorted(stubs_of(self.stack.pid(part)))
        self.tally.kills = {model: {"idle": 0, "busy": 0} for model in models}
        plan = [(model, how) for model in models for how in ("idle", "busy") for _ in range(kills)]
        self.chance.shuffle(plan)
        # One job follows each idle kill; the others are spread over the busy ones.
        busy = [number for number, (_, how) in enumerate(plan) if how == "busy"]
        shares = dict(zip(busy, shared(jobs - (len(plan) - len(busy)), len(busy)), strict=True))
        for number, (model, how) in enumerate(plan):
            await self._round(model, how, shares.get(number, 1))
            print(f"{number + 1} of {len(plan)}: {model} {how}, {self.tally.recovery[-1]:.1f} s", flush=True)
        return self.tally

    async def _round(self, model: str, how: str, jobs: int) -> None:
        part = self.chance.choice(sorted(self.stack.triton_urls))
        if how == "busy":
            submitted = [await self._submit() for _ in range(jobs)]
            await self._begun(submitted[0])
            await asyncio.sleep(self.chance.uniform(0.0, 1.0))
            recovering = asyncio.create_task(self._kill(part, model, how))
        else:
            await asyncio.sleep(self.chance.uniform(0.0, 2.0))
            recovering = asyncio.create_task(self._kill(part, model, how))
            await asyncio.sleep(0)
            submitted = [await self._submit() for _ in range(jobs)]
        began = time.monotonic()
        await asyncio.gather(*(self._end(job, began) for job in submitted))
        await recovering

    async def _submit(self) -> Submitted:
        return await self.client.submit(
            self.photo, "boho", {"steps": STEPS, "seed": self.chance.randrange(2**31)}
        )

    async def _begun(self, job: Submitted) -> None:
        async def begun() -> bool:
            return (await self.client.status(job)).status != "queued"

        await until(begun)

    async def _end(self, job: Submitted, began: float) -> None:
        self.tally.jobs.append(await self.client.wait(job, timeout=SECONDS))
        self.tally.seconds.append(time.monotonic() - began)

    async def _kill(self, part: str, model: str, how: str) -> None:
        """Kill and wait until this Triton serves again."""
        victim = stubs_of(self.stack.pid(part))[model]
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        self.tally.kills[model][how] += 1
        if len(self.stack.triton_urls) == 1:
            await until(self._is_down)
            self.tally.down.append(time.monotonic() - killed_at)
        async with TritonClient(self.stack.triton_urls[part]) as triton:

            async def recovered() -> bool:
                another = stubs_of(self.stack.pid(part)).get(model) not in (None, victim)
                return another and await serves(triton)

            await until(recovered)
        self.tally.recovery.append(time.monotonic() - killed_at)

    async def _is_down(self) -> bool:
        return (await self.http.get("/health/ready")).status_code != 200


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    """Raises TimeoutError after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not await reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {SECONDS:g} s: the stack does not recover")
        await asyncio.sleep(0.05)


async def serves(triton: TritonClient) -> bool:
    """Whether every model answers a small request."""
    try:
        await triton.probe(ANALYSE, deadline=5.0)
        for model, version in (await triton.probe(RESTYLE, deadline=5.0)).models.items():
            await triton.probe_model(model, version, deadline=5.0)
    except RestyleError:
        return False
    return True


def shared(whole: int, parts: int) -> list[int]:
    """``whole`` as a sum of ``parts`` numbers that differ by at most one."""
    return [whole // parts + (number < whole % parts) for number in range(parts)]


async def run(release: Release, tritons: int, jobs: int, kills: int, seed: int) -> Tally:
    """Everything with one number of Tritons."""
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(
            Path(folder) / "run", release=release.folder, tritons=tritons, report=lambda line: None
        ) as stack,
        stack.supervised(),
    ):
        async with (
            AsyncClient(stack.url) as client,
            httpx2.AsyncClient(base_url=stack.url, timeout=30.0) as http,
        ):
            return await Bench(stack, client, http, random.Random(seed)).run(jobs, kills)


def measure(release: Release, jobs: int, kills: int, seed: int) -> dict[str, Any]:
    """Everything that goes into the JSON."""
    around = report.circumstances()
    runs = {}
    for tritons in TRITONS:
        print(f"{tritons} Triton{'s' if tritons > 1 else ''}", flush=True)
        runs[str(tritons)] = asyncio.run(run(release, tritons, jobs, kills, seed + tritons)).document()
    return {
        "failed_jobs": sum(each["failed_jobs"] for each in runs.values()),
        "recovery_p95_s": max(each["recovery_p95_s"] for each in runs.values()),
        "jobs": sum(each["jobs"] for each in runs.values()),
        "kills": sum(sum(one.values()) for each in runs.values() for one in each["kills"].values()),
        "tritons": runs,
        "job_steps": STEPS,
        "seed": seed,
        **release.described,
        **around,
    }


def table(document: dict[str, Any]) -> Table:
    made = Table(
        "Tritons",
        "jobs",
        "kills",
        "failed",
        "attempts spent",
        "down p95, s",
        "recovery p50, s",
        "p95, s",
        box=None,
    )
    for column in made.columns:
        column.justify = "right"
    for tritons, each in document["tritons"].items():
        made.add_row(
            tritons,
            str(each["jobs"]),
            str(sum(sum(one.values()) for one in each["kills"].values())),
            str(each["failed_jobs"]),
            str(each["attempts_spent"]),
            "" if each["down_p95_s"] is None else f"{each['down_p95_s']:.1f}",
            f"{each['recovery_p50_s']:.1f}",
            f"{each['recovery_p95_s']:.1f}",
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stubs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="tiny", help="the bundle to restyle with (tiny)")
    parser.add_argument("--jobs", type=int, default=60, help="for each number of Tritons (60)")
    parser.add_argument("--kills", type=int, default=1, help="of each model, idle and busy each (1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance (1)")
    parser.add_argument("--out", type=Path, default=RESULTS / "stubs.json")
    given = parser.parse_args()
    if given.jobs < 18 * given.kills:
        parser.error(f"--jobs must be at least {18 * given.kills}: each kill wants one")
    document = measure(ready_release(given.bundle), given.jobs, given.kills, given.seed)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"failed jobs: {report.reached(FAILED_GOAL, document['failed_jobs'])}")
    console.print(f"recovery p95: {report.reached(RECOVERY_GOAL, document['recovery_p95_s'])}")
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
