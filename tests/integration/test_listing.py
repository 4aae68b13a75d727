"""``GET /transform`` and favourites over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from orchestrator.domain.events import Completed
from orchestrator.domain.job import JobResult
from orchestrator.domain.keys import Scope
from orchestrator.ports import Wanted
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import Api, photo, problem, running_api
from tests.support.jobs import a_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running_api(redis.url, tmp_path_factory.mktemp("api"), REROOM_OPEN="") as api:
        yield api


class Person:
    """A key, and requests with it."""

    def __init__(self, api: Api, key: str) -> None:
        self._api, self._headers = api, {"X-API-Key": key}

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return await self._api.http.request(method, path, headers=self._headers, **options)

    async def status(self, job_id: str) -> dict[str, Any]:
        data: dict[str, Any] = (await self.ask("GET", f"/transform/status/{job_id}")).json()["data"]
        return data

    async def submit(self, style: str = "modern") -> str:
        files = {"file": ("a.jpg", photo())}
        answer = await self.ask("POST", "/transform/submit", files=files, data={"style": style})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def listed(self, **query: Any) -> list[str]:
        """The ids of all pages."""
        ids: list[str] = []
        while True:
            answer = await self.ask("GET", "/transform", params=query)
            assert answer.status_code == 200, answer.text
            check("JobList", answer.json())
            ids += [each["job_id"] for each in answer.json()["data"]]
            if answer.json()["next"] is None:
                return ids
            query["cursor"] = answer.json()["next"]


@pytest_asyncio.fixture(loop_scope="module")
async def ann(api: Api) -> Person:
    return Person(api, (await api.keys.create("ann", [Scope.TRANSFORM, Scope.READ])).text)


async def complete(api: Api, job_id: str) -> None:
    await api.store.finish(await api.claim(job_id), Completed(result=RESULT))


async def test_ones_jobs_in_pages(api: Api, ann: Person) -> None:
    ids = [await ann.submit(style) for style in ("boho", "modern", "modern")]
    await api.store.submit(a_job())
    assert await ann.listed() == ids[::-1] == await ann.listed(limit=1)
    assert await ann.listed(style="boho") == ids[:1]
    first = (await ann.ask("GET", f"/transform/status/{ids[0]}")).json()["data"]
    shown = (await ann.ask("GET", "/transform")).json()["data"][-1]
    unsaid = {"estimated_time": None, "estimated_time_remaining": None, "queue_position": None}
    assert shown == first | unsaid
    assert await ann.listed(created_before=first["created_at"]) == []
    assert (
        await ann.listed(created_after="2020-01-01T00:00:00Z", created_before="2999-01-01T00:00:00")
        == ids[::-1]
    )
    await ann.ask("DELETE", f"/transform/{ids[1]}")
    assert await ann.listed(status="cancelled") == [ids[1]]
    assert await ann.listed(status=["queued", "cancelled"]) == ids[::-1]
    for job_id in (ids[0], ids[2]):
        await ann.ask("DELETE", f"/transform/{job_id}")
    await api.store.cancel((await api.store.list_jobs("", Wanted(), limit=1)).jobs[0].id)


async def test_favourites(api: Api, ann: Person) -> None:
    kept, other = [await ann.submit() for _ in range(2)]
    assert (await ann.status(kept))["expires_at"] is None
    await complete(api, kept)
    await complete(api, other)
    answer = await ann.ask("PUT", f"/transform/{kept}/favourite")
    check("Status", answer.json())
    assert (answer.status_code, answer.json()["data"]["favourite"]) == (200, True)
    marked = await ann.status(kept)
    assert (marked["favourite"], marked["expires_at"]) == (True, None)
    page = datetime.fromisoformat(marked["result"]["page_expires_at"]) - datetime.fromisoformat(
        marked["updated_at"]
    )
    assert 364 <= page.days <= 365, "a favourite's page has a link for long"
    usual = await ann.status(other)
    assert datetime.fromisoformat(usual["expires_at"]) - datetime.fromisoformat(
        usual["updated_at"]
    ) == timedelta(days=7)
    assert (await ann.listed(favourite="true"), await ann.listed(favourite=False)) == ([kept], [other])
    answer = await ann.ask("DELETE", f"/transform/{kept}/favourite")
    assert (answer.status_code, answer.json()["data"]["favourite"]) == (200, False)
    assert await ann.listed(favourite=True) == []
    assert answer.json()["data"]["expires_at"] > usual["expires_at"], "as if it had ended now"
    gone = await ann.submit()
    await ann.ask("DELETE", f"/transform/{gone}")
    assert (await ann.status(gone))["expires_at"] is None
    problem(await ann.ask("PUT", f"/transform/{gone}/favourite"), 409, "nothing_to_keep")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "F" * 46, "cursor"),
    ],
)
async def test_what_is_no_cursor(ann: Person, query: str, field: str) -> None:
    problem(await ann.ask("GET", f"/transform?{query}"), 400, "invalid_cursor", field)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=", "status=done", "status=", "favourite=perhaps",
     "created_after=yesterday", "created_before="],
)  # fmt: skip
async def test_what_cannot_be_wanted(ann: Person, query: str) -> None:
    problem(await ann.ask("GET", f"/transform?{query}"), 400, "bad_request", query.partition("=")[0])
