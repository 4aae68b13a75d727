"""The pool over scripted servers: which gets a request, which is skipped, and which comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

import msgspec
import numpy as np
import pytest

from orchestrator.adapters.triton import pool as pool_module
from orchestrator.adapters.triton.pool import InferencePool
from orchestrator.adapters.triton.routing import least_requests
from orchestrator.domain.cost import Kind, WorkTable
from orchestrator.ports import InferenceError, ModelLoad, ModelServer, Unavailable
from reroom.triton import RestyleEvent, RestyleRequest, Result, Stage
from tests.support.fakes import FakeInference, Line, a_script

LONG, SHORT = "best", "draft"
TABLE = WorkTable(
    buckets=[(64, 64)],
    side=64,
    kinds={LONG: Kind(steps=20, run=20, guided=20), SHORT: Kind(steps=2, run=2, guided=0)},
    quality=LONG,
)
LOAD = ModelLoad(failures=0, steps=40, batches=25, busy_seconds=2.5, queue_seconds=0.5)
REQUEST = RestyleRequest(image=np.zeros((64, 64, 3), np.uint8), prompt="a room")
GONE = InferenceError("unavailable", "connection lost", retryable=True)
BROKEN = InferenceError("model_error", "out of memory", retryable=True)
REFUSED = InferenceError("invalid_request", "steps must be 1 to 100, not 0", retryable=False)


class Hung(FakeInference):
    """Accepts everything and answers nothing, once ``hangs``."""

    hangs = True

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().ping()


def slow(pause: float = 30.0) -> list[Line]:
    """A script that pauses after its first event."""
    first, *rest = a_script()
    return [first, pause, *rest]


@asynccontextmanager
async def pooled(**servers: FakeInference) -> AsyncIterator[InferencePool]:
    pool = InferencePool(servers, answer_seconds=0.2, silence_seconds=0.1)
    yield pool
    await pool.aclose()
    # A server that is still in use when its request has ended would look loaded for ever.
    assert loads(pool) == [0] * len(servers)


def loads(pool: InferencePool) -> list[int]:
    return [len(server.running.jobs) for server in pool._servers]


def asked(*servers: FakeInference) -> list[int]:
    return [len(server.requests) for server in servers]


async def restyled(pool: InferencePool, request: RestyleRequest = REQUEST) -> list[RestyleEvent]:
    async with aclosing(pool.restyle(request)) as events:
        return [event async for event in events]


@asynccontextmanager
async def running(pool: InferencePool, count: int) -> AsyncIterator[None]:
    """``count`` requests that have yielded their first event and go on."""
    streams = [pool.restyle(REQUEST) for _ in range(count)]
    for stream in streams:
        await anext(stream)
    yield
    for stream in streams:
        await stream.aclose()


async def test_a_request_goes_to_the_least_loaded() -> None:
    a, b, c = (FakeInference(slow()) for _ in range(3))
    async with pooled(a=a, b=b, c=c) as pool:
        async with running(pool, 6):
            assert asked(a, b, c) == loads(pool) == [2, 2, 2]
        async with running(pool, 3):
            assert asked(a, b, c) == [3, 3, 3]


async def test_equals_are_chosen_by_chance() -> None:
    """Several processes would otherwise all begin with the first."""
    a, b = FakeInference(a_script()), FakeInference(a_script())
    async with pooled(a=a, b=b) as pool:
        for _ in range(64):
            await restyled(pool)
    assert min(asked(a, b)) >= 8  # by chance less in 2 of 10¹⁰ runs


async def test_the_events_of_one_server_come_whole_and_in_order() -> None:
    a = FakeInference(a_script())
    async with pooled(a=a) as pool:
        assert await restyled(pool) == a.sent
    assert isinstance(a.sent[-1], Result)
    assert a.closed == 1


async def test_a_request_that_finds_its_server_gone_begins_on_another() -> None:
    dead, alive = FakeInference([GONE]), FakeInference(a_script())
    async with pooled(dead=dead, alive=alive) as pool:
        found = [await restyled(pool) for _ in range(40)]
        assert [event for events in found for event in events] == alive.sent
        assert asked(dead, alive) == [1, 40], "and none of the later ones tries the dead one"
        assert pool.degradation() == "1 of 2 down: dead"


async def test_what_the_networks_run_on_is_that_of_the_servers_that_are_up() -> None:
    one, other = FakeInference(), FakeInference()
    one.run_on, other.run_on = frozenset({"cuda"}), frozenset({"cpu"})
    async with pooled(one=one, other=other) as pool:
        await pool.ping()
        assert pool.devices() == {"cpu", "cuda"}
        other.ready = False
        await pool.ping()
        assert pool.devices() == {"cuda"}


async def test_an_analysis_that_finds_its_server_gone_is_asked_of_another() -> None:
    dead, alive = FakeInference(), FakeInference()
    dead.analysed = GONE
    async with pooled(dead=dead, alive=alive) as pool:
        for _ in range(40):
            assert await pool.analyse(REQUEST.image) is alive.analysed
        assert (len(dead.photos), len(alive.photos)) == (1, 40)
        assert loads(pool) == [0, 0]


async def test_nothing_is_begun_again_once_an_event_was_sent() -> None:
    dying: list[Line] = [Stage(name="analyzing", progress=0.0), GONE]
    a, b = FakeInference(dying), FakeInference(dying)
    async with pooled(a=a, b=b) as pool:
        stream = pool.restyle(REQUEST)
        await anext(stream)
        with pytest.raises(InferenceError, match="connection lost") as lost:
            await anext(stream)
        assert (sum(asked(a, b)), lost.value.retryable) == (1, True)
        assert pool.degradation() == f"1 of 2 down: {lost.value.server}"


@pytest.mark.parametrize("error", [BROKEN, REFUSED])
async def test_a_servers_verdict_on_a_request_is_final(
    error: InferenceError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "PENALTY_SECONDS", 0.05)
    a, b = FakeInference([error]), FakeInference([error])
    async with pooled(a=a, b=b) as pool:
        with pytest.raises(InferenceError) as raised:
            await restyled(pool)
        assert raised.value is error
        assert sum(asked(a, b)) == 1
        assert pool.degradation() == "", "it answered"
        assert sum(loads(pool)) == (1 if error.retryable else 0)
        await asyncio.sleep(0.1)


async def test_a_server_that_fails_at_once_is_not_the_least_loaded_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "PENALTY_SECONDS", 0.5)
    broken, good = FakeInference([BROKEN]), FakeInference(slow())
    async with pooled(broken=broken, good=good) as pool, AsyncExitStack() as streams:
        for _ in range(40):
            stream = await streams.enter_async_context(aclosing(pool.restyle(REQUEST)))
            with suppress(InferenceError):
                await anext(stream)
        # Without the penalty all but the first few would go to the broken one.
        assert 19 <= asked(broken, good)[0] <= 21
        await asyncio.sleep(0.6)


async def test_one_that_is_down_comes_back_by_a_ping(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    back, other = FakeInference(a_script()), FakeInference(a_script())
    back.ready = False
    async with pooled(back=back, other=other) as pool:
        await pool.ping()
        assert pool.degradation() == "1 of 2 down: back"
        for _ in range(8):
            await restyled(pool)
        assert asked(back, other) == [0, 8]
        back.ready = True
        await pool.ping()
        assert pool.degradation() == ""
        for _ in range(32):
            await restyled(pool)
        assert asked(back)[0] > 1
    found = [record.message for record in caplog.records if record.name == "reroom.inference"]
    assert found[:2] == ["back is down: the fake model is away", "back serves again"]


async def test_one_that_is_down_comes_back_without_a_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REVIVAL_SECONDS", 0.05)
    back, other = FakeInference(a_script()), FakeInference(a_script())
    back.ready = False
    async with pooled(back=back, other=other) as pool:
        await pool.ping()
        back.ready = True
        deadline = time.monotonic() + 5
        while not back.requests:
            assert time.monotonic() < deadline
            await restyled(pool)
            await asyncio.sleep(0.01)


async def test_all_down_is_retryable_and_names_each() -> None:
    a, b = FakeInference(a_script()), FakeInference(a_script())
    a.ready = b.ready = False
    async with pooled(a=a, b=b) as pool:
        with pytest.raises(Unavailable, match=r"^a: the fake model is away; b: the fake model is away$"):
            await pool.ping()
        with pytest.raises(InferenceError, match="a: the fake model is away") as lost:
            await restyled(pool)
        assert (lost.value.code, lost.value.retryable, lost.value.server) == ("unavailable", True, "")
        b.ready = True
        assert await restyled(pool), "a request asks before it gives up"
        assert asked(a, b) == [0, 1]


async def test_all_gone_in_the_middle_tries_each_once() -> None:
    a, b = FakeInference([GONE]), FakeInference([GONE])
    async with pooled(a=a, b=b) as pool:
        with pytest.raises(InferenceError, match="connection lost"):
            await restyled(pool)
        assert asked(a, b) == [1, 1]


async def test_a_hung_server_does_not_hang_ping() -> None:
    hung, good = Hung(a_script()), FakeInference(a_script())
    pool = InferencePool({"hung": hung, "good": good}, answer_seconds=5.0)
    began = time.monotonic()
    for _ in range(5):
        await pool.ping()
    assert time.monotonic() - began < 2.5
    await pool.aclose()
    async with pooled(hung=hung) as alone:
        with pytest.raises(Unavailable, match=r"^hung: no answer within 0.2 s$"):
            await alone.ping()


async def test_a_request_leaves_a_server_that_hangs_before_its_first_event() -> None:
    hung, good = Hung([30.0]), FakeInference(a_script())
    good.ready = False
    async with pooled(hung=hung, good=good) as pool:
        hung.hangs = False
        await pool.ping()  # good is down: the request must go to the other
        good.ready = hung.hangs = True
        waiting = asyncio.create_task(restyled(pool))
        await asyncio.sleep(0.05)
        await pool.ping()
        assert await asyncio.wait_for(waiting, 5) == good.sent
        assert asked(hung, good) == [1, 1]
        assert hung.closed == 1, "what it was asked is withdrawn"


async def test_a_request_ends_when_its_server_hangs_after_an_event() -> None:
    hung = Hung(slow())
    hung.hangs = False
    async with pooled(hung=hung) as pool:
        stream = pool.restyle(REQUEST)
        await anext(stream)
        hung.hangs = True
        with pytest.raises(InferenceError, match=r"hung fell silent: no answer within 0.2 s") as lost:
            await anext(stream)
        assert (lost.value.code, lost.value.retryable) == ("unavailable", True)


async def test_a_silent_server_that_answers_pings_is_waited_for() -> None:
    a = FakeInference(slow(0.5))
    async with pooled(a=a) as pool:
        assert await restyled(pool) == a.sent


@pytest.mark.parametrize("pause", [0, 1])
async def test_a_cancelled_request_ends_on_the_server_and_weighs_no_more(pause: int) -> None:
    script: list[Line] = [30.0, *a_script()] if pause == 0 else slow()
    a = FakeInference(script)
    async with pooled(a=a) as pool:
        task = asyncio.create_task(restyled(pool))
        await asyncio.sleep(0.05)
        assert loads(pool) == [1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (loads(pool), a.closed) == ([0], 1)


def told(*scripts: list[Line]) -> FakeInference:
    """A server that says what pictures cost."""
    server = FakeInference(*scripts)
    server.table = TABLE
    return server


@asynccontextmanager
async def asking(
    pool: InferencePool, *qualities: str
) -> AsyncIterator[list[asyncio.Task[list[RestyleEvent]]]]:
    """Requests of these qualities, sent one after the other, that begin when they may."""

    async def all_of(quality: str) -> list[RestyleEvent]:
        request = msgspec.structs.replace(REQUEST, quality=quality)
        async with aclosing(pool.restyle(request)) as events:
            return [event async for event in events]

    tasks = []
    for quality in qualities:
        tasks.append(asyncio.create_task(all_of(quality)))
        # Until it is in the line, or has begun and got its first event.
        for _ in range(20):
            await asyncio.sleep(0)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def sent(*servers: FakeInference, count: int) -> None:
    """Wait until they have got so many requests."""
    for _ in range(1000):
        if sum(asked(*servers)) >= count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{asked(*servers)} requests, not {count}")


def qualities(*servers: FakeInference) -> list[list[str]]:
    return [[str(request.quality) for request in server.requests] for server in servers]


async def test_a_short_job_begins_beside_long_ones_and_a_long_one_waits_for_its_turn() -> None:
    a, b = told(slow()), told(slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG, SHORT) as tasks:
        assert sorted(map(sorted, qualities(a, b)), key=len) == [[LONG], [LONG, SHORT]]
        for task in (tasks[0], tasks[3]):
            task.cancel()
        await asyncio.wait([tasks[0], tasks[3]])
        await sent(a, b, count=4)
        assert sum(found.count(LONG) for found in qualities(a, b)) == 3, (
            "the third begins where one has ended"
        )


async def test_the_last_steps_of_a_job_let_the_next_one_begin() -> None:
    decoding = [*a_script()[:-1], 30.0, a_script()[-1]]
    a, b = told(slow()), told(decoding, slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG):
        await sent(a, b, count=3)
        assert [len(found) for found in qualities(a, b)] == [1, 2]


async def test_whoever_does_not_wait_any_more_leaves_the_line() -> None:
    a, b = told(slow()), told(slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG, LONG) as tasks:
        assert len(pool._line.waiting) == 2
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        assert len(pool._line.waiting) == 1
        assert asked(a, b) == [1, 1]


async def test_none_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "HOLD_SECONDS", 0.05)
    a, b = told(slow()), told(slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG):
        await sent(a, b, count=3)


async def test_those_that_wait_hear_at_once_that_all_servers_are_down() -> None:
    a, b = told(slow(0.2), [GONE]), told(slow(0.2), [GONE])
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG) as tasks:
        a.ready = b.ready = False
        with pytest.raises(Unavailable):
            await pool.ping()
        with pytest.raises(InferenceError, match="a: the fake model is away"):
            await asyncio.wait_for(tasks[2], 1)


async def test_a_server_that_comes_back_at_once_gets_those_that_wait() -> None:
    a, b = told(slow()), told(slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG) as tasks:
        for server in pool._servers:
            server.mark_down("for a moment")
        for server in pool._servers:
            server._serves()
        tasks[0].cancel()
        await sent(a, b, count=3)


async def test_a_single_server_gets_everything_at_once() -> None:
    a = told(slow())
    async with pooled(a=a) as pool, asking(pool, LONG, LONG, LONG):
        assert asked(a) == [3]


async def test_fewest_requests_is_still_to_be_had() -> None:
    a, b = told(slow()), told(slow())
    pool = InferencePool({"a": a, "b": b}, policy=least_requests)
    async with asking(pool, LONG, LONG, LONG, LONG):
        assert asked(a, b) == [2, 2]
    await pool.aclose()


async def test_an_analysis_never_waits() -> None:
    a, b = told(slow()), told(slow())
    async with pooled(a=a, b=b) as pool, asking(pool, LONG, LONG, LONG):
        assert await pool.analyse(REQUEST.image) in (a.analysed, b.analysed)


async def test_each_server_is_told_by_itself() -> None:
    class Told(FakeInference):
        async def load(self) -> ModelLoad:
            return LOAD

        def models(self) -> dict[str, int]:
            return {"denoiser": 5}

    good, dead, hung = Told(a_script()), FakeInference(a_script()), Hung(a_script())
    good.run_on, dead.ready = frozenset({"cuda"}), False
    async with pooled(good=good, dead=dead, hung=hung) as pool:
        told = {each.name: each for each in await pool.servers()}
    assert told["good"] == ModelServer(
        name="good", fault="", devices=frozenset({"cuda"}), models={"denoiser": 5}, load=LOAD
    )
    assert told["dead"].fault
    assert "no answer" in told["hung"].fault
    assert (told["dead"].load, told["dead"].models) == (None, {})


NOT_HERE = InferenceError("release_not_here", "release 5 is not served here", retryable=True)
FIFTH = msgspec.structs.replace(REQUEST, release=5)


async def test_a_request_that_names_a_release_goes_where_it_is() -> None:
    """During a rollout one host is further than another; a server of an older version does not say."""
    a, b = FakeInference(a_script()), FakeInference(a_script())
    a.has, b.has = frozenset({4}), frozenset({4, 5})
    async with pooled(a=a, b=b) as pool:
        for _ in range(5):
            await restyled(pool, FIFTH)
        assert asked(a, b) == [0, 5]
        assert pool.releases() == frozenset({4, 5})
        b.has = None
        await restyled(pool, FIFTH)
        assert asked(a, b) == [0, 6]
        assert pool.releases() == frozenset({4})


async def test_a_release_that_is_nowhere_is_asked_for_everywhere_once() -> None:
    a, b = FakeInference([NOT_HERE]), FakeInference([NOT_HERE])
    async with pooled(a=a, b=b) as pool:
        with pytest.raises(InferenceError, match="release 5 is not served here"):
            await restyled(pool, FIFTH)
        assert asked(a, b) == [1, 1]
        assert pool.degradation() == ""


async def test_a_server_that_has_lost_a_release_passes_the_request_on() -> None:
    a, b = FakeInference([NOT_HERE]), FakeInference(a_script())
    a.has = b.has = frozenset({5})
    async with pooled(a=a, b=b) as pool:
        for _ in range(4):
            assert isinstance((await restyled(pool, FIFTH))[-1], Result)
