"""Waiting in one request, lists of jobs, favourites and batches: both clients and the command, on a real API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import pytest_asyncio

import reroom
from orchestrator.domain.events import Completed, Step
from orchestrator.domain.job import JobResult
from reroom._effects import Send
from reroom._transport import http_options, request_options
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, running_api
from tests.support.client_command import run
from tests.support.client_service import QUICK, Driven
from tests.support.relay import relaying

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")
PHOTO = photo()
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running_api(redis.url, tmp_path_factory.mktemp("api")) as api:
        yield api


class Threaded:
    """A client in another thread, while the test is the worker."""

    def __init__(self, kind: Any, url: str) -> None:
        self._kind, self._url = kind, url

    async def do(self, what: Callable[[Any], T]) -> T:
        def within() -> T:
            client = self._kind(self._url, retry=QUICK, timeout=5.0)
            try:
                return what(client)
            finally:
                client.close()

        return await asyncio.to_thread(within)


@pytest_asyncio.fixture(params=[reroom.Client, Driven], loop_scope="module")
async def client(request: pytest.FixtureRequest, api: Api) -> AsyncIterator[Threaded]:
    made = Threaded(request.param, api.base_url)
    yield made
    await made.do(lambda client: client.cancel_jobs(created_after=datetime(2020, 1, 1, tzinfo=UTC)))


async def completed(api: Api) -> str:
    """The next job, completed."""
    lease = await api.store.claim("a-test", 2.0)
    assert lease is not None
    await api.store.finish(lease, Completed(result=RESULT))
    return lease.job.id


async def test_a_submission_that_is_waited_for(api: Api, client: Threaded) -> None:
    waiting = asyncio.create_task(client.do(lambda client: client.submit(PHOTO, wait=20)))
    job_id = await completed(api)
    receipt = await asyncio.wait_for(waiting, 20)
    assert (receipt.job_id, receipt.job.status) == (job_id, "completed")
    assert await client.do(lambda client: client.wait(receipt)) == receipt.job
    unready = await client.do(lambda client: client.submit(PHOTO, wait=0))
    assert unready.job is None
    assert unready.status_url


async def test_the_list_of_jobs(api: Api, client: Threaded) -> None:
    since = datetime.now(UTC) - timedelta(seconds=1)
    styles = ("boho", "modern", "boho")
    made = await client.do(lambda client: [client.submit(PHOTO, style).job_id for style in styles])

    async def listed(**which: Any) -> list[str]:
        return await client.do(
            lambda client: [job.job_id for job in client.jobs(created_after=since, **which)]
        )

    mine = [job_id for job_id in await listed(page=2) if job_id in made]
    assert mine == made[::-1]
    assert [job_id for job_id in await listed(style="boho") if job_id in made] == [made[2], made[0]]
    kept = await completed(api)
    assert kept == made[0]
    assert (await client.do(lambda client: client.favourite(kept))).favourite
    assert await listed(favourite=True) == [kept]
    code, out, err = await asyncio.to_thread(run, api.base_url, "status", kept)
    assert (code, out.splitlines()[-1]) == (0, "kept until: you unmark or erase it"), err
    code, out, err = await asyncio.to_thread(run, api.base_url, "list", "--favourites")
    assert (code, out.split()[:3], out.rstrip()[-1]) == (0, [kept, "completed", "boho"], "*"), err
    code, out, _ = await asyncio.to_thread(
        run, api.base_url, "list", "--status", "queued", "--limit", "1", "--json"
    )
    assert (code, [job["job_id"] for job in json.loads(out)["jobs"]]) == (0, [made[2]])
    code, out, _ = await asyncio.to_thread(run, api.base_url, "favourite", kept, "--off", "--json")
    ended = json.loads(out)
    assert (code, ended["favourite"]) == (0, False)
    until = datetime.fromisoformat(ended["expires_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
    for command in (("status", kept), ("list", "--style", "boho", "--status", "completed", "--limit", "1")):
        code, out, err = await asyncio.to_thread(run, api.base_url, *command)
        assert (code, out.rstrip().endswith(f"until {until}") or f"until: {until}" in out) == (0, True), err
    assert await listed(status=["completed"], favourite=True) == []


async def test_batches(api: Api, client: Threaded) -> None:
    items = [reroom.BatchItem(photo=PHOTO, style="boho", preferences={"seed": n}) for n in range(22)]
    items[3] = reroom.BatchItem(photo=PHOTO[:300])
    answers = await client.do(lambda client: client.submit_batch(items, cancel_after=60))
    refused = answers.pop(3)
    assert (type(refused), refused.code, refused.status) == (reroom.InvalidRequest, "broken_image", 422)
    jobs = [await api.store.get(answer.job_id) for answer in answers]
    assert [job.preferences.seed for job in jobs] == [n for n in range(22) if n != 3]
    assert {job.cancel_after for job in jobs} == {60}
    ended = await completed(api)
    some = [*answers[:2], "f" * 32]
    found = await client.do(lambda client: client.cancel_jobs(some))
    assert found[answers[1].job_id].status == "cancelled"
    assert type(found["f" * 32]) is reroom.NotFound
    assert type(found[ended]) is reroom.Conflict
    rest = await client.do(lambda client: client.cancel_jobs(style="boho"))
    assert rest.keys() == {answer.job_id for answer in answers[2:]}
    assert {job.status for job in rest.values()} == {"cancelled"}


async def test_a_client_waits_longer_for_an_answer_that_waits() -> None:
    usual = http_options(3.0)["timeout"]
    assert request_options(Send("GET", "x"), {}, usual)["timeout"].read == 3.0
    assert request_options(Send("POST", "x", form={}, patience=20.0), {}, usual)["timeout"].read == 23.0


@pytest.mark.parametrize("kind", [reroom.Client, Driven])
async def test_events_over_http_are_resumed_after_cuts(api: Api, kind: Any) -> None:
    job_id = await api.submit()
    lease = await api.claim(job_id)
    async with relaying(api.base_url) as relay:
        client = Threaded(kind, relay.url)
        got: list[Any] = []

        def follow(client: Any) -> None:
            got.extend(client.events(job_id, after="0", over="http", timeout=60))

        following = asyncio.create_task(client.do(follow))
        for step in range(1, 13):
            await api.store.publish(lease, step, Step(step=step, of=12, progress=step / 13))
            await asyncio.sleep(0.03)
            if step % 4 == 0:
                relay.cut()
        await api.store.finish(lease, Completed(result=RESULT))
        await asyncio.wait_for(following, 30)
        assert [event.step for event in got if isinstance(event, reroom.events.Step)] == list(range(1, 13))
        assert relay.accepted > 3
        assert isinstance(got[-1], reroom.events.Completed)
        # Of a job that has ended: from its last event there is nothing, and from now on its state.
        last = got[-1].seq
        assert await client.do(lambda client: list(client.events(job_id, after=last, over="http"))) == []
        (shown,) = await client.do(lambda client: list(client.events(job_id, over="http")))
        assert shown.data.finished
        assert (await client.do(lambda client: client.wait(job_id, over="http"))).status == "completed"
        with pytest.raises(reroom.NotFound):
            await client.do(lambda client: client.wait("f" * 32, over="http"))
        # Its events expire before it does.
        await api.store._client.delete(api.store._keys.events + job_id)

        def late(client: Any) -> list[Any]:
            found = [
                client.events(job_id, after=after, over="http", timeout=20) for after in ("0", got[3].seq)
            ]
            return [event for events in found for event in events]

        assert await client.do(late) == []
