"""/webhooks over HTTP, with the whole API and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.domain.events import Completed
from orchestrator.domain.job import JobResult
from orchestrator.domain.keys import Scope
from stack.redis import RedisServer
from tests.support.api_server import Api, photo, problem, running_api
from tests.support.hook_receiver import HookReceiver, hook_receiver


@pytest.fixture
async def receiver() -> AsyncIterator[HookReceiver]:
    async with hook_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    return {"REROOM_EGRESS_ALLOW_CIDRS": "127.0.0.1/32", "REROOM_EGRESS_PORTS": "*"}


async def test_a_webhook_from_its_making_to_its_end(
    redis: RedisServer, tmp_path: Path, receiver: HookReceiver, ours: dict[str, str]
) -> None:
    async with running_api(redis.url, tmp_path, **ours) as api:
        made = await create(api, {"url": receiver.url("/x")}, key="once-only")
        again = await create(api, {"url": receiver.url("/x")}, key="once-only")
        assert again.json() == made.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert made.status_code == 201
        data, secret = made.json()["data"], made.json()["secret"]
        assert data["events"] == ["job.completed", "job.failed", "job.cancelled"]
        place = f"/webhooks/{data['id']}"
        listed = (await api.http.get("/webhooks")).json()
        assert listed["data"] == [data]
        assert secret not in str(listed) + (await api.http.get(place)).text

        event = (await api.http.post(f"{place}/test")).json()["event_id"]
        await receiver.until("/x", 1)
        assert receiver.ids["/x"] == [event]
        job_id = (await api.http.post("/transform/submit", files={"file": photo()})).json()["job_id"]
        lease = await api.claim(job_id)
        result = JobResult(transformed_key="t.jpg", thumbnail_key="s.jpg", metadata={})
        await api.store.finish(lease, Completed(result=result))
        await receiver.until("/x", 2)
        told = receiver.events["/x"][1]
        assert (told["type"], told["data"]["job_id"]) == ("job.completed", job_id)
        status = (await api.http.get(told["data"]["status_url"])).json()["data"]
        assert set(told["data"]["result"]) == set(status["result"])
        assert told["data"]["result"]["original_url"].startswith(api.base_url)
        shared = {"job_id", "status", "style", "attempts"}
        assert {name: told["data"][name] for name in shared} == {name: status[name] for name in shared}
        receiver.verify(secret)

        rotated = (await api.http.post(f"{place}/rotate", json={"grace": 60})).json()
        assert rotated["data"]["secrets"] == 2
        assert rotated["secret"] not in (secret, "")
        changed = (await api.http.patch(place, json={"enabled": False, "description": "mine"})).json()["data"]
        assert (changed["disabled"]["reason"], changed["description"]) == ("by_owner", "mine")
        problem(await api.http.post(f"{place}/test"), 409, "webhook_disabled")
        enabled = (await api.http.patch(place, json={"enabled": True, "events": ["job.failed"]})).json()[
            "data"
        ]
        assert (enabled["disabled"], enabled["events"]) == (None, ["job.failed"])
        shown = (await api.http.get(f"{place}/deliveries", params={"limit": 1})).json()["data"]
        assert [(each["job_id"], each["type"]) for each in shown] == [(job_id, "job.completed")]
        assert (await api.http.delete(place)).json() == {"success": True, "id": data["id"]}
        for method, path in (("GET", place), ("DELETE", place), ("GET", f"{place}/deliveries")):
            problem(await api.http.request(method, path), 404, "webhook_not_found")


async def test_webhooks_of_others_and_bad_ones(redis: RedisServer, tmp_path: Path) -> None:
    async with running_api(redis.url, tmp_path) as api:
        for body, code, field in BAD:
            problem(await create(api, body), 422, code, field)
        problem(await create(api, {"url": "https://[2606:4700::1111]:444/"}), 422, "invalid_url", "url")
        mine = await api.keys.create("mine", [Scope.TRANSFORM, Scope.READ])
        reader = await api.keys.create("reads", [Scope.READ])
        made = await create(api, {"url": "https://[2606:4700::1111]/"}, authorization=f"Bearer {mine.text}")
        place = f"/webhooks/{made.json()['data']['id']}"
        others = {"Authorization": f"Bearer {reader.text}"}
        problem(await api.http.get(place, headers=others), 404, "webhook_not_found")
        problem(await api.http.post("/webhooks", headers=others, json={"url": "x"}), 403, "missing_scope")
        answer = await api.http.get(f"{place}/deliveries", params={"limit": 0})
        problem(answer, 400, "bad_request")
        answer = await api.http.patch(place, content=b"x", headers={"Content-Encoding": "gzip"})
        problem(answer, 415, "unsupported_encoding", "content-encoding")


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "invalid_body", "url"),
    ({"url": "https://example.org", "event": []}, "invalid_body", "event"),
    ({"url": "https://example.org", "events": []}, "invalid_body", "events"),
    ({"url": "https://example.org", "events": ["job.melted"]}, "invalid_body", "events"),
    ({"url": "ftp://example.org"}, "invalid_url", "url"),
    ({"url": "https://me:secret@example.org"}, "invalid_url", "url"),
    ({"url": "https://example.org:22"}, "invalid_url", "url"),
    ({"url": "http://localhost"}, "url_not_allowed", "url"),
    ({"url": "http://[::ffff:169.254.169.254]/latest"}, "url_not_allowed", "url"),
    ({"url": "http://0x7f000001/"}, "url_not_allowed", "url"),
]


async def create(api: Api, body: dict[str, Any], key: str | None = None, **headers: str) -> httpx2.Response:
    sent = headers | ({} if key is None else {"Idempotency-Key": key})
    return await api.http.post("/webhooks", json=body, headers=sent)
