"""Does a page of an owner's jobs cost more when the owner has very many?

    python -m benchmarks.listing                          # into results/listing.json
    python -m benchmarks.listing --jobs 10000 --out few.json

A real Redis with two owners, one of FEW jobs and one of ``--jobs``. Measured is ``JobStore.list_jobs``, from the call
until its jobs are there: pages of the newest and of the oldest jobs, and one that looks in vain for a style that no job
has.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import RESULTS
from measuring import report
from measuring.figures import percentile
from orchestrator.adapters.redis import RedisJobStore, record
from orchestrator.adapters.redis.store import micros
from orchestrator.domain.job import Job, JobState
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Wanted
from stack.redis import RedisServer

FEW = 100
PAGE = 20
ROUNDS = 100
BEGIN = 1.7e9
AT_ONCE = 5000
PAGES = {
    "newest": Wanted(),
    "oldest": Wanted(created_until=BEGIN + FEW / 2),
    "none fits": Wanted(style="no such style"),
}


async def fill(store: RedisJobStore, owner: str, count: int) -> None:
    """Records of completed jobs and their places in the index, as the scripts write them."""
    client, keys = store._client, store._keys
    for start in range(0, count, AT_ONCE):
        writes = client.pipeline(transaction=False)
        for number in range(start, min(count, start + AT_ONCE)):
            job = Job(
                id=uuid.uuid4().hex,
                owner=owner,
                style="modern",
                preferences=Preferences(seed=number),
                original_key="uploads/a/original.jpg",
                created_at=BEGIN + number,
                updated_at=BEGIN + number,
                status=JobState.COMPLETED,
            )
            fields = record.to_fields(job)
            writes.hset(keys.job + job.id, mapping=dict(zip(fields[::2], fields[1::2], strict=True)))
            writes.zadd(keys.listed + owner, {job.id: micros(job.created_at)})
        await writes.execute()


async def measure(redis_url: str, jobs: int) -> dict[str, Any]:
    found: dict[str, Any] = {"jobs": jobs, "few_jobs": FEW, "page": PAGE}
    async with aclosing(RedisJobStore(redis_url, prefix="listing:")) as store:
        for owner, count in (("few", FEW), ("many", jobs)):
            await fill(store, owner, count)
            for name, wanted in PAGES.items():
                seconds = []
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    await store.list_jobs(owner, wanted, limit=PAGE)
                    seconds.append(time.perf_counter() - began)
                key = f"{owner}_{name.replace(' ', '_')}"
                found[f"{key}_p50_ms"] = round(1000 * median(seconds), 2)
                found[f"{key}_p99_ms"] = round(1000 * percentile(seconds, 99), 2)
        index = await store._client.memory_usage(f"{store._keys.listed}many", samples=0)
        found["index_bytes_per_job"] = round((index or 0) / jobs)
    return found


def table(found: dict[str, Any]) -> Table:
    made = Table("page", f"of {found['few_jobs']} jobs, p50 / p99", f"of {found['jobs']} jobs, p50 / p99")
    for name in PAGES:
        key = name.replace(" ", "_")
        cells = [
            f"{found[f'{who}_{key}_p50_ms']} / {found[f'{who}_{key}_p99_ms']} ms" for who in ("few", "many")
        ]
        made.add_row(name, *cells)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.listing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "listing.json")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="reroom-listing-") as name, RedisServer(Path(name)) as redis:
        found = asyncio.run(measure(redis.url, given.jobs))
    report.write(given.out, found | report.circumstances())
    Console().print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
