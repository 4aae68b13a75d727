"""Two Tritons, two workers and two API processes behind one address; one of each kind but the workers is killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator

import httpx2
import pytest

from reroom import AsyncClient
from tests.chaos.test_stack import Watcher, assert_seen_once, steps_of_attempts
from tests.support.running_stack import SECONDS, RunningStack, photo, running_stack, until

ADMIN_TOKEN = "a token for the tests"
WORKERS = ("worker-1", "worker-2")
TRITONS = ("triton-1", "triton-2")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    run = tmp_path_factory.mktemp("stack")
    with running_stack(run, workers=2, tritons=2, apis=2, REROOM_ADMIN_TOKEN=ADMIN_TOKEN) as running:
        yield running


async def submit(client: AsyncClient, count: int, steps: int) -> list[Watcher]:
    """From noise, so that all of the steps are run."""
    wishes = {"steps": steps, "strength": 1.0, "seed": 1}
    jobs = [await client.submit(photo(), "boho", wishes) for _ in range(count)]
    return [Watcher(client, job.job_id) for job in jobs]


async def outcome(client: AsyncClient, stack: RunningStack, watcher: Watcher) -> int:
    """How often the job was begun until it was completed, its watcher having seen everything once."""
    seen = await assert_seen_once(client, stack, watcher)
    job = await client.status(watcher.job_id)
    assert (job.status, job.attempts) == ("completed", 1), job
    return len(steps_of_attempts(seen))


async def test_one_of_two_tritons_killed_under_twenty_jobs_fails_none(stack: RunningStack) -> None:
    killed, other = TRITONS
    address = stack.stack.triton_urls[killed]
    async with AsyncClient(stack.url) as client:
        # All are queued before the first begins: a slow machine would have done most of them by then.
        for worker in WORKERS:
            stack.kill(worker, signal.SIGSTOP)
        watchers = await submit(client, 20, steps=50)
        for worker in WORKERS:
            stack.kill(worker, signal.SIGCONT)
        await until(lambda: min(map(stack.denoised, TRITONS)) >= 8, "work on both Tritons")
        stack.kill(killed)
        done, back = (count(stack, words) for words in (": completed", f"{address} serves again"))
        # Nothing starts it again yet: the other one must do the rest.
        attempts = [await outcome(client, stack, watcher) for watcher in watchers]
        assert max(attempts) == 2, "a job was on the Triton that was killed, and no job met it twice"
        now = count(stack, ": completed")
        assert all(now[worker] > done[worker] for worker in WORKERS), "both used the other Triton"
        assert_both_processes_serve_watchers(stack)
        assert await triton_health(stack) == ("up", f"1 of 2 down: {address}")
        assert (await client.health()).healthy

        with stack.supervised():
            await until(lambda: f"{killed} runs again" in stack.reports, "the restart")
            await until(
                lambda: all(n > back[each] for each, n in count(stack, f"{address} serves again").items()),
                "both workers' notice of it",
            )
            before = stack.denoised(other)
            for watcher in await submit(client, 8, steps=10):
                assert await outcome(client, stack, watcher) == 1
        assert stack.denoised(killed) > 0
        assert stack.denoised(other) > before
        # The connections of the API's own to it, one in each process, take a moment to come back.
        async with asyncio.timeout(SECONDS):
            while await triton_health(stack) != ("up", None):
                pass
    assert stack.queue_length() == 0


async def triton_health(stack: RunningStack) -> tuple[str, str | None]:
    """As the administrator sees it."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx2.AsyncClient(base_url=stack.url, headers=headers) as http:
        part = (await http.get("/health")).json()["services"]["triton"]
    return part["status"], part.get("detail")


def count(stack: RunningStack, words: str) -> dict[str, int]:
    """How often each worker has said it."""
    return {worker: stack.log(worker).count(words) for worker in WORKERS}


def assert_both_processes_serve_watchers(stack: RunningStack) -> None:
    """Each API process has followed jobs for watchers."""
    pids = stack.api_pids()
    accepted = re.findall(r"(\d+) INFO uvicorn.error .*WebSocket /ws/transform/.*accepted", stack.log("api"))
    assert len(pids) == 2
    assert {int(pid) for pid in accepted} == pids


async def test_an_api_process_killed_under_watchers_loses_nothing(stack: RunningStack) -> None:
    before = stack.api_pids()
    async with AsyncClient(stack.url) as client:
        watchers = await submit(client, 6, steps=100)
        await watchers[-1].reach(5)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        while len(stack.api_pids() - {victim}) < 2:
            # A connection of its own each: those that wait for a process are not lost with one.
            async with httpx2.AsyncClient(base_url=stack.url) as http:
                assert (await http.get("/health/live")).status_code == 200
        for watcher in watchers:
            assert await outcome(client, stack, watcher) == 1
    assert len(stack.api_pids() & before) == 1
    assert not any(line.startswith("api ") for line in stack.reports), "the part itself has not ended"
