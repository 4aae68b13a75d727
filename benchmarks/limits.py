"""Are limits exact, do quotas follow from the jobs, and what do both cost a submission?

    python -m benchmarks.limits            # into results/limits.json; about three minutes

limit_overrun     what four processes were granted above a limit: requests of a rate limit, in any stretch of its
                  length, and jobs under way. Each process has eight callers; Redis is real
quota_drift       sums of quotas that do not follow from their jobs, negative ones and leaked ones among them, in a
                  thousand random schedules with kills between any two calls (quota_schedules.py)
submit_overhead   p50 and p99 of submissions with a key, rate limits, quotas and a budget, over those of an open service
                  without limits: 25 a second of a photo of 1 megapixel. Two APIs over one Redis take turns of two
                  seconds, so that both meet the same machine. Neither a worker nor Triton runs
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from benchmarks.quota_schedules import run_schedules
from measuring import report
from measuring.figures import percentile
from measuring.gates import Gate
from orchestrator.adapters.redis import RedisJobStore, RedisKeyStore, RedisRates
from orchestrator.domain.job import Job
from orchestrator.domain.keys import Scope
from orchestrator.domain.plans import Plan
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.usage import Admission
from orchestrator.ports import QuotaExceeded, RateLimit
from orchestrator.services.keys import KeyService
from stack.demo import read_photo
from stack.process import Part, Process, free_ports
from stack.redis import RedisServer
from stack.triton import answers

EXACT, OVERHEAD = Gate(at_most=0), Gate(at_most=1.15)
PROCESSES, CALLERS = 4, 8
QUOTA, WINDOW = 200, 3
"""Requests, and seconds in which they are allowed."""
JOBS = 50
SCHEDULES = 1000
RATE, TURN = 25.0, 2.0
"""Submissions a second, and seconds until the other API's turn."""
MEGAPIXEL = (1152, 896)
PATIENCE = 30.0
PLANS = """
[premium]
requests_per_minute = 100000
requests_per_hour = 1000000
address_requests_per_minute = 100000
address_requests_per_hour = 1000000
concurrent_jobs = 100000
waiting_jobs = 100000
gpu_seconds_per_day = 1e8
gpu_seconds_per_month = 1e9
stored_bytes = 1000000000000
stored_objects = 1000000
"""

Task = Callable[[str], Coroutine[Any, Any, list[tuple[float, float]]]]


async def take_rates(url: str, seconds: float) -> list[tuple[float, float]]:
    """When each granted request was sent, and when its answer was there."""
    limit = RateLimit(name="key-window", of="one", quota=QUOTA, seconds=WINDOW)
    rates, granted, end = (
        RedisRates(url, prefix="overrun:"),
        list[tuple[float, float]](),
        time.monotonic() + seconds,
    )

    async def ask() -> None:
        while (sent := time.monotonic()) < end:
            (state,) = await rates.take([limit])
            if state.refused:
                await asyncio.sleep(0.01)
            else:
                granted.append((sent, time.monotonic()))

    await asyncio.gather(*(ask() for _ in range(CALLERS)))
    await rates.aclose()
    return granted


async def take_jobs(url: str) -> list[tuple[float, float]]:
    """When each granted job was submitted, and when the answer was there."""
    store, granted = RedisJobStore(url, prefix="overrun:"), list[tuple[float, float]]()
    asked = Admission(
        plan=Plan(concurrent_jobs=JOBS), estimated_seconds=1.0, stored_bytes=1, stored_objects=1
    )

    async def ask() -> None:
        for _ in range(2 * JOBS // CALLERS):
            sent = time.monotonic()
            try:
                await store.submit(_a_job(), admission=asked)
            except QuotaExceeded:
                continue
            granted.append((sent, time.monotonic()))

    await asyncio.gather(*(ask() for _ in range(CALLERS)))
    await store.aclose()
    return granted


def _a_job() -> Job:
    number, now = multiprocessing.current_process().pid, time.time()
    return Job(
        id=f"{number}-{time.perf_counter_ns()}", owner="a" * 16, style="modern", preferences=Preferences(),
        original_key="uploads/a/original.jpg", created_at=now, updated_at=now,
    )  # fmt: skip


def _run(task: Task, url: str) -> list[tuple[float, float]]:
    return asyncio.run(task(url))


def in_processes(task: Task, url: str) -> list[tuple[float, float]]:
    """What all processes were granted, in the order of its sending."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(_run, [task] * PROCESSES, [url] * PROCESSES))
    return sorted(each for granted in found for each in granted)


def overrun(granted: list[tuple[float, float]], quota: int, window: float) -> int:
    """The most requests above the quota that certainly fell within one window: sent after its begin, answered before
    its end."""
    worst = 0
    for begin, _ in granted:
        inside = sum(begin <= sent and answered < begin + window for sent, answered in granted)
        worst = max(worst, inside - quota)
    return worst


def measure_overrun(url: str, seconds: float) -> dict[str, Any]:
    requests = in_processes(partial(take_rates, seconds=seconds), url)
    jobs = in_processes(take_jobs, url)
    return {
        "limit_overrun": max(overrun(requests, QUOTA, WINDOW), len(jobs) - JOBS, 0),
        "requests_granted": len(requests),
        "requests_per_window": QUOTA,
        "window_s": WINDOW,
        "jobs_granted": len(jobs),
        "jobs_allowed": JOBS,
        "processes": PROCESSES,
    }


@contextmanager
def served(folder: Path, redis_url: str, **more: str) -> Iterator[str]:
    """An API: its URL. ``more``: its settings beside what every API needs."""
    folder.mkdir()
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    env = {
        "REDIS_URL": redis_url, "REROOM_REDIS_PREFIX": f"{folder.name}:", "API_BASE_URL": url, "REROOM_PORT": str(port),
        "REROOM_STORAGE_DIR": str(folder / "storage"), "REROOM_SIGNING_KEY": "a key for a benchmark",
        "REROOM_TRITON_URL": "127.0.0.1:1", "REROOM_MAX_QUEUE": "1000000",
        # So that 127.0.0.1 is a client with limits of its own, not a proxy for many.
        "REROOM_TRUSTED_PROXIES": "10.9.9.9", **more,
    }  # fmt: skip
    command = [sys.executable, "-m", "orchestrator.app"]
    part = Part(name="api", command=command, env=env, ready=lambda: answers(f"{url}/health/live"))
    process = Process(part, folder / "api.log")
    try:
        process.wait_ready()
        yield url
    finally:
        process.stop()


async def a_key(redis_url: str, prefix: str) -> dict[str, str]:
    """The headers of a caller with the plan ``premium``."""
    store = RedisKeyStore(redis_url, prefix=prefix)
    made = await KeyService(store).create("benchmark", [Scope.TRANSFORM, Scope.READ], plan="premium")
    await store.aclose()
    return {"Authorization": f"Bearer {made.text}"}


async def submit_for(http: httpx2.AsyncClient, photo: bytes, seconds: float) -> list[float]:
    """Seconds of each submission, from when it was due."""
    begun = time.perf_counter()

    async def one(due: float) -> float:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        answer = await http.post("/transform/submit", files={"file": ("photo", photo)})
        if answer.status_code != 202:
            raise RuntimeError(f"a submission was answered {answer.status_code}: {answer.text}")
        return time.perf_counter() - due

    return list(await asyncio.gather(*(one(begun + n / RATE) for n in range(round(seconds * RATE)))))


async def take_turns(
    plain: str, limited: str, key: dict[str, str], seconds: float
) -> tuple[list[float], list[float]]:
    """Seconds of the submissions to each API."""
    photo = a_megapixel()
    found: tuple[list[float], list[float]] = ([], [])
    async with (
        httpx2.AsyncClient(base_url=plain, timeout=PATIENCE) as open_service,
        httpx2.AsyncClient(base_url=limited, timeout=PATIENCE, headers=key) as with_limits,
    ):
        both = (open_service, with_limits)
        for http in both:
            await submit_for(http, photo, TURN)
        for turn in range(round(2 * seconds / TURN)):
            # Every second pair the other way round, since a turn may slow down the one after it.
            each = (turn + turn // 2) % 2
            found[each].extend(await submit_for(both[each], photo, TURN))
    return found


def a_megapixel() -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(read_photo(None))) as photo:
        photo.convert("RGB").resize(MEGAPIXEL).save(out, "JPEG", quality=90)
    return out.getvalue()


def measure_overhead(folder: Path, redis_url: str, seconds: float) -> dict[str, Any]:
    plans = folder / "plans.toml"
    plans.write_text(PLANS)
    limits = {
        "REROOM_KEY_PLANS": str(plans), "REROOM_GPU_HOUR_PRICE": "0.5", "REROOM_MONTHLY_BUDGET": "1000000",
    }  # fmt: skip
    with (
        served(folder / "plain", redis_url, REROOM_OPEN="true") as plain,
        served(folder / "limited", redis_url, **limits) as limited,
    ):
        key = asyncio.run(a_key(redis_url, "limited:"))
        without, with_limits = asyncio.run(take_turns(plain, limited, key, seconds))
    return {
        "submit_overhead": median(with_limits) / median(without),
        "submit_overhead_p99": percentile(with_limits, 99) / percentile(without, 99),
        "p50_s": median(with_limits),
        "p99_s": percentile(with_limits, 99),
        "p50_without_s": median(without),
        "p99_without_s": percentile(without, 99),
        "submits": len(with_limits),
        "submits_a_second": RATE,
        "pixels": MEGAPIXEL[0] * MEGAPIXEL[1],
    }


def measure(seconds: float, schedules: int) -> dict[str, Any]:
    around = report.circumstances()
    with TemporaryDirectory(prefix="reroom-limits-") as name:
        folder = Path(name)
        with RedisServer(folder / "redis") as redis:
            print("limits under four processes …", flush=True)
            found = measure_overrun(redis.url, 4 * WINDOW)
            print("submissions with limits and without …", flush=True)
            found |= measure_overhead(folder, redis.url, seconds)
        with RedisServer(folder / "schedules") as redis:
            print(f"{schedules} schedules …", flush=True)
            differences, happened = asyncio.run(run_schedules(redis.url, schedules))
    found |= {
        "quota_drift": len(differences),
        "schedules": schedules,
        "happened": dict(sorted(happened.items())),
    }
    return found | around


def table(document: dict[str, Any]) -> Table:
    made = Table("", "measured", "goal", box=None)
    gates = {"limit_overrun": EXACT, "quota_drift": EXACT, "submit_overhead": OVERHEAD}
    for name, gate in [*gates.items(), ("submit_overhead_p99", OVERHEAD)]:
        made.add_row(name, f"{document[name]:.3g}", report.reached(gate, document[name]))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=40.0, help="of submissions to each API (40)")
    parser.add_argument("--schedules", type=int, default=SCHEDULES, help="random schedules (1000)")
    parser.add_argument("--out", type=Path, default=RESULTS / "limits.json")
    given = parser.parse_args()
    document = measure(given.seconds, given.schedules)
    report.write(given.out, document)
    console = Console()
    console.print(table(document))
    console.print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
