"""What is lost, doubled or unfair when parts die: kill -9 and SIGSTOP under the whole stack, and a simulated queue.

    python -m benchmarks.resilience                        # 600 jobs, 24 faults, into results/resilience.json
    python -m benchmarks.resilience --jobs 60 --rounds 1 --out few.json

Three owners submit jobs through the public client, which sends an idempotency key with each, and cancel some. Meanwhile
workers, the API, Redis, Triton and single models' processes are killed with SIGKILL, and workers are stopped for longer
than a lease, in random order, each once a round. ``recovery_…`` is the time from a fault until a job that a fourth
owner submits right then is completed. At the end every job is looked up in Redis and in the storage.

``fairness`` is from a simulated clock: see `benchmarks/fairness.py`.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, fairness
from benchmarks.chaos import STOP, STUB, Chaos, Fault
from measuring import report
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from stack.demo import SAMPLE
from stack.redis import RedisServer
from stack.stack import Stack

NONE_GOAL, RECOVERY_GOAL = Gate(at_most=0), Gate(at_most=15.0)
LEASE_SECONDS = 2.0
WORKERS = 2
STEPS = 12
"""Steps of each job: some tenths of a second for the bundle `tiny`."""
PAUSE = (0.5, 2.5)
"""Seconds between a recovery and the next fault."""
SCHEDULES = 10
"""Simulated schedules for ``fairness``."""
ROUND = [
    *(Fault(f"worker-{number}", how) for number in range(1, WORKERS + 1) for how in ("kill", STOP)),
    *(Fault(part) for part in ("api", "redis", "triton", "api", "redis")),
    *[Fault("triton", STUB)] * 3,
]


def chaos(release: Release, jobs: int, rounds: int, seed: int) -> dict[str, Any]:
    """Everything under the whole stack."""
    env = {"REROOM_LEASE_SECONDS": str(LEASE_SECONDS), "REROOM_DRAIN": "0.3", "REROOM_RETRY_DELAY": "0.2"}
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        Stack(
            Path(folder) / "run", release=release.folder, workers=WORKERS, env=env, report=lambda line: None
        ) as stack,
        stack.supervised(),
    ):
        run = Chaos(
            stack,
            url=stack.url,
            redis_url=stack.redis_url,
            objects=stack.run / "storage" / "objects",
            photo=SAMPLE.read_bytes(),
            preferences={"steps": STEPS, "strength": 1.0, "seed": 1},
            lease_seconds=LEASE_SECONDS,
            seed=seed,
        )
        return asyncio.run(run.run(jobs, ROUND * rounds, PAUSE)).document()


def measure_fairness() -> dict[str, Any]:
    with TemporaryDirectory(prefix="reroom-benchmark-") as folder, RedisServer(Path(folder)) as server:
        return asyncio.run(fairness.measure(server.url, SCHEDULES))


def table(document: dict[str, Any]) -> Table:
    made = Table("figure", "value", "goal", box=None)
    made.columns[1].justify = "right"
    for name, goal in (
        ("lost", NONE_GOAL),
        ("doubled", NONE_GOAL),
        ("cancelled_and_completed", NONE_GOAL),
        ("recovery_p50_s", None),
        ("recovery_p95_s", RECOVERY_GOAL),
        ("undisturbed_p50_s", None),
        ("fairness", fairness.FAIRNESS_GOAL),
    ):
        if name in document:
            value = document[name]
            made.add_row(name, f"{value:.4g}", report.reached(goal, value) if goal else "")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resilience",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="tiny", help="the bundle to restyle with (tiny)")
    parser.add_argument("--jobs", type=int, default=600, help="of the three owners together (600)")
    parser.add_argument(
        "--rounds", type=int, default=2, help=f"of {len(ROUND)} faults each (2); 0 = only fairness"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance (1)")
    parser.add_argument("--out", type=Path, default=RESULTS / "resilience.json")
    given = parser.parse_args()
    around = report.circumstances()
    document = report.read(given.out) | measure_fairness()
    if given.rounds:
        release = ready_release(given.bundle)
        document |= chaos(release, given.jobs, given.rounds, given.seed)
        document |= {"job_steps": STEPS, "lease_s": LEASE_SECONDS, "workers": WORKERS, "seed": given.seed}
        document |= release.described
    report.write(given.out, document | around)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
