"""Watching a job by server-sent events: the same events as over the WebSocket, resumed as browsers do it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orchestrator.api.responses.messages import ConnectedMessage, Message
from orchestrator.api.responses.watching import Watch
from orchestrator.api.routes import server_events
from orchestrator.domain.events import Completed, Preview, StatusChanged, Step
from orchestrator.domain.job import JobResult, JobState
from orchestrator.ports import Lease
from reroom._sse import ServerEvent
from stack.redis import RedisServer
from tests.support.api_server import ALLOWED_ORIGIN, Api, problem, running_api
from tests.support.event_source import messages, reading

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = 12
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)


async def work(api: Api, lease: Lease, pause: float = 0.002) -> None:
    """A whole attempt, as a worker publishes it."""
    events: list[Any] = [StatusChanged(status=JobState.TRANSFORMING, progress=0.1, message="working")]
    events += [Step(step=n, of=STEPS, progress=0.1 + 0.8 * n / STEPS) for n in range(1, STEPS + 1)]
    events.append(Preview(step=STEPS, jpeg="/9j/4AAQ", progress=0.9))
    for number, event in enumerate(events, 1):
        await api.store.publish(lease, number, event)
        await asyncio.sleep(pause)
    await api.store.finish(lease, Completed(result=RESULT))


def steps(events: list[ServerEvent]) -> list[int]:
    return [message["step"] for message in messages(events) if message["type"] == "step"]


async def received(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """``count`` messages, or all until the server closes."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while len(found) < count:
            found.append(json.loads(await socket.recv()))
    return found


async def test_the_same_events_as_over_the_websocket(api: Api) -> None:
    job_id = await api.submit()
    async with reading(api.http, job_id) as source, connect(f"{api.ws_url}/ws/transform/{job_id}") as socket:
        headers = source.answer.headers
        assert (source.answer.status_code, headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        first = await source.read(2)
        beginning = [json.loads(await socket.recv()) for _ in range(2)]
        assert messages(first)[0] == beginning[0] == {"type": "connected", "job_id": job_id}
        assert [message["type"] for message in messages(first)] == ["connected", "snapshot"]
        assert (first[0].id, first[1].id) == ("", beginning[1]["seq"])
        await work(api, await api.claim(job_id))
        rest = await source.read()
        over = [json.loads(message) async for message in socket]
    assert source.lines[0] == ": connected"
    assert source.parser.retry_ms == server_events.RETRY_MS
    signed = {"data": None}
    assert [message | signed for message in messages(rest)] == [message | signed for message in over]
    assert steps(rest) == list(range(1, STEPS + 1))
    assert [event.event for event in rest[-2:]] == ["preview", "completed"]
    assert [event.id for event in rest] == [message["seq"] for message in messages(rest)]
    assert "signature=" in messages(rest)[-1]["data"]["result_url"]
    # A browser connects again, and is told that this is all.
    again = await api.http.get(f"/transform/{job_id}/events", headers={"Last-Event-ID": rest[-1].id})
    assert (again.status_code, again.content) == (204, b"")
    again = await api.http.get(f"/transform/{job_id}/events?after={rest[-1].id}")
    assert again.status_code == 204
    # Who has seen nothing gets the job as it is, and then the 204.
    async with reading(api.http, job_id) as source:
        shown = await source.read()
    assert [event.event for event in shown] == ["connected", "snapshot"]
    again = await api.http.get(f"/transform/{job_id}/events?after=0", headers={"Last-Event-ID": shown[1].id})
    assert again.status_code == 204
    async with reading(api.http, job_id, "?after=0") as source:
        assert steps(await source.read()) == list(range(1, STEPS + 1))


async def test_a_cut_right_after_the_snapshot_loses_nothing(api: Api) -> None:
    job_id = await api.submit()
    await work(api, await api.claim(job_id), pause=0)
    async with reading(api.http, job_id, "?after=0") as source:
        await source.read(2)
        last = source.parser.last_id
    assert last == "", "the snapshot of who resumes is no place to resume from"


@pytest.mark.parametrize("after", ["0", "some"])
async def test_who_resumes_after_the_events_have_expired_is_told_the_end(api: Api, after: str) -> None:
    job_id = await api.submit()
    await work(api, await api.claim(job_id), pause=0)
    if after == "some":
        async with reading(api.http, job_id, "?after=0") as source:
            after = (await source.read(5))[-1].id
    await api.store._client.delete(api.store._keys.events + job_id)
    async with reading(api.http, job_id, headers={"Last-Event-ID": after}) as source:
        shown = await source.read()
    assert [event.event for event in shown] == ["connected", "snapshot"]
    assert messages(shown)[1]["data"]["status"] == "completed"
    again = await api.http.get(f"/transform/{job_id}/events", headers={"Last-Event-ID": shown[1].id})
    assert again.status_code == 204


@pytest.mark.parametrize("over", ["events", "websocket"])
async def test_random_cuts_lose_and_repeat_nothing(api: Api, over: str) -> None:
    chance, seen, after, cuts = random.Random(7), list[dict[str, Any]](), "0", 0
    job_id = await api.submit()
    working = asyncio.create_task(work(api, await api.claim(job_id), pause=0.02))
    async with asyncio.timeout(30):
        while not seen or seen[-1]["type"] != "completed":
            count = chance.randint(0, 3)
            if over == "events":
                async with reading(api.http, job_id, headers={"Last-Event-ID": after}) as source:
                    new = messages(await source.read(2 + count))[2:]
            else:
                async with connect(f"{api.ws_url}/ws/transform/{job_id}?after={after}") as socket:
                    new = (await received(socket, 2 + count))[2:]
            seen, after, cuts = seen + new, new[-1]["seq"] if new else after, cuts + 1
    await working
    assert [message["step"] for message in seen if message["type"] == "step"] == list(range(1, STEPS + 1))
    assert len({message["seq"] for message in seen}) == len(seen)
    assert cuts > 3


async def test_what_is_refused_is_no_stream(api: Api) -> None:
    job_id = await api.submit()
    address = f"/transform/{job_id}/events"
    problem(await api.http.get(f"/transform/{'0' * 32}/events"), 404, "job_not_found")
    for after in ("x", "", "-1", "1-2-3", "9" * 30):
        problem(await api.http.get(address, params={"after": after}), 400, "invalid_after", "after")
        wrong = await api.http.get(address, headers={"Last-Event-ID": after})
        problem(wrong, 400, "invalid_after", "last-event-id")
    foreign = await api.http.get(address, headers={"Origin": "https://elsewhere.example"})
    problem(foreign, 403, "forbidden_origin", "origin")
    head = await asyncio.wait_for(api.http.head(address), 10)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    async with reading(api.http, job_id, headers={"Origin": ALLOWED_ORIGIN}) as source:
        assert source.answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        await source.read(2)
        await api.http.delete(f"/transform/{job_id}")
        assert (await source.read())[-1].event == "cancelled"


async def test_a_stream_ends_when_its_job_is_erased(api: Api) -> None:
    job_id = await api.submit()
    await work(api, await api.claim(job_id), pause=0)
    await api.http.delete(f"/transform/{job_id}/files")
    problem(await api.http.get(f"/transform/{job_id}/events"), 404, "job_not_found")


async def test_a_server_that_ends_closes_its_streams(redis: RedisServer, tmp_path: Path) -> None:
    async with running_api(redis.url, tmp_path) as api:
        job_id = await api.submit()
        async with reading(api.http, job_id) as source:
            await source.read(2)
            api.process.terminate()
            assert await source.read() == []
        assert await asyncio.wait_for(api.process.wait(), 15) is not None


async def test_silence_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        async def messages(self, after: str | None) -> AsyncGenerator[Message, None]:
            yield ConnectedMessage(job_id="a")
            await asyncio.sleep(60)

        async def check_rights(self) -> None: ...

    monkeypatch.setattr(server_events, "BEAT_SECONDS", 0.01)
    stream = server_events._events(cast(Watch, Silent()), None, asyncio.Event(), resumes=False)
    sent = [(await anext(stream)).encode() for _ in range(4)]
    await stream.aclose()
    assert sent[0] == b": connected\r\nretry: 2000\r\n\r\n"
    assert sent[1].startswith(b"event: connected\r\ndata: ")
    assert sent[2] == sent[3] == b": still here\r\n\r\n"


async def test_a_reader_that_leaves_is_forgotten(api: Api) -> None:
    job_id = await api.submit()
    async with httpx2.AsyncClient(base_url=api.base_url) as http, reading(http, job_id) as source:
        await source.read(2)
    await api.http.delete(f"/transform/{job_id}")
