"""The processes of Python models are killed on a real Triton, which still reports that it is ready."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from measuring.memory import descendants, stubs_of
from orchestrator.adapters.triton import TritonPool
from orchestrator.ports import InferenceError, Unavailable
from reroom import AsyncClient
from reroom.triton import RestyleRequest, Step
from stack.triton import TritonServer
from tests.chaos.test_stack import LONG, PREFERENCES, Watcher, assert_completed_once
from tests.conftest import RELEASE, ROOT
from tests.support.pictures import room
from tests.support.running_stack import RunningStack, photo, running_stack, until

DOLLHOUSE = ROOT / "releases" / "dollhouse"
LIMIT = 15.0
"""Seconds within which a Triton whose model has died counts as down."""


@pytest.fixture
def unwatched() -> Iterator[TritonServer]:
    """A Triton that something else runs, which does not end it when a model's process dies."""
    with TritonServer([ROOT / "model_repository", DOLLHOUSE / "models"], release=DOLLHOUSE) as server:
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        yield server
        os.kill(server.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + LIMIT
        while server.process.exit_status is None:
            assert time.monotonic() < deadline, "what died meanwhile ends it too"
            time.sleep(0.05)


@asynccontextmanager
async def pooled(url: str) -> AsyncIterator[TritonPool]:
    pool = TritonPool([url])
    yield pool
    await pool.aclose()


async def down(pool: TritonPool) -> str:
    """Why the pool is down, as soon as it is."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            await pool.ping()
        except Unavailable as error:
            return str(error)
        await asyncio.sleep(0.1)
    raise AssertionError(f"up for {LIMIT} s, with a dead model")


async def test_a_dead_process_shows_over_the_network_and_does_not_hang_its_jobs(
    unwatched: TritonServer,
) -> None:
    assert unwatched.process is not None
    stubs = stubs_of(unwatched.process.pid)
    request = RestyleRequest(image=room(256, 256), prompt="a room", steps=100, strength=1.0)
    async with pooled(unwatched.grpc) as pool, aclosing(pool.restyle(request)) as job:
        await pool.ping()
        async for event in job:
            if isinstance(event, Step):
                break
        # Its work for this job is done: only a probe finds it dead.
        os.kill(stubs["text_encoder"], signal.SIGKILL)
        assert "text_encoder: Stub process 'text_encoder_0_0' is not healthy" in await down(pool)
        assert isinstance(await anext(job), Step), "a job that goes on is left alone"
        with pytest.raises(InferenceError) as refused:
            await anext(pool.restyle(request))
        assert (refused.value.code, refused.value.retryable) == ("unavailable", True)

        os.kill(stubs["restyle"], signal.SIGKILL)
        killed_at = time.monotonic()
        with pytest.raises(InferenceError) as lost:
            async for _ in job:
                pass
        assert lost.value.code == "unavailable"
        assert time.monotonic() - killed_at < LIMIT


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack"), REROOM_LEASE_SECONDS=str(LONG)) as running:
        yield running


def stubs(stack: RunningStack) -> dict[str, int]:
    return stubs_of(stack.stack.pid("triton"))


@pytest.mark.parametrize("model", ["restyle", "denoiser"])
async def test_a_job_whose_model_dies_completes_in_its_first_attempt(stack: RunningStack, model: str) -> None:
    async with AsyncClient(stack.url) as client:
        with stack.supervised():
            submitted = await client.submit(photo(), "boho", PREFERENCES)
            watcher = Watcher(client, submitted.job_id)
            await watcher.reach(10)
            os.kill(stubs(stack)[model], signal.SIGKILL)
            await assert_completed_once(client, stack, watcher)
            assert (await client.health()).healthy
        assert "triton runs again" in stack.reports
    assert "has died: ending Triton" in "".join(stack.reports)
    assert stack.queue_length() == 0


async def test_health_says_at_once_that_an_idle_model_has_died(stack: RunningStack) -> None:
    async with httpx2.AsyncClient(base_url=stack.url, timeout=30) as http, AsyncClient(stack.url) as client:
        assert (await http.get("/health/ready")).status_code == 200
        os.kill(stubs(stack)["edges"], signal.SIGKILL)
        killed_at = time.monotonic()
        while (await http.get("/health/ready")).status_code == 200:
            assert time.monotonic() - killed_at < LIMIT
        # It was not started again yet.
        submitted = await client.submit(photo(), "boho", {"steps": 4})
        with stack.supervised():
            job = await client.wait(submitted, timeout=60)
        assert (job.status, job.attempts) == ("completed", 1)
        deadline = time.monotonic() + LIMIT
        while (await http.get("/health/ready")).status_code != 200:
            assert time.monotonic() < deadline


async def test_an_ended_triton_takes_the_processes_of_its_models_along(stack: RunningStack) -> None:
    with stack.supervised():
        # Each graph's, and those of restyle, analyse and edges.
        processes = len(list(RELEASE.glob("models/*"))) + 3
        await until(lambda: len(stubs(stack)) == processes, "a Triton that serves")
    before = descendants(stack.stack.pid("triton"))
    os.kill(stubs(stack)["depth"], signal.SIGKILL)
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), "their end")
