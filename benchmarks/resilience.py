"""What is lost, doubled or unfair when parts die and networks and disks fail; and a simulated queue.

    python -m benchmarks.resilience                        # 700 jobs, 54 faults, into results/resilience.json
    python -m benchmarks.resilience --jobs 60 --rounds 1 --out few.json

Three owners submit jobs through the public client, which sends an idempotency key with each, and cancel some. Meanwhile
faults strike in random order, each once a round. Most jobs run in a whole stack whose pictures are on an S3 server
(moto's), with a relay before that and before Redis: workers, the API, Redis, Triton and single models' processes are
killed with SIGKILL; workers are stopped for longer than a lease; answers of Redis and of S3 are lost after the call was
done, at first of each kind of call; both are slow or cut off for longer than a lease; S3 answers with 503; Redis takes
no writes, for each of three reasons. The others run in a stack that stores in a folder, and whose processes can write
no byte to disk for a while. It needs no rights.

``recovery_…`` is the time from the beginning of a fault, most of which last 3 seconds, until a job that a fourth owner
submits right then is completed. At the end every job is looked up in Redis and in the storage; then the clean-up runs
as if all times were over, and ``orphan_objects`` are what it leaves.

``fairness`` is from a simulated clock: see `benchmarks/fairness.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS, fairness
from benchmarks.chaos import FULL, FULL_DISK, REPLICA, STOP, STUB, UNREPLICATED, Chaos, Fault, Outcome
from benchmarks.faulty_relay import AWAY, LOSE, REFUSE, SLOW, FaultyRelay, redis_kinds, s3_kind
from measuring import report
from measuring.gates import Gate
from measuring.releases import Release, ready_release
from orchestrator.adapters.redis.scripts import script_names
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.s3 import open_s3
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.ports import Storage
from stack.demo import SAMPLE
from stack.process import Part, Process, free_ports
from stack.redis import RedisServer
from stack.stack import Stack
from stack.triton import answers

NONE_GOAL, RECOVERY_GOAL = Gate(at_most=0), Gate(at_most=15.0)
LEASE_SECONDS = 2.0
WORKERS = 2
STEPS = 12
"""Steps of each job: some tenths of a second for the bundle `tiny`."""
PAUSE = (0.5, 2.5)
"""Seconds between a recovery and the next fault."""
SCHEDULES = 10
"""Simulated schedules for ``fairness``."""
KILLS = [
    *(Fault(f"worker-{number}", how) for number in range(1, WORKERS + 1) for how in ("kill", STOP)),
    *(Fault(part) for part in ("api", "redis", "triton", "api", "redis")),
    *[Fault("triton", STUB)] * 3,
]
NETWORK = [
    *(Fault(part, how) for part in ("redis", "s3") for how in (LOSE, LOSE, SLOW, AWAY)),
    Fault("s3", REFUSE),
    *(Fault("redis", how) for how in (UNREPLICATED, REPLICA, FULL)),
]
DISK = [Fault(part, FULL_DISK) for part in ("worker-1", "api", "worker-2", "redis", "worker-1", "api")]
SHARE_ON_DISK = 1 / 7
"""Of the jobs: those that run while disks are full."""
BUCKET, ACCESS_KEY, SECRET_KEY = "reroom", "a-key", "a-secret"


class RelayedStack(Stack):
    """A stack whose API and workers reach Redis through ``relay``."""

    def __init__(self, relay: FaultyRelay, run: Path, **options: Any) -> None:
        super().__init__(run, **options)
        self._relay = relay

    def _parts(self) -> Iterator[Part]:
        for part in super()._parts():
            if "REDIS_URL" in part.env:
                direct = urlsplit(self.redis_url)
                assert direct.port is not None
                self._relay.target = ("127.0.0.1", direct.port)
                relayed = self.redis_url.replace(f":{direct.port}/", f":{self._relay.port}/")
                part = replace(part, env={**part.env, "REDIS_URL": relayed})
            yield part


@contextmanager
def running_moto(folder: Path) -> Iterator[int]:
    """A real S3 server over HTTP with an empty bucket; its port."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = Process(Part(name="s3", command=command, ready=lambda: answers(url)), folder / "s3.log")
    process.wait_ready()
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
        yield port
    finally:
        process.stop()


def on_s3(release: Release, jobs: int, faults: Sequence[Fault], seed: int) -> Outcome:
    """Everything but disks, under the whole stack."""
    redis, s3 = FaultyRelay(redis_kinds(script_names())), FaultyRelay(s3_kind)
    with (
        TemporaryDirectory(prefix="reroom-benchmark-") as folder,
        running_moto(Path(folder)) as port,
        redis.running(),
        s3.running(),
    ):
        s3.target = ("127.0.0.1", port)
        bucket = {
            "R2_BUCKET_NAME": BUCKET,
            "R2_ENDPOINT_URL": f"http://127.0.0.1:{s3.port}",
            "R2_ACCESS_KEY_ID": ACCESS_KEY,
            "R2_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        storage = open_s3(
            endpoint=f"http://127.0.0.1:{port}",
            region="auto",
            bucket=BUCKET,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
        relays = {"redis": redis, "s3": s3}
        return under_faults(Path(folder), release, jobs, faults, seed, relays, storage, bucket)


def on_disk(release: Release, jobs: int, faults: Sequence[Fault], seed: int) -> Outcome:
    """Full disks, under the whole stack with its pictures in a folder."""
    redis = FaultyRelay(redis_kinds(script_names()))
    with TemporaryDirectory(prefix="reroom-benchmark-") as folder, redis.running():
        (Path(folder) / "run" / "storage").mkdir(parents=True)
        signer = UrlSigner(b"of no use here..", "http://127.0.0.1")
        storage = nullcontext(LocalStorage(Path(folder) / "run" / "storage", signer))
        return under_faults(Path(folder), release, jobs, faults, seed, {"redis": redis}, storage, {})


def under_faults(
    folder: Path,
    release: Release,
    jobs: int,
    faults: Sequence[Fault],
    seed: int,
    relays: Mapping[str, FaultyRelay],
    storage: AbstractAsyncContextManager[Storage],
    env: Mapping[str, str],
) -> Outcome:
    """``relays`` have one before "redis"; ``env`` says where the stack stores if not in its folder."""
    env = {
        "REROOM_LEASE_SECONDS": str(LEASE_SECONDS),
        "REROOM_DRAIN": "0.3",
        "REROOM_RETRY_DELAY": "0.2",
        **env,
    }
    stack = RelayedStack(
        relays["redis"],
        folder / "run",
        release=release.folder,
        workers=WORKERS,
        env=env,
        report=lambda line: None,
    )
    with stack, stack.supervised():
        run = Chaos(
            stack,
            url=stack.url,
            redis_url=stack.redis_url,
            storage=storage,
            photo=SAMPLE.read_bytes(),
            preferences={"steps": STEPS, "strength": 1.0, "seed": 1},
            lease_seconds=LEASE_SECONDS,
            seed=seed,
            relays=relays,
        )
        return asyncio.run(run.run(jobs, faults, PAUSE))


def chaos(release: Release, jobs: int, rounds: int, seed: int) -> Outcome:
    on_disk_too = round(jobs * SHARE_ON_DISK)
    found = on_s3(release, jobs - on_disk_too, (KILLS + NETWORK) * rounds, seed)
    return found + on_disk(release, on_disk_too, DISK * ((rounds + 1) // 2), seed)


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
        ("orphan_objects", NONE_GOAL),
        ("quotas_still_reserved", NONE_GOAL),
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
    parser.add_argument("--jobs", type=int, default=700, help="of the three owners together (700)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        help=f"of {len(KILLS + NETWORK)} faults each, without those of disks (2); 0 = only fairness",
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance (1)")
    parser.add_argument("--out", type=Path, default=RESULTS / "resilience.json")
    given = parser.parse_args()
    around = report.circumstances()
    document = report.read(given.out) | measure_fairness()
    if given.rounds:
        release = ready_release(given.bundle)
        document |= chaos(release, given.jobs, given.rounds, given.seed).document()
        document |= {"job_steps": STEPS, "lease_s": LEASE_SECONDS, "workers": WORKERS, "seed": given.seed}
        document |= release.described
    report.write(given.out, document | around)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
