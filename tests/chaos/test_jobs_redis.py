"""Jobs survive the death of workers and of Redis: real processes, killed with SIGKILL. The model is a script."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, EventRecord, Failed, StatusChanged, Step, seq_key
from orchestrator.domain.job import Job, JobState
from stack.redis import RedisServer
from tests.support.api_server import photo
from tests.support.jobs import a_job, claim, collect

LEASE = 1.0
OUTLIVING = 3.0
"""A lease that a living worker renews however busy the machine is."""
STEPS, PAUSE = 20, 0.05
ROOT = Path(__file__).resolve().parents[2]


class Stack:
    """A Redis, a folder of objects and worker processes."""

    def __init__(self, server: RedisServer, folder: Path, lease: float) -> None:
        self.server, self.folder, self.lease = server, folder, lease
        self.store = RedisJobStore(server.url, lease_seconds=lease)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, steps: int = STEPS) -> subprocess.Popen[bytes]:
        arguments = [self.server.url, str(self.folder), str(self.lease), str(steps), str(PAUSE)]
        script = ROOT / "tests" / "support" / "fake_worker.py"
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client' / 'src'}"}
        with (self.folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, script, *arguments], env=environment, stdout=log, stderr=log
            )
        self.workers.append(worker)
        return worker

    async def submit(self) -> Job:
        job = a_job()
        path = self.folder / "objects" / job.original_key
        path.parent.mkdir(parents=True)
        path.write_bytes(photo())
        await self.store.submit(job)
        return job

    async def reach(self, job: Job, progress: float) -> Job:
        deadline = time.monotonic() + 20
        while (now := await self.store.get(job.id)).progress < progress:
            assert time.monotonic() < deadline, f"{now} does not get on"
            await asyncio.sleep(0.02)
        return now

    async def outcome(self, job: Job, seconds: float = 60) -> list[EventRecord]:
        return await asyncio.wait_for(collect(self.store, job.id), seconds)

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait(10)
        self.workers.remove(worker)

    async def aclose(self) -> None:
        for worker in list(self.workers):
            self.kill(worker)
        await self.store.aclose()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture(params=[LEASE])
async def stack(server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    made = Stack(server, tmp_path, request.param)
    yield made
    await made.aclose()


def assert_completed_once(seen: list[EventRecord]) -> None:
    assert sum(isinstance(record.event, Completed) for record in seen) == 1
    assert isinstance(seen[-1].event, Completed)
    order = [seq_key(record.seq) for record in seen]
    assert order == sorted(set(order))


@pytest.mark.parametrize("stack", [OUTLIVING], indirect=True)
async def test_redis_killed_mid_job_loses_nothing(stack: Stack) -> None:
    stack.start_worker()
    job = await stack.submit()
    watching = asyncio.create_task(stack.outcome(job))
    await stack.reach(job, 0.4)
    stack.server.kill()
    await asyncio.sleep(1.1 * stack.lease)
    stack.server.start()
    waiting = await stack.submit()
    seen = await watching
    assert_completed_once(seen)
    done = await stack.store.get(job.id)
    assert done.attempts == 1, "the worker lived: an outage of Redis costs no attempt"
    steps = [record.event.step for record in seen if isinstance(record.event, Step)]
    assert steps == list(range(1, STEPS + 1))
    assert seen == await collect(stack.store, job.id)
    assert_completed_once(await stack.outcome(waiting))


async def test_after_a_restart_of_redis_living_workers_keep_their_jobs(stack: Stack) -> None:
    lease_seconds = 3.0
    store = RedisJobStore(stack.server.url, lease_seconds=lease_seconds)
    try:
        await stack.submit()
        living = await claim(store, "living")
        await stack.submit()
        silent = await claim(store, "silent")
        stack.server.kill()
        await asyncio.sleep(1.1 * lease_seconds)
        before = time.monotonic()
        stack.server.start()
        taken = None
        while taken is None:
            assert time.monotonic() < before + 30, "but silence still ends a lease"
            assert await store.renew(living) is False
            taken = await store.claim("other", 0.1)
        assert taken.job.id == silent.job.id
        assert time.monotonic() >= before + lease_seconds, "a worker had no time to say that it lives"
    finally:
        await store.aclose()


async def test_many_kills(stack: Stack) -> None:
    """Workers and Redis are killed at random; every job ends once: completed, or given up after three attempts."""
    kills, chance = int(os.environ.get("REROOM_TEST_KILLS", "6")), random.Random(5)
    for _ in range(3):
        stack.start_worker()
    jobs = [await stack.submit() for _ in range(6 * kills)]
    watching = [asyncio.create_task(stack.outcome(job, 60 + 10 * kills)) for job in jobs]
    for kill in range(kills):
        await asyncio.sleep(chance.uniform(0.5, 1.5))
        if kill % 5 == 4:
            stack.server.kill()
            stack.server.start()
        else:
            stack.kill(chance.choice(stack.workers))
            stack.start_worker()
    for job, seen in zip(jobs, await asyncio.gather(*watching), strict=True):
        done = await stack.store.get(job.id)
        begun = sum(
            isinstance(record.event, StatusChanged) and record.event.status == JobState.ANALYZING
            for record in seen
        )
        assert done.attempts == begun
        assert sum(isinstance(record.event, Completed | Failed) for record in seen) == 1
        if done.status == JobState.COMPLETED:
            assert_completed_once(seen)
            assert done.result is not None
            assert (stack.folder / "objects" / done.result.transformed_key).is_file()
        else:
            assert done.error is not None
            assert (done.error.code, begun) == ("too_many_attempts", 3)
    records = [await stack.store.get(job.id) for job in jobs]
    ended = Counter((record.status.value, record.attempts) for record in records)
    print(f"{kills} kills, {len(jobs)} jobs by state and attempts: {dict(ended)}")
    assert ended["completed", 1] < len(jobs), "no kill hit a running job"
    stats = await stack.store.stats()
    assert (stats.queued, stats.running, stats.delayed) == (0, 0, 0)
