"""Several submissions in one request, and several cancels."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from orchestrator.domain.job import JobResult, JobState
from orchestrator.domain.keys import Scope
from orchestrator.ports import Wanted
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import Api, photo, problem, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)
PLAN = "[few]\nwaiting_jobs = 2\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder: Path = tmp_path_factory.mktemp("api")
    (folder / "plans.toml").write_text(PLAN)
    settings = {"REROOM_OPEN": "", "REROOM_KEY_PLANS": str(folder / "plans.toml")}
    async with running_api(redis.url, folder, **settings) as api:
        yield api


class Person:
    """A key, and requests with it."""

    def __init__(self, api: Api, key: str, owner: str) -> None:
        self._api, self._headers, self.owner = api, {"X-API-Key": key}, owner

    async def ask(self, method: str, path: str, headers: Any = None, **options: Any) -> httpx2.Response:
        sent = self._headers | (headers or {})
        return await self._api.http.request(method, path, headers=sent, **options)

    async def upload(self, data: bytes = photo()) -> str:
        wish = {"content_type": "image/jpeg", "size": len(data)}
        offer = (await self.ask("POST", "/uploads", json=wish)).json()
        assert (
            await self._api.http.put(offer["url"], content=data, headers=offer["headers"])
        ).status_code == 200
        return str(offer["key"])

    async def batch(self, *items: Any, key: str | None = None) -> httpx2.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await self.ask("POST", "/transform/batch", headers, json={"items": list(items)})
        if answer.status_code < 400:
            check("BatchAnswer", answer.json())
            assert [each["index"] for each in answer.json()["data"]] == list(range(len(items)))
        return answer

    async def cancel(self, query: Any) -> httpx2.Response:
        answer = await self.ask("DELETE", "/transform", params=query)
        if answer.status_code < 400:
            check("CancelAnswer", answer.json())
        return answer

    async def jobs(self) -> list[str]:
        return [job.id for job in (await self._api.store.list_jobs(self.owner, Wanted(), limit=100)).jobs]


@pytest_asyncio.fixture(loop_scope="module")
async def ann(api: Api) -> AsyncIterator[Person]:
    yield await someone(api)


async def someone(api: Api, plan: str = "free") -> Person:
    made = await api.keys.create("ann", [Scope.TRANSFORM, Scope.READ], plan=plan)
    return Person(api, made.text, made.key.id)


def ids(answer: httpx2.Response) -> list[str | None]:
    return [each["job"] and each["job"]["job_id"] for each in answer.json()["data"]]


def codes(answer: httpx2.Response) -> list[str | None]:
    return [each["problem"] and each["problem"]["code"] for each in answer.json()["data"]]


async def test_all_are_queued_in_their_order(api: Api, ann: Person) -> None:
    keys = [await ann.upload() for _ in range(3)]
    answer = await ann.batch(
        *({"key": key, "style": "boho", "preferences": {"seed": n}} for n, key in enumerate(keys))
    )
    assert (answer.status_code, answer.json()["success"], codes(answer)) == (202, True, [None] * 3)
    assert await ann.jobs() == ids(answer)[::-1]
    jobs = [await api.store.get(str(job_id)) for job_id in ids(answer)]
    assert [(job.style, job.preferences.seed) for job in jobs] == [("boho", n) for n in range(3)]


async def test_one_that_is_refused_holds_up_no_other(ann: Person) -> None:
    good, damaged = await ann.upload(), await ann.upload(photo()[:300])
    answer = await ann.batch({"key": "incoming/unknown/photo"}, {"key": good}, {"key": damaged})
    assert (answer.status_code, answer.json()["success"]) == (207, False)
    assert codes(answer) == ["no_such_upload", None, "broken_image"]
    refused = answer.json()["data"][0]["problem"]
    assert (refused["status"], refused["field"]) == (409, "items[0].key")
    assert await ann.jobs() == [ids(answer)[1]]


async def test_what_refuses_all_is_said_of_all(api: Api) -> None:
    person = await someone(api, "few")
    keys = [await person.upload() for _ in range(4)]
    answer = await person.batch(*({"key": key} for key in keys))
    assert codes(answer) == [None, None, "quota_exceeded", "quota_exceeded"]
    assert answer.json()["data"][3]["problem"]["violated-policies"] == ["waiting_jobs"]
    assert len(await person.jobs()) == 2
    assert (await person.cancel({"id": ids(answer)[:2]})).status_code == 200
    # The uploads of those that were refused are still there.
    assert codes(await person.batch(*({"key": key} for key in keys[2:]))) == [None, None]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"items": []}, "invalid_body", "items"),
        ({"items": [{"key": "x"}] * 21}, "invalid_body", "items"),
        ({"items": {"key": "x"}}, "invalid_body", "items"),
        ({}, "invalid_body", "items"),
        ({"items": [{"key": "x"}], "style": "boho"}, "invalid_body", "items"),
        ({"items": ["x"]}, "invalid_body", "items[0]"),
        ({"items": [{"key": "x"}, {"key": "y", "style": "gothic"}]}, "unknown_style", "items[1].style"),
        ({"items": [{"key": "x", "colour": "red"}]}, "unknown_field", "items[0].colour"),
    ],
)
async def test_a_body_that_is_not_as_described_queues_nothing(
    ann: Person, body: Any, code: str, field: str
) -> None:
    problem(await ann.ask("POST", "/transform/batch", json=body), 422, code, field)
    assert await ann.jobs() == []


async def test_a_batch_that_is_sent_again(ann: Person) -> None:
    name, keys = uuid.uuid4().hex, [await ann.upload() for _ in range(2)]
    items = [{"key": keys[0]}, {"key": "incoming/unknown/photo"}]
    first, again = [await ann.batch(*items, key=name) for _ in range(2)]
    assert codes(first) == codes(again) == [None, "no_such_upload"]
    assert ids(first) == ids(again), "what was queued is not queued again"
    assert "idempotent-replayed" not in again.headers
    other = await ann.batch({"key": keys[1]}, {"key": keys[0]}, key=name)
    assert codes(other) == ["idempotency_key_reused", "upload_used"]
    whole = uuid.uuid4().hex
    answers = [await ann.batch({"key": keys[1]}, key=whole) for _ in range(2)]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert answers[0].json() == answers[1].json()


async def test_jobs_are_cancelled_by_id_and_by_filter(api: Api, ann: Person) -> None:
    keys = [await ann.upload() for _ in range(5)]
    styles = ("boho", "modern", "modern", "boho", "modern")
    made = [
        str(each)
        for each in ids(await ann.batch(*({"key": k, "style": s} for k, s in zip(keys, styles, strict=True))))
    ]
    none = await ann.cancel({})
    assert (none.status_code, none.json()) == (200, {"success": True, "data": [], "more": False})
    stranger = await someone(api)
    foreign = await stranger.cancel({"id": made[0]})
    assert (foreign.status_code, foreign.json()["data"][0]["problem"]["code"]) == (207, "job_not_found")
    by_id = await ann.cancel({"id": [made[0], made[0], "f" * 32]})
    assert by_id.status_code == 207
    assert [each["job_id"] for each in by_id.json()["data"]] == [made[0], "f" * 32]
    assert by_id.json()["data"][0]["status"]["status"] == "cancelled"
    by_filter = await ann.cancel({"style": "modern", "status": "queued"})
    assert by_filter.status_code == 200
    assert [each["job_id"] for each in by_filter.json()["data"]] == [made[4], made[2], made[1]]
    again = await ann.cancel({"id": made[0], "style": "modern"})
    assert [each["problem"]["code"] for each in again.json()["data"]] == ["job_finished"]
    states = [(await api.store.get(job_id)).status for job_id in made]
    assert states == [JobState.CANCELLED] * 3 + [JobState.QUEUED, JobState.CANCELLED]
    problem(await ann.cancel({"status": "completed"}), 400, "bad_request", "status")
    problem(await ann.cancel({"id": ["f" * 32 + str(n) for n in range(101)]}), 400, "bad_request", "id")
    await ann.cancel({"created_after": "2020-01-01T00:00:00Z"})
    assert (await api.store.get(made[3])).status is JobState.CANCELLED
