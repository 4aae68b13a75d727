"""Plans over HTTP, with four API processes: rate limits, quotas, the budget, and what they say of themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Cancelled, Completed
from orchestrator.domain.job import JobResult
from orchestrator.domain.keys import Scope, caller_of
from orchestrator.domain.styles import STYLES
from orchestrator.ports import InferenceError
from orchestrator.services.running.runner import Runner
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support.api_server import ADMIN_TOKEN, SIGNING_KEY, Api, photo, problem, running_api
from tests.support.billing import SECRET, BillingSystem, billing_system
from tests.support.fakes import FakeInference, MemoryStorage, a_script

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANS = """
[default]
address_requests_per_minute = 100000

[counted]
requests_per_minute = 50
requests_per_hour = 1000

[rare]
requests_per_minute = 1

[drafts]
qualities = ["draft"]
styles = ["boho", "modern"]

[few]
concurrent_jobs = 5
waiting_jobs = 4

[quick]
gpu_seconds_per_day = 12

[small]
stored_objects = 3
"""


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


ADMIN = bearer(ADMIN_TOKEN)


PREFIX = "limits:"
BILLING = {
    "REROOM_GPU_HOUR_PRICE": "0.5", "REROOM_CURRENCY": "EUR", "REROOM_MONTHLY_BUDGET": "0.1",
    "REROOM_BUDGET_ALERTS": "0.8", "REROOM_EVENTS_SECRET": SECRET,
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told() -> AsyncIterator[BillingSystem]:
    async with billing_system() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    redis: RedisServer, told: BillingSystem, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "plans.toml").write_text(PLANS)
    settings = BILLING | {
        "REROOM_KEY_PLANS": str(folder / "plans.toml"), "REROOM_API_PROCESSES": "4", "REROOM_OPEN": "",
        "REROOM_TRUSTED_PROXIES": "10.9.9.9", "REROOM_REDIS_PREFIX": PREFIX,
        "REROOM_BUDGET_WEBHOOK": f"{told.url}/budget", "REROOM_USAGE_WEBHOOK": f"{told.url}/usage",
    }  # fmt: skip
    async with running_api(redis.url, folder, **settings) as api:
        # As a worker with the same settings has it.
        pricing = Settings.model_validate(
            {"REROOM_SIGNING_KEY": SIGNING_KEY, **BILLING, "REROOM_USAGE_WEBHOOK": told.url}
        ).pricing
        api.store = RedisJobStore(redis.url, prefix=PREFIX, pricing=pricing)
        yield api
        await api.store.aclose()


def result_of(gpu_seconds: float) -> JobResult:
    told = {"gpu_seconds": gpu_seconds}
    return JobResult(transformed_key="results/t", thumbnail_key="results/s", metadata=told, stored_bytes=300)


async def in_use(api: Api, key: dict[str, str]) -> dict[str, Any]:
    answer = await api.http.get("/usage", headers=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]["in_use"]
    return found


async def cancel_all(api: Api) -> None:
    """Empties the queue for the next test."""
    while lease := await api.store.claim("a-test", 0.0):
        await api.store.finish(lease, Cancelled())


async def a_key(api: Api, plan: str) -> dict[str, str]:
    made = await api.keys.create(plan, [Scope.TRANSFORM, Scope.READ], plan=plan)
    return bearer(made.text)


async def asked(api: Api, key: dict[str, str], times: int) -> list[httpx2.Response]:
    """Answers to that many requests at once. Each client has connections of its own, so that all processes answer."""
    async with httpx2.AsyncClient(
        base_url=api.base_url,
        limits=httpx2.Limits(max_connections=20, max_keepalive_connections=0),
        timeout=30,
    ) as http:
        return await asyncio.gather(
            *(http.get(f"/transform/status/{'f' * 32}", headers=key) for _ in range(times))
        )


async def submit(api: Api, key: dict[str, str], **data: str) -> httpx2.Response:
    return await api.http.post(
        "/transform/submit", files={"file": ("a.jpg", photo())}, data=data, headers=key
    )


async def analyze(api: Api, key: dict[str, str]) -> httpx2.Response:
    return await api.http.post("/analyze", files={"file": ("a.jpg", photo())}, headers=key)


async def test_a_job_whose_room_was_lost_is_not_charged(api: Api) -> None:
    """Its whole way: submitted with a demand, failed by the model, nothing counted, and room for the next job."""
    key, storage = await a_key(api, "few"), MemoryStorage()
    submitted = await submit(api, key, preferences='{"min_quality": 0.9, "min_openings": 0.8}')
    assert submitted.status_code == 202, submitted.text
    assert (await in_use(api, key))["gpu_seconds_today"] > 0, "reserved"
    lease = await api.store.claim("a-test", 0.0)
    assert lease is not None
    assert (lease.job.preferences.min_quality, lease.job.preferences.min_openings) == (0.9, 0.8)
    storage.objects[lease.job.original_key] = photo()
    sentence = (
        "The best of 3 pictures keeps too little of the room: structure 0.12; asked for was at least 0.90."
    )
    lost = FakeInference([*a_script()[:6], InferenceError("structure_lost", sentence, retryable=False)])
    runner = Runner(api.store, storage, lost, STYLES, lease_seconds=10.0, retry_delay=1.0)
    await runner.run(lease, asyncio.Event())
    (asked_for,) = lost.requests
    assert (asked_for.min_quality, asked_for.min_openings) == (0.9, 0.8)

    status = (await api.http.get(f"/transform/status/{lease.job.id}", headers=key)).json()["data"]
    assert (status["status"], status["error"]) == ("failed", {"code": "structure_lost", "detail": sentence})
    used = await in_use(api, key)
    assert (used["gpu_seconds_today"], used["gpu_seconds_this_month"], used["unfinished_jobs"]) == (0, 0, 0)
    (line,) = (await api.http.get("/usage", headers=key)).json()["data"]["lines"]
    assert (line["outcome"], line["jobs"], line["gpu_seconds"], line["cost"]) == ("failed", 1, 0, 0)


async def test_four_processes_together_grant_exactly_the_limit(api: Api) -> None:
    answers = await asked(api, await a_key(api, "counted"), 120)
    assert Counter(answer.status_code for answer in answers) == {404: 50, 429: 70}
    granted = sorted(int(a.headers["x-ratelimit-remaining"]) for a in answers if a.status_code == 404)
    assert granted == list(range(50))


async def test_headers_say_what_is_left_and_the_refusal_which_limit(api: Api) -> None:
    key = await a_key(api, "counted")
    first = (await asked(api, key, 1))[0].headers
    assert first["ratelimit-policy"] == '"key-minute";q=50;w=60, "key-hour";q=1000;w=3600'
    assert first["ratelimit"].startswith('"key-minute";r=49;t=6')
    assert (first["x-ratelimit-limit"], first["x-ratelimit-remaining"]) == ("50", "49")
    rare = await a_key(api, "rare")
    assert (await asked(api, rare, 1))[0].status_code == 404
    refused = (await asked(api, rare, 1))[0]
    problem(refused, 429, "too_many_requests")
    body = refused.json()
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["violated-policies"] == ["key-minute"]
    assert (
        body["detail"]
        == f"this key may ask 1 times a minute; try again in {refused.headers['retry-after']} s"
    )
    assert 1 <= int(refused.headers["retry-after"]) == int(refused.headers["x-ratelimit-reset"]) <= 61


async def test_a_refused_request_leaves_its_ticket(api: Api) -> None:
    made = await api.keys.create("rare", [Scope.READ], plan="rare")
    caller, job_id = caller_of(made.key), "f" * 32
    ticket = await api.keys.ticket(caller, job_id)
    assert (await asked(api, bearer(made.text), 1))[0].status_code == 404
    query = f"?ticket={ticket}"
    problem(await api.http.get(f"/transform/{job_id}/picture{query}"), 429, "too_many_requests")
    async with connect(f"{api.ws_url}/ws/transform/{job_id}{query}") as socket:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
    assert socket.close_code == 1013
    assert await api.keys.redeem(ticket, job_id) == caller


async def test_health_and_the_administrator_are_not_counted(api: Api) -> None:
    assert "ratelimit" not in (await api.http.get("/health/live")).headers
    assert "ratelimit" not in (await api.http.get("/admin/keys", headers=ADMIN)).headers
    assert "address-minute" in (await api.http.get("/")).headers["ratelimit-policy"]
    assert "address-minute" in (await api.http.get("/usage", headers=bearer("rr_no"))).headers["ratelimit"]


async def test_a_plan_has_its_own_styles_and_qualities(api: Api) -> None:
    key = await a_key(api, "drafts")
    refused = await submit(api, key, style="minimalist")
    problem(refused, 403, "not_in_plan", "style")
    assert refused.json()["detail"] == "your plan has these styles: boho, modern"
    refused = await submit(api, key, preferences='{"quality": "best"}')
    problem(refused, 403, "not_in_plan", "preferences.quality")
    answer = await submit(api, key, style="boho")
    job = await api.store.get(answer.json()["job_id"])
    assert job.preferences.quality == "draft"
    await api.store.cancel(job.id)


async def test_jobs_at_once_are_exact_over_four_processes(api: Api) -> None:
    key = await a_key(api, "few")
    before = {*api.stored()}
    answers = await asyncio.gather(*(submit(api, key) for _ in range(12)))
    accepted = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    assert len(accepted) == 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem(refused, 429, "quota_exceeded")
    assert refused.json()["violated-policies"] == ["waiting_jobs"]
    assert refused.json()["detail"] == "your plan lets 4 jobs wait at once; when one begins, there is room"
    assert int(refused.headers["retry-after"]) >= 1
    # Nothing is left of those that were refused.
    assert len({*api.stored()} - before) == 4
    lease = await api.store.claim("a-test", 2.0)
    assert lease is not None
    assert (await submit(api, key)).status_code == 202
    over = await submit(api, key)
    assert over.json()["violated-policies"] == ["concurrent_jobs"]
    await api.store.finish(lease, Cancelled())
    assert (await submit(api, key)).json()["violated-policies"] == ["waiting_jobs"]
    another = await api.store.claim("a-test", 2.0)
    assert another is not None
    assert (await submit(api, key)).status_code == 202
    await api.store.finish(another, Cancelled())
    await cancel_all(api)


async def test_gpu_seconds_are_reserved_settled_and_given_back(api: Api) -> None:
    made = await api.keys.create("quick", [Scope.TRANSFORM, Scope.READ], plan="quick")
    key = bearer(made.text)
    first, second = [(await submit(api, key)).json()["job_id"] for _ in range(2)]
    refused = await submit(api, key)
    problem(refused, 429, "quota_exceeded")
    assert refused.json()["violated-policies"] == ["gpu_seconds_per_day"]
    assert 1 <= int(refused.headers["retry-after"]) <= 86400
    assert (await in_use(api, key))["gpu_seconds_today"] == 10.0
    # What the first has used takes the place of what it had reserved; the second is given back.
    await api.store.finish(await api.claim(first), Completed(result=result_of(1.5)))
    await api.store.cancel(second)
    used = await in_use(api, key)
    assert (used["gpu_seconds_today"], used["gpu_seconds_this_month"], used["unfinished_jobs"]) == (
        1.5,
        1.5,
        0,
    )
    assert used["limits"]["gpu_seconds_per_day"] == 12.0


async def test_stored_pictures_count_until_they_are_erased(api: Api) -> None:
    key = await a_key(api, "small")
    first = (await submit(api, key)).json()["job_id"]
    refused = await submit(api, key)
    assert refused.json()["violated-policies"] == ["stored_objects"], "the first will store two more"
    await api.store.finish(await api.claim(first), Completed(result=result_of(1.0)))
    used = await in_use(api, key)
    assert (used["stored_objects"], used["stored_bytes"] > 300) == (3, True)
    refused = await submit(api, key)
    assert refused.json()["violated-policies"] == ["stored_objects"]
    assert (await api.http.delete(f"/transform/{first}/files", headers=key)).status_code == 200
    used = await in_use(api, key)
    assert (used["stored_objects"], used["stored_bytes"]) == (0, 0)
    # A label would be one picture more.
    refused = await submit(api, key, preferences='{"label": true}')
    assert refused.json()["violated-policies"] == ["stored_objects"]
    assert (await submit(api, key)).status_code == 202
    await cancel_all(api)


async def test_the_gpu_seconds_of_all_tries_are_reserved(api: Api) -> None:
    reserved = []
    for preferences in ("{}", '{"attempts": 2}', '{"min_camera": 0.5}'):
        key = await a_key(api, "few")
        assert (await submit(api, key, preferences=preferences)).status_code == 202
        reserved.append((await in_use(api, key))["gpu_seconds_today"])
    assert reserved == pytest.approx([reserved[0], 2 * reserved[0], 3 * reserved[0]], abs=0.003)
    assert reserved[0] > 0
    await cancel_all(api)


async def test_usage_is_the_callers_own_and_the_administrators_is_everyones(api: Api) -> None:
    made = await api.keys.create("counted", [Scope.TRANSFORM, Scope.READ], plan="counted")
    key = bearer(made.text)
    job_id = (await submit(api, key, style="boho")).json()["job_id"]
    await api.store.finish(await api.claim(job_id), Completed(result=result_of(7.2)))
    await api.store.cancel((await submit(api, key)).json()["job_id"])
    data = (await api.http.get("/usage", headers=key)).json()["data"]
    today = datetime.now(UTC).date().isoformat()
    assert (data["currency"], data["gpu_hour_price"], data["budget"]) == ("EUR", 0.5, None)
    assert data["total"] == {"jobs": 2, "gpu_seconds": 7.2, "cost": 0.001}
    of_both = {"day": today, "key": made.key.id, "tier": "default", "jobs": 1}
    assert data["lines"] == [
        of_both | {"style": "boho", "outcome": "completed", "gpu_seconds": 7.2, "cost": 0.001},
        of_both | {"style": "modern", "outcome": "cancelled", "gpu_seconds": 0.0, "cost": 0.0},
    ]
    everyones = (await api.http.get("/usage", headers=ADMIN)).json()["data"]
    assert {line["key"] for line in everyones["lines"]} > {made.key.id}
    assert (everyones["in_use"], everyones["budget"]["amount"]) == (None, 0.1)
    of_key = (await api.http.get("/usage", params={"key": made.key.id}, headers=ADMIN)).json()["data"]
    assert (of_key["lines"], of_key["in_use"]["plan"]) == (data["lines"], "counted")
    before = {"since": "2026-01-01", "until": "2026-01-31"}
    assert (await api.http.get("/usage", params=before, headers=key)).json()["data"]["lines"] == []


async def test_usage_refuses_foreign_keys_and_wrong_periods(api: Api) -> None:
    key = await a_key(api, "default")
    other = (await api.keys.create("other", [Scope.READ])).key.id
    problem(await api.http.get("/usage", params={"key": other}, headers=key), 404, "key_not_found")
    for since, until, begins in (
        ("2026-02-01", "2026-01-31", "2026-02-01"), ("2020-01-01", "2026-01-31", "2024-12-28"),
        ("0001-01-01", "0001-01-02", "0001-01-01"), ("9999-12-01", "9999-12-31", "9999-12-01"),
    ):  # fmt: skip
        period = {"since": since, "until": until}
        data = (await api.http.get("/usage", params=period, headers=key)).json()["data"]
        assert (data["since"], data["until"], data["lines"]) == (begins, until, [])
    problem(await api.http.get("/usage", params={"since": "yesterday"}, headers=key), 400, "bad_request")


async def test_the_budget_stops_new_work_and_tells_its_owner(api: Api, told: BillingSystem) -> None:
    """0.1 EUR at 0.5 EUR an hour are 720 seconds."""
    key = await a_key(api, "default")
    problem(await analyze(api, key), 503, "unavailable")  # it was let through: there is no Triton here
    job_id = (await submit(api, key)).json()["job_id"]
    await api.store.finish(await api.claim(job_id), Completed(result=result_of(721.0)))
    refused = await submit(api, key)
    problem(refused, 402, "budget_exhausted")
    assert refused.json()["violated-policies"] == ["monthly_budget"]
    assert 1 <= int(refused.headers["retry-after"]) <= 31 * 86400
    analysis = await analyze(api, key)
    problem(analysis, 402, "budget_exhausted")
    assert analysis.json()["violated-policies"] == ["monthly_budget"]
    events = {event["type"]: event["data"] for event in await told.events_about("budget", 2)}
    assert set(events) == {"budget.reached", "budget.exhausted"}
    assert events["budget.reached"] | {"spent": 0} == {
        "month": datetime.now(UTC).date().isoformat()[:7], "share": 0.8, "spent": 0, "budget": 0.1, "currency": "EUR",
    }  # fmt: skip
    usage: list[dict[str, Any]] = []
    came = 0
    while not usage:  # those of the module's other jobs may come first
        all_usage = await told.events_about("usage", came + 1)
        usage, came = [each["data"] for each in all_usage if each["data"]["job_id"] == job_id], len(all_usage)
    assert usage[0] | {"key": "", "day": ""} == {
        "job_id": job_id, "key": "", "day": "", "style": "modern", "tier": "default", "outcome": "completed",
        "gpu_seconds": 721.0, "cost": 0.100139, "currency": "EUR",
    }  # fmt: skip
