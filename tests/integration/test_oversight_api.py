"""The API for administrators: who works on what, the Tritons, levels and failures; and guesses of their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.events import Completed, Failed
from orchestrator.domain.job import JobError, JobResult
from orchestrator.domain.keys import Scope
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import ADMIN_TOKEN, Api, problem, running_api
from tests.support.jobs import a_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
REFUSED = JobError(code="invalid_request", detail="steps must be at least 1.")
RESULT = JobResult(transformed_key="t.jpg", thumbnail_key="s.jpg", metadata={"seed": 1})
TODAY = datetime.now(UTC).date()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("oversight")
    (folder / "plans.toml").write_text("[free]\nconcurrent_jobs = 2\n")
    settings = {"REROOM_OPEN": "", "REROOM_KEY_PLANS": str(folder / "plans.toml")}
    async with running_api(redis.url, folder, **settings) as api:
        yield api


async def data(api: Api, path: str, schema: str) -> Any:
    answer = await api.http.get(path, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    check(schema, answer.json())
    return answer.json()["data"]


async def test_the_floor(api: Api) -> None:
    running, waiting = a_job(owner="a-key"), a_job(style="boho")
    await api.store.submit(running)
    lease = await api.claim(running.id)
    await api.store.submit(waiting)
    floor = await data(api, "/admin/floor", "FloorAnswer")
    (worker,) = floor["workers"]
    assert (worker["name"], worker["alive"]) == ("a-test", True)
    (job,) = worker["jobs"]
    assert (job["job_id"], job["key"], job["status"]) == (running.id, "a-key", "analyzing")
    assert job["begun_at"] >= job["submitted_at"]
    assert [(each["job_id"], each["style"]) for each in floor["waiting"]] == [(waiting.id, "boho")]
    assert floor["counts"] == [{"priority": "normal", "tier": "default", "jobs": 1}]
    assert (floor["stats"]["running"], floor["stats"]["queued"]) == (1, 1)
    await api.store.finish(lease, Completed(result=RESULT))
    await api.store.cancel(waiting.id)


async def test_levels_and_failures(api: Api) -> None:
    before = (await data(api, "/admin/levels", "LevelsAnswer"))["days"][-1]
    for outcome in (Completed(result=RESULT), Failed(error=REFUSED), Failed(error=REFUSED)):
        job = a_job(style="japandi", owner="a-key")
        await api.store.submit(job)
        await api.store.finish(await api.claim(job.id), outcome)
    levels = await data(api, "/admin/levels", "LevelsAnswer")
    assert levels["objectives"] == {"failed_share": 0.05, "total_p95": 60.0, "oldest_wait": 120.0}
    assert len(levels["days"]) == 14
    today = levels["days"][-1]
    ended = {name: today[name] - before[name] for name in ("completed", "failed", "cancelled")}
    assert ended == {"completed": 1, "failed": 2, "cancelled": 0}
    assert 0 < today["failed_share"] < 1
    assert today["total_p95"] >= today["total_p50"] >= today["wait_p95"] - 1 >= -1
    failures = await data(api, "/admin/failures", "FailuresAnswer")
    assert failures["reasons"][0] == {"code": "invalid_request", "style": "japandi", "jobs": 2}
    assert failures["days"][-1]["reasons"] == failures["reasons"]
    newest = failures["latest"][0]
    assert (newest["job_id"], newest["key"], newest["detail"]) == (job.id, "a-key", REFUSED.detail)


@pytest.mark.parametrize(
    ("period", "first", "count"),
    [
        ({"since": "2026-01-01", "until": "2026-01-03"}, "2026-01-01", 3),
        ({"since": "2020-01-01", "until": "2026-03-31"}, "2026-01-01", 90),
        ({"until": "2026-01-14"}, "2026-01-01", 14),
        ({"since": (TODAY - timedelta(days=1)).isoformat()}, (TODAY - timedelta(days=1)).isoformat(), 2),
    ],
)
async def test_the_days_of_an_answer(api: Api, period: dict[str, str], first: str, count: int) -> None:
    for path in ("/admin/levels", "/admin/failures"):
        days = (await api.http.get(path, params=period, headers=ADMIN)).json()["data"]["days"]
        assert (days[0]["day"], abs(len(days) - count) <= ("until" not in period)) == (first, True)
    backwards = {"since": "2026-01-02", "until": "2026-01-01"}
    assert (await api.http.get("/admin/levels", params=backwards, headers=ADMIN)).json()["data"]["days"] == []
    problem(await api.http.get("/admin/levels", params={"since": "soon"}, headers=ADMIN), 400, "bad_request")


async def test_tritons_and_plans(api: Api) -> None:
    (triton,) = await data(api, "/admin/tritons", "TritonsAnswer")
    assert (triton["up"], triton["models"], triton["load"]) == (False, {}, None)
    assert triton["fault"]
    plans = await data(api, "/admin/plans", "PlansAnswer")
    assert plans.keys() == {"default", "free"}
    assert plans["free"]["concurrent_jobs"] == 2


async def test_dead_letters_have_a_limit(api: Api) -> None:
    for _ in range(2):
        job = a_job()
        await api.store.submit(job)
        while await api.store.retry(await api.claim(job.id), REFUSED, 0):
            pass
    listed = await api.http.get("/admin/dead-letters", params={"limit": 1}, headers=ADMIN)
    assert [each["job_id"] for each in listed.json()["data"]] == [job.id]
    assert len((await api.http.get("/admin/dead-letters", headers=ADMIN)).json()["data"]) == 2
    problem(
        await api.http.get("/admin/dead-letters", params={"limit": 0}, headers=ADMIN),
        400,
        "bad_request",
        "limit",
    )


async def test_usage_is_summed_by_what_is_named(api: Api) -> None:
    answer = await api.http.get("/usage", params={"by": ["day", "outcome"]}, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    check("UsageAnswer", answer.json())
    assert answer.json()["data"]["lines_left_out"] == 0
    problem(await api.http.get("/usage", params={"by": "colour"}, headers=ADMIN), 400, "bad_request")


def of(address: str, text: str) -> dict[str, str]:
    return {"X-Forwarded-For": address, "Authorization": f"Bearer {text}"}


async def test_guesses_are_slowed_down_and_the_right_key_is_not_told_from_them(api: Api) -> None:
    guesser = "203.0.113.7"
    # Wherever the right one could be told: not only where administrators go.
    for number, path in enumerate(["/admin/floor", "/usage", "/debug/queue/stats", "/health", "/studio"] * 2):
        answer = await api.http.get(path, headers=of(guesser, f"guess {number}"))
        assert answer.status_code == (401 if path not in ("/health", "/studio") else 200)
    for text in ("another guess", ADMIN_TOKEN):
        for path in ("/admin/floor", "/usage"):
            answer = await api.http.get(path, headers=of(guesser, text))
            problem(answer, 429, "too_many_requests")
            assert 0 < int(answer.headers["retry-after"]) <= 60
    public = (await api.http.get("/health", headers=of(guesser, ADMIN_TOKEN))).json()
    assert "detail" not in public["services"]["triton"], "it is not shown what administrators are"
    # Others are not: neither API keys from the same address, nor other addresses.
    made = await api.keys.create("a phone", [Scope.READ])
    assert (await api.http.get("/usage", headers=of(guesser, made.text))).status_code == 200
    assert (await api.http.get("/usage", headers=of("203.0.113.8", ADMIN_TOKEN))).status_code == 200


async def test_wrong_keys_of_administrators_count_too(api: Api) -> None:
    guesser = "203.0.113.17"
    for _ in range(10):
        answer = await api.http.get("/admin/keys", headers=of(guesser, f"rr_{'0' * 16}_{'0' * 64}"))
        problem(answer, 401, "unauthorized")
    made = await api.keys.create("an admin", [Scope.ADMIN])
    problem(await api.http.get("/admin/keys", headers=of(guesser, made.text)), 429, "too_many_requests")
    assert (await api.http.get("/admin/keys", headers=of("203.0.113.18", made.text))).status_code == 200
