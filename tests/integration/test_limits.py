"""Plans over HTTP, with four API processes: rate limits, quotas, the budget, and what they say of themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from orchestrator.domain.keys import Scope
from stack.redis import RedisServer
from tests.support.api_server import ADMIN_TOKEN, Api, photo, problem, running_api

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
stored_objects = 2
"""


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


ADMIN = bearer(ADMIN_TOKEN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "plans.toml").write_text(PLANS)
    settings = {
        "REROOM_PLANS": str(folder / "plans.toml"), "REROOM_API_PROCESSES": "4", "REROOM_OPEN": "",
        "REROOM_TRUSTED_PROXIES": "10.9.9.9",
    }  # fmt: skip
    async with running_api(redis.url, folder, **settings) as api:
        yield api


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


async def test_health_and_the_administrator_are_not_counted(api: Api) -> None:
    assert "ratelimit" not in (await api.http.get("/health/live")).headers
    assert "ratelimit" not in (await api.http.get("/admin/keys", headers=ADMIN)).headers
    assert "address-minute" in (await api.http.get("/")).headers["ratelimit-policy"]
    assert "address-minute" in (await api.http.get("/usage", headers=bearer("rr_no"))).headers["ratelimit"]
