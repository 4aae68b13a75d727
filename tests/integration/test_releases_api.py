"""Releases over the admin API of a real process, with a folder of releases, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from export.releases.pruning import jobs_in_use
from orchestrator.adapters.redis import RedisCanaryStore
from orchestrator.domain.comparing import Measured, pair_sums, tried_sums
from orchestrator.domain.releases import Canary
from orchestrator.ports import Judged, Noted, Pair
from stack.redis import RedisServer
from tests.integration.test_canary import make_releases
from tests.support.api_schema import check
from tests.support.api_server import ADMIN_TOKEN, Api, photo, problem, running_api
from tests.support.billing import SECRET, BillingSystem, billing_system

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@dataclass
class Service:
    api: Api
    root: Path
    canaries: RedisCanaryStore
    receiver: BillingSystem

    def reset(self, **rollout: Any) -> None:
        """Versions 3 to 6, of which 4 is live and 6 was not verified."""
        first = {"format": 1, "revision": 1, "live": 4, "previous": 3, "withdrawn": [], "by": "a test"}
        (self.root / "rollout.json").write_text(json.dumps(first | rollout))

    async def list(self) -> dict[str, Any]:
        answer = await self.api.http.get("/admin/releases", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        check("ReleasesAnswer", answer.json())
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def post(self, path: str, body: Any = None) -> httpx2.Response:
        return await self.api.http.post(f"/admin/releases/{path}", headers=ADMIN, json=body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("api")
    make_releases(folder / "rooms")
    async with billing_system() as receiver:
        settings = {
            "REROOM_RELEASES_AT": str(folder / "rooms"),
            "REROOM_RELEASES_WEBHOOK": f"{receiver.url}/releases",
            "REROOM_EVENTS_SECRET": SECRET,
            "REROOM_REDIS_PREFIX": "releases:",
        }
        async with running_api(redis.url, folder, **settings) as api:
            canaries = RedisCanaryStore(redis.url, prefix="releases:")
            yield Service(api, folder / "rooms", canaries, receiver)
            await canaries.aclose()


@pytest.fixture
def service(running: Service) -> Service:
    running.reset()
    return running


async def test_what_there_is(service: Service) -> None:
    (service.root / "host.json").write_text(
        json.dumps({"live": 4, "ready": [4], "problems": {"5": "too large"}})
    )
    found = await service.list()
    assert (found["live"], found["previous"], found["withdrawn"], found["canary"]) == (4, 3, [], None)
    assert [(each["version"], each["state"], each["verified"]) for each in found["versions"]] == [
        (3, "previous", True), (4, "live", True), (5, "published", True), (6, "published", False)
    ]  # fmt: skip
    (host,) = found["hosts"]
    assert (host["live"], host["problems"]) == (4, {"5": "too large"})
    assert found["in_use"] == []


async def test_promote_and_go_back(service: Service) -> None:
    answer = await service.post("5/promote")
    check("RolloutAnswer", answer.json())
    wanted = answer.json()["data"]
    assert (wanted["live"], wanted["previous"], wanted["by"]) == (5, 4, "the administrator over the API")
    again = (await service.post("5/promote")).json()["data"]
    assert (again["live"], again["previous"], again["revision"]) == (5, 4, wanted["revision"] + 1)
    assert (service.root / "live").read_text() == "5\n"
    back = (await service.post("rollback")).json()["data"]
    assert (back["live"], back["previous"], back["withdrawn"]) == (4, None, [5])
    assert [each["state"] for each in (await service.list())["versions"]][2] == "withdrawn"
    problem(await service.post("5/promote"), 409, "release_refused")
    problem(await service.post("rollback"), 409, "release_refused")


async def test_a_trial_begins_and_is_taken_back(service: Service) -> None:
    answer = await service.post("5/canary", {"mode": "share", "share": 0.25})
    canary = answer.json()["data"]["canary"]
    assert (canary["version"], canary["mode"], canary["share"]) == (5, "share", 0.25)
    found = await service.list()
    assert found["versions"][2]["state"] == "canary"
    trial = found["trial"]
    assert (trial["running"], trial["decision"], trial["pairs"]) == (True, "running", 0)
    problem(await service.post("3/canary", {}), 409, "release_refused")
    problem(await service.post("3/promote"), 409, "release_refused")
    back = (await service.post("rollback")).json()["data"]
    assert (back["live"], back["canary"], back["withdrawn"]) == (4, None, [5])


async def test_what_is_refused_in_one_sentence(service: Service) -> None:
    refusals: list[tuple[str, Any, int, str, str]] = [
        ("6/promote", None, 409, "release_refused", "version 6 is not verified"),
        ("6/canary", {}, 409, "release_refused", "version 6 is not verified"),
        ("4/canary", {}, 409, "release_refused", "live already"),
        ("9/promote", None, 404, "release_not_found", "there is no version 9; published are: 3, 4, 5, 6"),
    ]
    before = (service.root / "rollout.json").read_bytes()
    for path, body, status, code, words in refusals:
        answer = await service.post(path, body)
        problem(answer, status, code)
        assert words in answer.json()["detail"]
    for wrong in ({"share": 0}, {"share": 1.5}, {"mode": "all"}, {"more": 1}):
        answer = await service.post("5/canary", wrong)
        problem(answer, 422, "invalid_body", next(iter(wrong)))
    assert (service.root / "rollout.json").read_bytes() == before


async def test_a_broken_document_is_left_alone(service: Service) -> None:
    (service.root / "rollout.json").write_text("{")
    problem(await service.post("5/promote"), 503, "unavailable")
    assert (service.root / "rollout.json").read_text() == "{"


async def test_figures_report_and_the_operators_event(service: Service) -> None:
    canary = Canary(version=5, mode="shadow", share=1.0, since="2026-11-27T03:00:00Z", id="c-test")
    service.reset(
        canary={"version": 5, "mode": "shadow", "share": 1.0, "since": canary.since, "id": canary.id}
    )
    job = await service.api.submit()
    folder = service.api.storage_dir / "objects" / "results" / job / canary.id
    folder.mkdir(parents=True)
    (folder / "live.jpg").write_bytes(photo())
    live = Measured(values={"score": 0.9, "lines": 0.95}, seconds=2.0)
    for number in range(45):
        other = Measured(values={"score": 0.9 - 0.03 * (number % 5), "lines": 0.95}, seconds=2.1)
        if number == 7:
            other = Measured(failure="model_error")
        pair = Pair(
            job_id=job if number == 44 else f"<job {number}>",
            at=float(number),
            style="<b>modern</b>",
            live=live,
            canary=other,
            pictures={"live": f"results/{job}/{canary.id}/live.jpg"} if number == 44 else {},
        )
        sums = pair_sums(live, other) | tried_sums(other.failure)
        await service.canaries.note(canary, 4, Noted(id=str(number), sums=sums, pair=pair))
    trial = (await service.list())["trial"]
    assert (trial["pairs"], trial["failures"], trial["decision"]) == (45, {"model_error": 1}, "roll_back")
    score = next(each for each in trial["findings"] if each["name"] == "score")
    assert score["low"] < score["value"] < score["high"] < 0
    answer = await service.api.http.get(trial["report_url"], headers=ADMIN)
    page = answer.text
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "Version 5 on trial beside version 4" in page
    assert "&lt;b&gt;modern&lt;/b&gt;" in page
    assert "<b>" not in page
    assert page.count("data:image/jpeg;base64,") == 1
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"<script|javascript:|style=|\son\w+=|https?://", page)

    judged = Judged(decision="roll_back", reason="It is worse: quality score.", at=1.0)
    assert await service.canaries.judged(canary, 4, judged)
    (event,) = await service.receiver.events_about("releases")
    assert event["type"] == "release.rolled_back"
    assert event["data"] == {"version": 5, "live_before": 4, "reason": "It is worse: quality score."}
    service.reset(withdrawn=[5])
    ended = (await service.list())["trial"]
    assert (ended["running"], ended["decision"], ended["reason"]) == (False, "roll_back", judged.reason)


async def test_jobs_that_are_pinned_are_in_use(service: Service) -> None:
    job = await service.api.submit()
    await service.api.store._client.hset(service.api.store._keys.job + job, "release", "3")
    found = await service.list()
    assert found["in_use"] == [3]
    # As `python -m export release prune` asks, so that it removes none of them.
    assert await asyncio.to_thread(jobs_in_use, service.api.base_url, ADMIN_TOKEN) == {3}
    assert found["versions"][0]["in_use"]
    await service.api.http.delete(f"/transform/{job}")
    assert (await service.list())["in_use"] == []
