"""A watcher loses the connection again and again: does it miss an event, over the WebSocket or by server-sent events?

    python -m benchmarks.resuming                     # into results/resuming.json
    python -m benchmarks.resuming --cuts 10 --out few.json

A real API and a real Redis; this program is the worker, which publishes steps at random moments, and the watcher. The
watcher takes a random number of events, ends the connection without a word, and resumes after the last one. ``missed``
counts events that it should have had and did not, ``repeated`` those that came twice or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks import RESULTS
from benchmarks.api_alone import api_alone
from benchmarks.watchers import submitted
from measuring import report
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Preview, Step
from orchestrator.domain.job import JobResult
from orchestrator.ports import Lease
from reroom._sse import Parser
from stack.redis import RedisServer

STEPS = 60
LONGEST_PAUSE = 0.03
"""Seconds between two steps, at most."""
MOST_EVENTS = 4
"""A connection is cut after at most so many events."""
PREVIEW = "/9j/4AAQ" * 2000
"""The size of a real one; every fifth step has one. Newer ones replace it, so they are not counted."""
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)
WAYS = ("websocket", "server_sent_events")


async def work(store: RedisJobStore, lease: Lease) -> None:
    number = 0
    for step in range(1, STEPS + 1):
        events: list[Step | Preview] = [Step(step=step, of=STEPS, progress=step / (STEPS + 1))]
        if step % 5 == 0:
            events.append(Preview(step=step, jpeg=PREVIEW, progress=step / (STEPS + 1)))
        for event in events:
            number += 1
            await store.publish(lease, number, event)
        await asyncio.sleep(random.random() * LONGEST_PAUSE)
    await store.finish(lease, Completed(result=RESULT))


async def over_websocket(url: str, job_id: str, after: str) -> AsyncGenerator[dict[str, Any], None]:
    """The messages of one connection, which is aborted when the generator is closed."""
    socket = await connect(f"{url.replace('http', 'ws', 1)}/ws/transform/{job_id}?after={after}")
    try:
        while True:
            yield json.loads(await socket.recv())
    except ConnectionClosed:
        return
    finally:
        socket.transport.abort()


async def by_server_events(url: str, job_id: str, after: str) -> AsyncGenerator[dict[str, Any], None]:
    address = f"{url}/transform/{job_id}/events"
    parser = Parser()
    async with (
        httpx2.AsyncClient(timeout=60.0) as http,
        http.stream("GET", address, headers={"Last-Event-ID": after}) as answer,
    ):
        assert answer.status_code == 200, answer.status_code
        async for line in answer.aiter_lines():
            event = parser.feed(line)
            if event is not None:
                assert event.event in ("connected", "snapshot") or event.id == json.loads(event.data)["seq"]
                yield json.loads(event.data)


async def watch(url: str, job_id: str, way: str) -> tuple[list[dict[str, Any]], int]:
    """The events of a job until its end, and how many connections were cut meanwhile."""
    seen: list[dict[str, Any]] = []
    after, cuts = "0", 0
    while True:
        messages = (over_websocket if way == "websocket" else by_server_events)(url, job_id, after)
        left = 2 + random.randint(0, MOST_EVENTS)
        async with aclosing(messages):
            async for message in messages:
                if message["type"] not in ("connected", "snapshot"):
                    seen.append(message)
                    after = message["seq"]
                left -= 1
                if not left or message["type"] == "completed":
                    break
        if seen and seen[-1]["type"] == "completed":
            return seen, cuts
        cuts += 1


async def measure(url: str, redis_url: str, prefix: str, cuts: int) -> dict[str, Any]:
    store = RedisJobStore(redis_url, prefix=prefix, lease_seconds=600.0)
    found: dict[str, Any] = {}
    async with aclosing(store):
        for way in WAYS:
            tally = {"jobs": 0, "cuts": 0, "events": 0, "missed": 0, "repeated": 0}
            while tally["cuts"] < cuts:
                watched = await submitted(store)
                working = asyncio.create_task(work(store, watched.lease))
                seen, made = await watch(url, watched.lease.job.id, way)
                await working
                steps = [message["step"] for message in seen if message["type"] == "step"]
                seqs = [tuple(map(int, message["seq"].split("-"))) for message in seen]
                tally["jobs"] += 1
                tally["cuts"] += made
                tally["events"] += STEPS + 1
                tally["missed"] += len({*range(1, STEPS + 1)} - {*steps})
                tally["repeated"] += len(seqs) - len({*seqs}) + (seqs != sorted(seqs))
            found[way] = tally
    return found


def table(found: dict[str, Any]) -> Table:
    made = Table("over", "jobs", "cuts", "events", "missed", "repeated")
    for way in WAYS:
        made.add_row(way, *map(str, found[way].values()))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resuming",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cuts", type=int, default=100, help="at least so many, each way")
    parser.add_argument("--out", type=Path, default=RESULTS / "resuming.json")
    given = parser.parse_args(arguments)
    random.seed(0)
    with TemporaryDirectory(prefix="reroom-resuming-") as name, RedisServer(Path(name) / "redis") as redis:
        folder = Path(name) / "watched"
        folder.mkdir()
        with api_alone(folder, redis.url) as (url, _):
            found = asyncio.run(measure(url, redis.url, f"{folder.name}:", given.cuts))
    report.write(given.out, found | report.circumstances())
    Console().print(table(found))
    return int(any(found[way]["missed"] or found[way]["repeated"] for way in WAYS))


if __name__ == "__main__":
    sys.exit(main())
