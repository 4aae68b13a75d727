"""What HTTP promises of every address: HEAD, OPTIONS, Allow; and who sees what of the service's health."""

from __future__ import annotations

import pytest

from orchestrator.adapters.storage.signing import UrlSigner
from tests.support.api_server import ADMIN_TOKEN, SIGNING_KEY, Api, problem

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_only_the_administrator_sees_why_a_part_is_down(api: Api, path: str) -> None:
    shown = (await api.http.get(path, headers=ADMIN)).json()["services"]
    assert "127.0.0.1" in shown["triton"]["detail"]
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic YTpi"}):
        answer = await api.http.get(path, headers=headers)
        for part in answer.json()["services"].values():
            assert set(part) == {"status", "latency_ms"}
        assert "127.0.0.1" not in answer.text


READABLE = ["/", "/health", "/health/live", "/health/ready", "/transform/status/{job}", "/schema", "{link}",
            "/debug/queue/stats", "/debug/storage/stats"]  # fmt: skip


async def test_head_answers_wherever_get_does(api: Api) -> None:
    job_id = await api.submit()
    link = UrlSigner(SIGNING_KEY.encode(), "").url(f"uploads/{job_id}/original.jpg", 60)
    for template in READABLE:
        path = template.format(job=job_id, link=link)
        get, head = [await api.http.request(method, path, headers=ADMIN) for method in ("GET", "HEAD")]
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert set(head.headers) == set(get.headers)
        assert head.headers["content-type"] == get.headers["content-type"]
        if template in ("/", "/health/live", "/schema", "{link}"):
            assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert (await api.http.head(f"/transform/status/{'0' * 32}")).status_code == 404
    assert (await api.http.head("/transform/submit")).status_code == 405
    await api.http.delete(f"/transform/{job_id}")


async def test_the_log_names_the_method_that_was_sent(api: Api) -> None:
    await api.http.head("/health/live")
    assert "HEAD /health/live 200" in api.log.read_text()


async def test_every_address_lists_all_of_its_methods(api: Api) -> None:
    paths = (await api.http.get("/schema")).json()["paths"] | {"/schema": {"get": {}}}
    for path, item in paths.items():
        methods = {method.upper() for method in item} | {"OPTIONS"}
        methods |= {"HEAD"} if "GET" in methods else set()
        address = path.replace("{job_id}", "0" * 32).replace("{key}", "a/b").replace("{version}", "5")
        refused = await api.http.request("PUT" if "PATCH" in methods else "PATCH", address)
        problem(refused, 405, "method_not_allowed")
        listed = await api.http.options(address)
        assert listed.status_code == 204
        for answer in (refused, listed):
            assert set(answer.headers["allow"].split(", ")) == methods, path
