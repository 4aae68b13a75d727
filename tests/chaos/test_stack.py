"""The whole stack under kill -9, watched through the public client: every job ends once, every event comes once."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from reroom import AsyncClient, events
from reroom.events import Event, seq_key
from reroom.models import TERMINAL
from tests.support.relay import relaying
from tests.support.running_stack import SECONDS, RunningStack, photo, processes_of, running_stack, until

STEPS = 100
"""A second or two of work for the bundle `tiny`: long enough to be hit."""
PREFERENCES = {"steps": STEPS, "strength": 1.0, "seed": 1}
"""No previews: of those the store keeps only the newest, so not all that was sent can be read later."""


LONG, SHORT = 2 * SECONDS, 2.0
"""Seconds of a lease. LONG: a living worker renews it however busy the machine is, so the attempts that a job's record
counts are those of the test. SHORT: a dead worker's job is taken over soon; on a busy machine a living one's too."""


@pytest.fixture(params=[LONG], ids=["a long lease"])
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    lease = str(request.param)
    with running_stack(tmp_path, workers=2, REROOM_LEASE_SECONDS=lease, REROOM_DRAIN="0.3") as running:
        yield running


workers_die = pytest.mark.parametrize("stack", [SHORT], ids=["a short lease"], indirect=True)


class Watcher:
    """Follows a job from its beginning with the client's events()."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self.job_id = job_id
        self.seen: list[Event] = []
        self.step = 0
        """The newest step."""
        self._client = client
        self._task = asyncio.create_task(self._follow())
        # Else, when its test fails first, asyncio reports it from the garbage collector in the middle of another one.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _follow(self) -> None:
        async for event in self._client.events(self.job_id, after="0", timeout=SECONDS):
            self.seen.append(event)
            self.step = event.step if isinstance(event, events.Step) else self.step

    async def reach(self, step: int) -> None:
        await until(lambda: self.step >= step or self._task.done(), f"step {step}")
        assert not self._task.done(), "the job ended before it could be hit"

    async def end(self) -> list[Event]:
        await self._task
        return self.seen

    def stop(self) -> None:
        self._task.cancel()


@asynccontextmanager
async def watching(url: str, jobs: int = 1) -> AsyncIterator[tuple[AsyncClient, list[Watcher]]]:
    """A client, and ``jobs`` of its that are submitted and watched."""
    async with AsyncClient(url) as client:
        submitted = [await client.submit(photo(), "boho", PREFERENCES) for _ in range(jobs)]
        watchers = [Watcher(client, job.job_id) for job in submitted]
        try:
            yield client, watchers
        finally:
            for watcher in watchers:
                watcher.stop()


async def assert_seen_once(client: AsyncClient, stack: RunningStack, watcher: Watcher) -> list[Event]:
    """The watcher saw what the store holds and a later reader sees: everything, once, in order."""
    seen = await watcher.end()
    later = [event async for event in client.events(watcher.job_id, after="0", timeout=SECONDS)]
    assert [plain(event) for event in seen] == [plain(event) for event in later]
    assert [(event.seq, plain(event)["type"]) for event in seen] == stack.stream(watcher.job_id)
    order = [seq_key(event.seq) for event in seen]
    assert order == sorted(set(order))
    return seen


def plain(event: Event) -> dict[str, Any]:
    """An event without ``data``: its URLs are signed anew at every reading."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    fields.pop("data", None)
    return fields


async def assert_completed_once(
    client: AsyncClient, stack: RunningStack, watcher: Watcher, died: bool = False
) -> None:
    """One outcome, committed by the last attempt, whose picture is the only one and can be fetched.

    The job's record counts attempts whose worker ``died``; those that were given back or met an outage it does not.
    """
    seen = await assert_seen_once(client, stack, watcher)
    assert isinstance(seen[-1], events.Completed)
    assert sum(isinstance(event, events.Terminal) for event in seen) == 1
    begun = steps_of_attempts(seen)
    assert all(steps == list(range(1, len(steps) + 1)) for steps in begun)
    assert len(begun[-1]) == STEPS
    folder = f"results/{watcher.job_id}/{len(begun)}"
    assert stack.results(watcher.job_id) == [f"{folder}/thumbnail.jpg", f"{folder}/transformed.jpg"]
    job = await client.status(watcher.job_id)
    assert job.attempts == (len(begun) if died else 1)
    assert job.result is not None
    assert f"/{folder}/transformed.jpg?" in job.result.transformed_url
    picture = await client.download(job, stack.stack.run / f"{watcher.job_id}.jpg")
    assert picture.read_bytes() == (stack.objects_folder / folder / "transformed.jpg").read_bytes()


def steps_of_attempts(seen: list[Event]) -> list[list[int]]:
    """The steps of each attempt; an attempt begins with the state analyzing."""
    attempts: list[list[int]] = []
    for event in seen:
        if isinstance(event, events.StatusChanged) and event.status == "analyzing":
            attempts.append([])
        elif isinstance(event, events.Step):
            attempts[-1].append(event.step)
    return attempts


@workers_die
async def test_a_killed_workers_job_completes_on_the_other(stack: RunningStack) -> None:
    async with watching(stack.url) as (client, [watcher]):
        await watcher.reach(10)
        first, begun = stack.holder(watcher.job_id), len(steps_of_attempts(watcher.seen))
        stack.kill(first)
        # Nothing starts it again: the other worker must take over when the lease has run out.
        killed_at = time.monotonic()
        await until(lambda: len(steps_of_attempts(watcher.seen)) > begun, "another attempt")
        assert time.monotonic() - killed_at < 15, "a lease is 2 s"
        assert stack.holder(watcher.job_id) != first
        await assert_completed_once(client, stack, watcher, died=True)
    assert stack.queue_length() == 0


async def test_a_cancel_stops_the_denoiser(stack: RunningStack) -> None:
    async with watching(stack.url) as (client, [watcher]):
        await watcher.reach(10)
        asked_at = time.monotonic()
        states = [(await client.cancel(watcher.job_id)).status]
        while states[-1] not in TERMINAL:
            states.append((await client.status(watcher.job_id)).status)
        assert set(states) == {"transforming", "cancelled"}
        assert time.monotonic() - asked_at < 15
        seen = await assert_seen_once(client, stack, watcher)
        assert isinstance(seen[-1], events.Cancelled)
        # On a busy machine the model is a few steps ahead of its events.
        assert watcher.step <= await settled(stack) <= watcher.step + 15 < STEPS
        assert (await client.status(watcher.job_id)).status == "cancelled"
    assert stack.results(watcher.job_id) == []
    assert stack.queue_length() == 0


async def settled(stack: RunningStack) -> int:
    """The denoiser's count once it has stood still for half a second; Triton's statistics lag a little."""
    count, since = stack.denoised(), time.monotonic()
    while time.monotonic() < since + 0.5:
        await asyncio.sleep(0.02)
        if (now := stack.denoised()) != count:
            count, since = now, time.monotonic()
    return count


@workers_die
async def test_a_job_cancelled_as_its_worker_dies_is_cancelled(stack: RunningStack) -> None:
    async with watching(stack.url) as (client, [watcher]):
        await watcher.reach(10)
        stack.kill(stack.holder(watcher.job_id))
        await client.cancel(watcher.job_id)
        begun = stack.record(watcher.job_id)["begun"]
        seen = await assert_seen_once(client, stack, watcher)
        assert isinstance(seen[-1], events.Cancelled)
        assert stack.record(watcher.job_id)["begun"] == begun, "it must not be begun again"
        assert await settled(stack) < STEPS, "the dead worker's stream went on"
    assert stack.queue_length() == 0


async def test_redis_killed_mid_job_loses_nothing(stack: RunningStack) -> None:
    with stack.supervised():
        async with watching(stack.url, jobs=6) as (client, watchers):
            await watchers[0].reach(10)
            stack.kill("redis")
            for watcher in watchers:
                await assert_completed_once(client, stack, watcher)
    assert "redis runs again" in stack.reports
    assert stack.queue_length() == 0


async def test_a_websocket_that_drops_resumes(stack: RunningStack) -> None:
    async with relaying(stack.url) as relay, watching(relay.url) as (client, [watcher]):
        accepted = []
        for step in (5, 30, 60):
            await watcher.reach(step)
            accepted.append(relay.accepted)
            relay.cut()
        # The client would hide it if the server sent an event twice: this looks at the server alone.
        first, *rest = await raw_seqs(stack.url, watcher.job_id, after=watcher.seen[5].seq)
        assert seq_key(first) > seq_key(watcher.seen[5].seq), "the snapshot is ahead"
        await assert_completed_once(client, stack, watcher)
        assert rest == [event.seq for event in watcher.seen[6:]]
        assert len({*accepted, relay.accepted}) == 4, "each cut makes the client connect again"


async def raw_seqs(url: str, job_id: str, after: str) -> list[str]:
    """The seqs of all messages until the server closes: first the snapshot's, then the events'."""
    async with connect(f"{url.replace('http', 'ws', 1)}/ws/transform/{job_id}?after={after}") as socket:
        messages = [json.loads(text) async for text in socket]
    return [message["seq"] for message in messages if "seq" in message]


async def test_a_killed_api_is_started_again_and_its_watchers_resume(stack: RunningStack) -> None:
    with stack.supervised():
        async with watching(stack.url, jobs=2) as (client, watchers):
            await watchers[0].reach(10)
            stack.kill("api")
            for watcher in watchers:
                await assert_completed_once(client, stack, watcher)
    assert "api runs again" in stack.reports


async def test_a_worker_that_is_asked_to_stop_hands_its_jobs_over(stack: RunningStack) -> None:
    async with watching(stack.url, jobs=4) as (client, watchers):
        await watchers[0].reach(10)
        first = stack.holder(watchers[0].job_id)
        pid = stack.kill(first, signal.SIGTERM)
        told_at = time.monotonic()
        await until(lambda: not Path(f"/proc/{pid}").exists(), "the worker's end")
        assert time.monotonic() - told_at < 15
        for watcher in watchers:
            await assert_completed_once(client, stack, watcher)
        assert len(steps_of_attempts(watchers[0].seen)) == 2
    stack.stack.check()
    assert any(line.startswith(f"{first} ended with status 0") for line in stack.reports)


async def test_jobs_of_a_stopped_stack_go_on_when_it_is_started_again(stack: RunningStack) -> None:
    async with watching(stack.url, jobs=4) as (_, watchers):
        await watchers[0].reach(10)
    stack.stack.stop()
    assert processes_of(stack.stack.run) == []
    stack.stack.start()
    async with AsyncClient(stack.url) as client:
        for watcher in watchers:
            again = Watcher(client, watcher.job_id)
            await assert_completed_once(client, stack, again)
            before, now = ([plain(event) for event in each.seen] for each in (watcher, again))
            assert before == now[: len(before)]
    assert stack.queue_length() == 0
