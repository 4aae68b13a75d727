"""A thousand people watch their jobs, and every tenth loses the connection: does anyone miss an event?

    python -m benchmarks.watchers                          # into results/watchers.json
    python -m benchmarks.watchers --watchers 100 --seconds 5 --out few.json

A real API and a real Redis; this program is the worker, which publishes steps, and all the watchers: both read one
clock. Each job has WATCHERS_A_JOB of them. Every tenth cuts its connection at a random step, without a word, and
resumes after the last ``seq`` that it has. ``missed`` counts events that a watcher should have had and did not,
``repeated`` those that came twice or out of order. ``lag`` is from the moment at which a step is published until a
watcher that is connected has it; what a watcher catches up on after a cut is not counted in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import RESULTS
from benchmarks.api_alone import api_alone
from measuring import report
from measuring.figures import percentile
from measuring.gates import Gate
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Step
from orchestrator.domain.job import Job, JobResult
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Lease
from stack.redis import RedisServer

WATCHERS_A_JOB = 20
CUT_SHARE = 0.1
STEP_SECONDS = 0.5
PROCESSES = 2
"""Of the API."""
OPENING_AT_ONCE = 50
PATIENCE = 60.0
"""Seconds that a watcher waits for the next message before the benchmark fails."""
MISSED_GOAL = Gate(at_most=0)


@dataclass
class Watched:
    """A job, and when each of its steps was published."""

    lease: Lease
    published: dict[int, float] = field(default_factory=dict)


@dataclass
class Tally:
    """What all watchers saw."""

    missed: int = 0
    repeated: int = 0
    cuts: int = 0
    lags: list[float] = field(default_factory=list)
    """Seconds."""


class Watcher:
    """One watcher of a job; ``cut_at`` is the step at which the connection is lost, or None."""

    def __init__(self, url: str, watched: Watched, steps: int, cut_at: int | None) -> None:
        self._watched, self._steps, self._cut_at = watched, steps, cut_at
        self._url = f"{url.replace('http', 'ws', 1)}/ws/transform/{watched.lease.job.id}"
        self._socket: ClientConnection | None = None
        self._seen: list[int] = []
        self._after = "0"

    async def open(self) -> None:
        """Connect, and have the first two messages."""
        self._socket = await connect(f"{self._url}?after={self._after}", open_timeout=PATIENCE)
        for expected in ("connected", "snapshot"):
            assert json.loads(await self._socket.recv())["type"] == expected

    async def watch(self, tally: Tally) -> None:
        """Until the job's end."""
        catching_up = False
        while True:
            assert self._socket is not None
            message = json.loads(await asyncio.wait_for(self._socket.recv(), PATIENCE))
            now = time.perf_counter()
            self._after = message.get("seq", self._after)
            if message["type"] == "completed":
                break
            if message["type"] != "step":
                continue
            step = message["step"]
            self._seen.append(step)
            if catching_up:
                catching_up = step + 1 in self._watched.published
            else:
                tally.lags.append(now - self._watched.published[step])
            if step == self._cut_at:
                tally.cuts += 1
                self._socket.transport.abort()
                await asyncio.sleep(random.random() * 3 * STEP_SECONDS)
                await self.open()
                catching_up = True
        await self._socket.close()
        wanted = set(range(1, self._steps + 1))
        tally.missed += len(wanted - set(self._seen))
        tally.repeated += len(self._seen) - len(set(self._seen)) + (self._seen != sorted(self._seen))


async def submitted(store: RedisJobStore) -> Watched:
    """A job that this program runs."""
    now = time.time()
    job = Job(
        id=uuid.uuid4().hex,
        style="modern",
        preferences=Preferences(),
        original_key="uploads/a/original.jpg",
        created_at=now,
        updated_at=now,
    )
    await store.submit(job)
    lease = await store.claim("benchmark", 2.0)
    assert lease is not None
    return Watched(lease)


async def run(store: RedisJobStore, watched: Watched, steps: int) -> None:
    """Publish the steps of a job, and its end."""
    await asyncio.sleep(random.random() * STEP_SECONDS)
    for step in range(1, steps + 1):
        watched.published[step] = time.perf_counter()
        event = Step(step=step, of=steps, progress=round(step / (steps + 1), 4))
        await store.publish(watched.lease, step, event)
        await asyncio.sleep(STEP_SECONDS)
    await store.finish(
        watched.lease,
        Completed(
            result=JobResult(
                transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
            )
        ),
    )


async def measure(url: str, redis_url: str, prefix: str, watchers: int, steps: int) -> dict[str, Any]:
    tally, opening = Tally(), asyncio.Semaphore(OPENING_AT_ONCE)
    store = RedisJobStore(redis_url, prefix=prefix, lease_seconds=600.0)
    async with aclosing(store):
        jobs = [await submitted(store) for _ in range(max(1, watchers // WATCHERS_A_JOB))]
        everyone = [
            Watcher(
                url,
                jobs[number % len(jobs)],
                steps,
                random.randint(1, steps - 1) if number % round(1 / CUT_SHARE) == 0 else None,
            )
            for number in range(watchers)
        ]

        async def opened(watcher: Watcher) -> None:
            async with opening:
                await watcher.open()

        await asyncio.gather(*map(opened, everyone))
        await asyncio.gather(
            *(run(store, watched, steps) for watched in jobs), *(watcher.watch(tally) for watcher in everyone)
        )
    return _document(tally, watchers, steps)


def _document(tally: Tally, watchers: int, steps: int) -> dict[str, Any]:
    return {
        "watchers": watchers,
        "events": watchers * (steps + 1),
        "cuts": tally.cuts,
        "missed": tally.missed,
        "repeated": tally.repeated,
        "lag_p50_s": median(tally.lags),
        "lag_p99_s": percentile(tally.lags, 99),
        "lag_max_s": max(tally.lags),
    }


def table(document: dict[str, Any]) -> Table:
    made = Table("watchers", "cuts", "events", "missed", "repeated", "lag p50, s", "p99, s", box=None)
    lags = (f"{document[name]:.3f}" for name in ("lag_p50_s", "lag_p99_s"))
    missed = f"{document['missed']} {report.reached(MISSED_GOAL, document['missed'])}"
    counts = (str(document[name]) for name in ("watchers", "cuts", "events"))
    made.add_row(*counts, missed, str(document["repeated"]), *lags)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watchers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each job runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "watchers.json")
    given = parser.parse_args(arguments)
    steps = max(2, round(given.seconds / STEP_SECONDS))
    around = report.circumstances() | {"api_processes": PROCESSES, "step_seconds": STEP_SECONDS}
    random.seed(0)
    with TemporaryDirectory(prefix="reroom-watchers-") as name, RedisServer(Path(name) / "redis") as redis:
        folder = Path(name) / "watched"
        folder.mkdir()
        env = {"REROOM_API_PROCESSES": str(PROCESSES), "REROOM_MAX_CONNECTIONS": str(given.watchers + 500)}
        with api_alone(folder, redis.url, **env) as (url, _):
            found = asyncio.run(measure(url, redis.url, f"{folder.name}:", given.watchers, steps))
    document = found | around
    report.write(given.out, document)
    Console().print(table(document))
    return int(bool(document["missed"] or document["repeated"]))


if __name__ == "__main__":
    sys.exit(main())
