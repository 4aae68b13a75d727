"""Watching a job over a WebSocket: every event once and in order, whatever the connection does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orchestrator.domain.events import Analysis, Cancelled, Completed, Failed, StatusChanged, Step
from orchestrator.domain.job import JobError, JobResult, JobState
from orchestrator.ports import Lease
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import ALLOWED_ORIGIN, Api, running_api
from tests.support.servers import free_port

STEPS = 10
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def watch(api: Api, job_id: str, query: str = "", **options: Any) -> connect:
    return connect(f"{api.ws_url}/ws/transform/{job_id}{query}", **options)


async def received(socket: ClientConnection, count: int | None = None) -> list[dict[str, Any]]:
    """``count`` messages, or all until the server closes; each is checked against the description."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        while count is None or len(messages) < count:
            try:
                messages.append(json.loads(await socket.recv()))
                check("Message", messages[-1])
            except ConnectionClosed:
                break
    return messages


async def closing(socket: ClientConnection) -> tuple[int | None, list[dict[str, Any]]]:
    messages = await received(socket)
    return socket.close_code, messages


async def work(api: Api, lease: Lease) -> None:
    """A whole attempt, as a worker publishes it."""
    events = [StatusChanged(status=JobState.TRANSFORMING, progress=0.1, message="working")]
    events += [Step(step=n, of=STEPS, progress=0.1 + 0.08 * n) for n in range(1, STEPS + 1)]  # type: ignore[misc]
    for number, event in enumerate(events, 1):
        await api.store.publish(lease, number, event)
        await asyncio.sleep(0.005)
    await api.store.finish(lease, Completed(result=RESULT))


def steps(messages: list[dict[str, Any]]) -> list[int]:
    return [message["step"] for message in messages if message["type"] == "step"]


async def test_snapshot_then_every_event_then_closed(api: Api) -> None:
    job_id = await api.submit()
    async with watch(api, job_id) as socket:
        connected, snapshot = await received(socket, 2)
        assert connected == {"type": "connected", "job_id": job_id}
        assert (snapshot["type"], snapshot["job_id"]) == ("snapshot", job_id)
        assert snapshot["data"]["status"] == "queued"
        await work(api, await api.claim(job_id))
        code, messages = await closing(socket)
    assert code == 1000
    assert steps(messages) == list(range(1, STEPS + 1))
    seqs = [snapshot["seq"], *(message["seq"] for message in messages)]
    keys = [tuple(map(int, seq.split("-"))) for seq in seqs]
    assert keys == sorted(set(keys))
    last = messages[-1]
    assert (last["type"], last["progress"], last["data"]["status"]) == ("completed", 1, "completed")
    assert "signature=" in last["data"]["result_url"]
    assert "result" not in last


async def test_a_dropped_watcher_resumes_without_gap_or_repetition(api: Api) -> None:
    job_id = await api.submit()
    working = asyncio.create_task(work(api, await api.claim(job_id)))
    seen: list[dict[str, Any]] = []
    after = "0"
    while not seen or seen[-1]["type"] != "completed":
        async with watch(api, job_id, f"?after={after}") as socket:
            messages = (await received(socket, 5))[2:]
        seen += messages
        after = seen[-1]["seq"]
    await working
    assert steps(seen) == list(range(1, STEPS + 1))
    assert len({message["seq"] for message in seen}) == len(seen)


async def test_watchers_see_the_same_and_none_holds_up_another(api: Api) -> None:
    job_id = await api.submit()
    # This one reads nothing at all.
    async with watch(api, job_id, max_queue=1) as stuck, watch(api, job_id) as one, watch(api, job_id) as two:
        await asyncio.gather(received(one, 2), received(two, 2))
        lease = await api.claim(job_id)
        filler = "x" * 200_000
        for number in range(1, 41):
            seen = Analysis(objects=[], room_type=f"{number} {filler}", progress=number / 50)
            await api.store.publish(lease, number, seen)
        await api.store.finish(lease, Cancelled())
        first, second = await asyncio.gather(closing(one), closing(two))
        assert first == second
        types = [message["room_type"] for message in first[1] if message["type"] == "analysis"]
        assert types == [f"{number} {filler}" for number in range(1, 41)]
        stuck.transport.abort()


async def test_a_finished_job_is_shown_and_closed(api: Api) -> None:
    job_id = await api.submit()
    await work(api, await api.claim(job_id))
    async with watch(api, job_id) as socket:
        code, messages = await closing(socket)
    assert (code, [message["type"] for message in messages]) == (1000, ["connected", "snapshot"])
    assert messages[1]["data"]["result"]["metadata"] == {"seed": 1}

    async with watch(api, job_id, "?after=0") as socket:
        code, messages = await closing(socket)
    assert (code, messages[-1]["type"]) == (1000, "completed")
    assert steps(messages) == list(range(1, STEPS + 1))

    async with watch(api, job_id, f"?after={messages[-1]['seq']}") as socket:
        code, messages = await closing(socket)
    assert (code, len(messages)) == (1000, 2)


async def test_any_text_is_answered_with_pong(api: Api) -> None:
    job_id = await api.submit()
    async with watch(api, job_id) as socket:
        await received(socket, 2)
        for text in ("ping", "", "{", "x" * 10_000):
            await socket.send(text)
            assert await received(socket, 1) == [{"type": "pong"}]
        await api.http.delete(f"/transform/{job_id}")
        code, messages = await closing(socket)
    assert (code, messages[-1]["type"]) == (1000, "cancelled")


async def test_an_erased_job_is_unknown_to_watchers(api: Api) -> None:
    job_id = await api.submit()
    await api.http.delete(f"/transform/{job_id}")
    await api.http.delete(f"/transform/{job_id}/files")
    async with watch(api, job_id) as socket:
        assert await closing(socket) == (4404, [])


@pytest.mark.parametrize("job_id", ["0" * 32, "unknown", "%00"])
async def test_unknown_jobs(api: Api, job_id: str) -> None:
    async with watch(api, job_id) as socket:
        assert await closing(socket) == (4404, [])


@pytest.mark.parametrize("after", ["x", "", "-1", "1-", "1-2-3", "١", "9" * 30, "%00", "1%0a"])
async def test_bad_places_to_resume_from(api: Api, after: str) -> None:
    job_id = await api.submit()
    async with watch(api, job_id, f"?after={after}") as socket:
        assert await closing(socket) == (4400, [])
    await api.http.delete(f"/transform/{job_id}")


async def test_foreign_origins_are_turned_away(api: Api) -> None:
    job_id = await api.submit()
    for origin in ("https://elsewhere.example", "null", f"{ALLOWED_ORIGIN}.elsewhere.example"):
        async with watch(api, job_id, additional_headers={"Origin": origin}) as socket:
            assert await closing(socket) == (4403, [])
    for origin in (ALLOWED_ORIGIN, api.base_url, api.base_url.replace("127.0.0.1", "localhost")):
        async with watch(api, job_id, additional_headers={"Origin": origin}) as socket:
            assert (await received(socket, 1))[0]["type"] == "connected"
    await api.http.delete(f"/transform/{job_id}")


async def test_without_redis_the_client_is_asked_to_come_back(tmp_path: Path) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    async with running_api(nowhere, tmp_path) as api, watch(api, "0" * 32) as socket:
        assert await closing(socket) == (1013, [])


async def test_a_server_that_ends_says_so(redis: RedisServer, tmp_path: Path) -> None:
    async with running_api(redis.url, tmp_path) as api:
        job_id = await api.submit()
        async with watch(api, job_id) as socket:
            await received(socket, 2)
            api.process.terminate()
            code, _ = await closing(socket)
            assert code == 1012
            assert await asyncio.wait_for(api.process.wait(), 15) is not None


async def test_a_watch_goes_on_after_redis_was_killed(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        async with running_api(redis.url, tmp_path) as api:
            job_id = await api.submit()
            async with watch(api, job_id) as socket:
                await received(socket, 2)
                lease = await api.claim(job_id)
                await api.store.publish(lease, 1, Step(step=1, of=2, progress=0.5))
                assert (await received(socket, 2))[-1]["step"] == 1
                redis.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(redis.start)
                await api.store.publish(lease, 2, Step(step=2, of=2, progress=0.9))
                await api.store.finish(lease, Completed(result=RESULT))
                code, messages = await closing(socket)
    assert (code, steps(messages), messages[-1]["type"]) == (1000, [2], "completed")


async def test_how_a_job_failed_is_shown_without_what_only_operators_may_know(api: Api) -> None:
    job_id = await api.submit()
    internal = JobError(
        code="unavailable", detail="Error 111 connecting to 10.0.0.7:6379. Connection refused."
    )
    async with watch(api, job_id) as socket:
        await received(socket, 2)
        await api.store.finish(await api.claim(job_id), Failed(error=internal))
        _, messages = await closing(socket)
    assert messages[-1]["error"]["code"] == "unavailable"
    assert "10.0.0.7" not in json.dumps(messages)
