"""Pages of other sites: what browsers ask before, keep, and may read."""

from __future__ import annotations

import httpx2
import pytest

from orchestrator.adapters.storage.signing import UrlSigner
from stack.redis import RedisServer
from tests.support.api_server import ALLOWED_ORIGIN, SIGNING_KEY, Api, problem, running_api

OTHER = "https://elsewhere.example"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class BrowserCache:
    """What a browser keeps of its GETs, by RFC 9111: an answer again for a request that is alike in what Vary names."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._kept: dict[str, tuple[dict[str, str], httpx2.Response]] = {}
        self.hits = 0

    async def get(self, url: str, **headers: str) -> httpx2.Response:
        if url in self._kept:
            before, kept = self._kept[url]
            names = [name.strip().lower() for name in kept.headers.get("vary", "").split(",")]
            if all(before.get(name) == headers.get(name) for name in names):
                self.hits += 1
                return kept
        answer = await self._http.get(url, headers=headers)
        self._kept[url] = headers, answer
        return answer


async def picture(api: Api) -> str:
    job_id = await api.submit()
    return UrlSigner(SIGNING_KEY.encode(), api.base_url).url(f"uploads/{job_id}/original.jpg", 600)


async def test_an_image_and_then_a_fetch(api: Api) -> None:
    url, browser = await picture(api), BrowserCache(api.http)
    for _ in range(2):
        assert (await browser.get(url)).status_code == 200  # <img src>
    for _ in range(2):
        fetched = await browser.get(url, origin=ALLOWED_ORIGIN)
        assert fetched.headers.get("access-control-allow-origin") == ALLOWED_ORIGIN
    assert browser.hits == 2


async def test_every_answer_of_files_varies(api: Api) -> None:
    url = await picture(api)
    tag = (await api.http.get(url)).headers["etag"]
    again = await api.http.get(url, headers={"If-None-Match": f'W/"x", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["cache-control"].startswith("private")
    assert (await api.http.get(url, headers={"If-None-Match": '"another"'})).status_code == 200
    missing = UrlSigner(SIGNING_KEY.encode(), api.base_url).url("uploads/none/original.jpg", 60)
    for answer in (again, await api.http.get(missing), await api.http.get(f"{url}0")):
        assert "origin" in answer.headers["vary"].lower()
    for path in ("/files/", "/nowhere", "/transform/submit"):
        assert "origin" in (await api.http.get(path)).headers["vary"].lower()


async def test_pages_may_read_what_they_need(api: Api) -> None:
    answer = await api.http.get(f"/transform/status/{'0' * 32}", headers={"Origin": ALLOWED_ORIGIN})
    problem(answer, 404, "job_not_found")
    assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"Retry-After", "ETag"} <= set(exposed)
    other = await api.http.get("/", headers={"Origin": OTHER})
    assert "access-control-allow-origin" not in other.headers
    same = api.base_url.replace("127.0.0.1", "localhost")
    this_machine = await api.http.get("/", headers={"Origin": same})
    assert this_machine.headers["access-control-allow-origin"] == same


async def preflight(
    api: Api, *, origin: str = ALLOWED_ORIGIN, method: str = "POST", **headers: str
) -> httpx2.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, **headers}
    return await api.http.options("/transform/submit", headers=asked)


@pytest.mark.parametrize(
    "names",
    [
        "x-requested-with",
        "x-api-key,idempotency-key",
        "Authorization, Content-Type, traceparent, tracestate, baggage, sentry-trace",
        "",
    ],
)
async def test_preflights_take_what_clients_send(api: Api, names: str) -> None:
    asked = {"Access-Control-Request-Headers": names} if names else {}
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        answer = await preflight(api, method=method, **asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert method in answer.headers["access-control-allow-methods"]
        allowed = answer.headers.get("access-control-allow-headers", "").lower()
        assert all(name.strip().lower() in allowed for name in names.split(","))
        assert "origin" in answer.headers["vary"].lower()
        assert int(answer.headers["access-control-max-age"]) > 0


async def test_refused_preflights_say_why(api: Api) -> None:
    other = await preflight(api, origin=OTHER)
    problem(other, 403, "forbidden_origin", "origin")
    assert "access-control-allow-origin" not in other.headers
    problem(await preflight(api, method="TRACE"), 405, "method_not_allowed")
    names = {"Access-Control-Request-Headers": "a header"}
    problem(await preflight(api, **names), 400, "bad_request", "access-control-request-headers")


async def test_options_that_are_no_preflight_name_the_methods(api: Api) -> None:
    answer = await api.http.options("/transform/submit", headers={"Origin": ALLOWED_ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, ALLOWED_ORIGIN)
    assert "POST" in answer.headers["allow"]
    problem(await api.http.options("/nowhere"), 404, "not_found")


async def test_every_origin_may_be_allowed(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("open")
    async with running_api(redis.url, folder, ALLOWED_ORIGINS="*") as api:
        for headers in ({}, {"Origin": OTHER}, {"Origin": OTHER, "Cookie": "a=b"}):
            assert (await api.http.get("/", headers=headers)).headers["access-control-allow-origin"] == "*"
        assert (await preflight(api, origin=OTHER)).status_code == 204
        assert (await api.http.get("/transform", headers={"Host": "elsewhere.example"})).status_code == 200
