"""Who may use what: every endpoint with every kind of credential, over HTTP and WebSocket.

The endpoints come from the application itself, so that a new one is in here by itself, and one without a rule fails.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from litestar import Litestar, get
from litestar.handlers import HTTPRouteHandler
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.api.middleware.access import Rule, every_handler, rule_of, takes_ticket
from orchestrator.app import create_app
from orchestrator.domain.events import Completed
from orchestrator.domain.job import JobResult, JobState
from orchestrator.domain.keys import Scope, text_of
from orchestrator.settings import Settings
from stack.redis import RedisServer
from tests.support.api_schema import check
from tests.support.api_server import (
    ADMIN_TOKEN,
    ALLOWED_ORIGIN,
    SIGNING_KEY,
    Api,
    photo,
    problem,
    running_api,
)
from tests.support.event_source import reading
from tests.support.gate.processes import until
from tests.support.jobs import a_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = create_app(Settings.model_validate({"signing_key": SIGNING_KEY}))
# In the same order in every process that runs tests.
ENDPOINTS = sorted(
    (
        (method, path, handler)
        for path, handler in every_handler(APP.routes)
        for method in (handler.http_methods if isinstance(handler, HTTPRouteHandler) else ["WS"])
    ),
    key=lambda each: each[:2],
)
NAMES = [f"{method} {path}" for method, path, _ in ENDPOINTS]
ASKING = [each for each in ENDPOINTS if rule_of(each[2]).scope is not None]
OF_JOBS = [each for each in ASKING if "{job_id" in each[1]]
WITH_TICKET = [each for each in ENDPOINTS if takes_ticket(each[2])]
OTHER_SCOPES = {scope: [each for each in Scope if each is not scope] for scope in Scope}
RESULT = JobResult(
    transformed_key="results/a/1/t.jpg", thumbnail_key="results/a/1/s.jpg", metadata={"seed": 1}
)
NOT_THERE = (
    "key_not_found",
    "dead_letter_not_found",
    "style_not_found",
    "webhook_not_found",
    "release_not_found",
)
UNKNOWN = "f" * 32
CLOSED = {401: 4401, 403: 4403, 404: 4404, 200: 1000}
"""The close code of a WebSocket for an HTTP status."""


def ids(endpoints: list[Any]) -> list[str]:
    return [f"{method} {path}" for method, path, _ in endpoints]


class Keyring:
    """A key of every kind."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.refused: dict[str, str] = {}
        self.by_scope: dict[Scope, str] = {}
        self.lacking: dict[Scope, str] = {}
        self.mine = self.mine_id = self.foreign = ""

    async def make(self) -> None:
        keys, everything = self._api.keys, list(Scope)
        mine = await keys.create("mine", [Scope.TRANSFORM, Scope.READ])
        self.mine, self.mine_id = mine.text, mine.key.id
        self.foreign = (await keys.create("foreign", [Scope.TRANSFORM, Scope.READ])).text
        for scope in Scope:
            self.by_scope[scope] = (await keys.create(f"only {scope}", [scope])).text
            self.lacking[scope] = (await keys.create(f"all but {scope}", OTHER_SCOPES[scope])).text
        expired = await keys.create("expired", everything, expires=time.time() - 1)
        revoked = await keys.create("revoked", everything)
        await keys.revoke(revoked.key.id)
        rotated = await keys.create("rotated", everything)
        await keys.rotate(rotated.key.id, grace=0)
        self.refused = {
            "malformed": "rr_nothing",
            "not ASCII": "rr_ä",
            "unknown": text_of("0" * 16, "0" * 64),
            "wrong secret": text_of(mine.key.id, "0" * 64),
            "cut": mine.text[:-1],
            "in capitals": mine.text.upper(),
            "expired": expired.text,
            "revoked": revoked.text,
            "rotated away": rotated.text,
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "plans.toml").write_text("[free]\n")
    settings = {
        "REROOM_OPEN": "",
        "REROOM_KEY_PLANS": str(folder / "plans.toml"),
        "REROOM_LOG_LEVEL": "debug",
    }
    async with running_api(redis.url, folder, **settings) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyring(api: Api) -> Keyring:
    made = Keyring(api)
    await made.make()
    return made


async def a_job_of(api: Api, owner: str) -> str:
    """A job that has ended: every endpoint has an answer for its owner."""
    job = a_job(owner=owner)
    await api.store.submit(job)
    await api.store.finish(await api.claim(job.id), Completed(result=RESULT))
    return job.id


async def ask(
    api: Api, method: str, path: str, headers: dict[str, str], job_id: str = UNKNOWN, query: str = ""
) -> tuple[int, dict[str, Any]]:
    """The status and the body of an answer; a WebSocket's close code as a status, and its reason."""
    filled = {
        "{job_id}": job_id,
        "{key_id}": "0" * 16,
        "{key}": "a/b",
        "{of}/{name}": "0/app.mjs",
        "{name}": "start.js",
        "{style}": "modern",
    }
    filled |= {"{dead_job}": UNKNOWN, "{version}": "5"}
    address = functools.reduce(lambda part, each: part.replace(*each), filled.items(), path) + query
    if method == "WS":
        async with connect(f"{api.ws_url}{address}", additional_headers=headers) as socket:
            await drained(socket)
        status = next(status for status, code in CLOSED.items() if code == socket.close_code)
        return status, {"detail": socket.close_reason}
    with_body = method in ("POST", "PUT")
    sent = headers | ({"Content-Type": "application/json"} if with_body else {})
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    answer = await api.http.request(method, address, headers=raw, content=b"{}" if with_body else None)
    if answer.status_code in (401, 403):
        assert answer.headers["content-type"] == "application/problem+json"
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    shown = answer.json() if answer.headers.get("content-type", "").endswith("json") else {}
    return answer.status_code, shown if isinstance(shown, dict) else {}


async def drained(socket: ClientConnection) -> list[str]:
    """The messages until the server closes."""
    messages: list[str] = []
    async with asyncio.timeout(10):
        while True:
            try:
                messages.append(str(await socket.recv()))
            except ConnectionClosed:
                return messages


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def api_key(text: str) -> dict[str, str]:
    return {"X-API-Key": text}


async def test_a_route_without_a_rule_is_refused() -> None:
    @get("/new")
    async def new() -> None: ...

    with pytest.raises(RuntimeError, match="/new: say who may use it"):
        every_handler(Litestar([new], openapi_config=None).routes)


async def test_the_matrix_is_not_empty() -> None:
    assert {"WS /ws/transform/{job_id}", "DELETE /transform/{job_id}/files", "POST /admin/keys"} <= set(NAMES)
    assert {rule_of(handler) for _, _, handler in ENDPOINTS} == set(Rule)
    assert {path for _, path, handler in ENDPOINTS if rule_of(handler) is Rule.PUBLIC} == {
        "/", "/health", "/health/live", "/health/ready", "/schema", "/schema/openapi.json", "/docs", "/docs/{name}",
        "/styles", "/styles/{style}/picture", "/studio", "/studio/{of}/{name}",
        "/studio/worker.js", "/admin",
    }  # fmt: skip
    assert {path for _, path, handler in ENDPOINTS if rule_of(handler) is Rule.SIGNED} == {
        "/files/{key}",
        "/pages/{job_id}",
    }


@pytest.mark.parametrize(("method", "path", "handler"), ASKING, ids=ids(ASKING))
async def test_without_a_valid_key(api: Api, keyring: Keyring, method: str, path: str, handler: Any) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        status, body = await ask(api, method, path, headers, job_id)
        assert (status, "send a key" in body["detail"] or "not valid" in body["detail"]) == (401, True)
    for kind, text in keyring.refused.items():
        for headers in (bearer(text), api_key(text)):
            status, body = await ask(api, method, path, headers, job_id)
            assert (status, body["detail"][:22]) == (401, "this key is not valid:"), kind
    # A valid key counts for nothing elsewhere than in its headers.
    for query in (f"?key={keyring.mine}", f"?api_key={keyring.mine}", f"?ticket={keyring.mine}"):
        assert (await ask(api, method, path, {}, job_id, query))[0] == 401
    assert (await api.store.get(job_id)).status is JobState.COMPLETED


@pytest.mark.parametrize(("method", "path", "handler"), ASKING, ids=ids(ASKING))
async def test_with_the_scope_and_without(
    api: Api, keyring: Keyring, method: str, path: str, handler: Any
) -> None:
    scope = rule_of(handler).scope
    assert scope is not None
    job_id = await a_job_of(api, keyring.mine_id)
    status, body = await ask(api, method, path, bearer(keyring.lacking[scope]), job_id)
    assert (status, f"a key with the scope {scope}" in body["detail"]) == (403, True)
    right = keyring.by_scope[scope]
    owner = right.split("_")[1]
    for headers in (bearer(right), api_key(right), bearer(ADMIN_TOKEN), api_key(ADMIN_TOKEN)):
        status, body = await ask(api, method, path, headers, await a_job_of(api, owner))
        # The bodies here are mostly wrong, which is found out later.
        assert status < 500, body
        if method == "GET":
            address = path.replace("{job_id}", UNKNOWN).replace("{key_id}", "0" * 16)
            assert (await api.http.get(address, headers=headers)).headers["cache-control"] == "no-store"
        assert status not in (401, 403), body
        assert status != 404 or body["code"] in NOT_THERE


@pytest.mark.parametrize(("method", "path", "handler"), OF_JOBS, ids=ids(OF_JOBS))
async def test_jobs_of_others_do_not_exist(
    api: Api, keyring: Keyring, method: str, path: str, handler: Any
) -> None:
    mine, without_owner = await a_job_of(api, keyring.mine_id), await a_job_of(api, "")
    unknown = await ask(api, method, path, bearer(keyring.foreign))
    assert unknown[0] == 404
    of_its_own = {"instance": "", "request_id": ""}
    for job_id in (mine, without_owner):
        status, body = await ask(api, method, path, bearer(keyring.foreign), job_id)
        assert (status, body | of_its_own) == (404, unknown[1] | of_its_own)
        assert (await api.store.get(job_id)).status is JobState.COMPLETED
    assert (await ask(api, method, path, bearer(keyring.mine), mine))[0] != 404
    assert (await ask(api, method, path, bearer(ADMIN_TOKEN), without_owner))[0] != 404


@pytest.mark.parametrize(("method", "path", "handler"), ENDPOINTS, ids=NAMES)
async def test_public_and_signed(api: Api, keyring: Keyring, method: str, path: str, handler: Any) -> None:
    sent = [{}, bearer("nonsense"), bearer(keyring.refused["revoked"]), bearer(ADMIN_TOKEN)]
    if rule_of(handler) is Rule.PUBLIC:
        assert {(await ask(api, method, path, headers))[0] for headers in sent} <= {200, 503}
    elif rule_of(handler) is Rule.SIGNED:
        for headers in sent:
            if path == "/pages/{job_id}":  # for people: its refusals are pages too
                page = await api.http.get(f"/pages/{UNKNOWN}", headers=headers)
                assert (page.status_code, "not complete" in page.text) == (403, True)
                continue
            status, body = await ask(api, method, path, headers)
            assert (status, body["code"]) == (403, "bad_signature")


async def test_a_revoked_key_is_refused_at_once_also_on_an_open_websocket(api: Api) -> None:
    made = await api.keys.create("soon revoked", [Scope.READ])
    job = a_job(owner=made.key.id)
    await api.store.submit(job)
    address = f"/transform/status/{job.id}"
    assert (await api.http.get(address, headers=bearer(made.text))).status_code == 200
    async with connect(f"{api.ws_url}/ws/transform/{job.id}", additional_headers=bearer(made.text)) as socket:
        for _ in range(2):
            await asyncio.wait_for(socket.recv(), 10)
        answer = await api.http.post(f"/admin/keys/{made.key.id}/revoke", headers=bearer(ADMIN_TOKEN))
        assert (answer.status_code, answer.json()["data"]["secrets"]) == (200, 0)
        problem(await api.http.get(address, headers=bearer(made.text)), 401, "unauthorized")
        await api.store.finish(await api.claim(job.id), Completed(result=RESULT))
        assert "signature=" not in "".join(await drained(socket))
    assert socket.close_code == 4401


async def test_the_events_of_a_revoked_key_end_without_links(api: Api) -> None:
    made = await api.keys.create("soon revoked", [Scope.READ])
    job = a_job(owner=made.key.id)
    await api.store.submit(job)
    async with reading(api.http, job.id, headers=bearer(made.text)) as source:
        await source.read(2)
        await api.keys.revoke(made.key.id)
        await api.store.finish(await api.claim(job.id), Completed(result=RESULT))
        assert [event.event for event in await source.read()] == ["status"]
    problem(await api.http.get(f"/transform/{job.id}/events", headers=bearer(made.text)), 401, "unauthorized")


async def ticket(api: Api, key: str, job_id: str) -> str:
    answer = await api.http.post("/tickets", json={"job_id": job_id}, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


@pytest.mark.parametrize(("method", "path", "handler"), WITH_TICKET, ids=ids(WITH_TICKET))
async def test_a_ticket_is_good_for_one_request_about_its_job(
    api: Api, keyring: Keyring, method: str, path: str, handler: Any
) -> None:
    job_id, another = [await a_job_of(api, keyring.mine_id) for _ in range(2)]
    good = f"?ticket={await ticket(api, keyring.mine, job_id)}"
    replies = await asyncio.gather(*(ask(api, method, path, {}, job_id, good) for _ in range(4)))
    right = 307 if path.endswith("/picture") else 200
    assert sorted(status for status, _ in replies) == sorted([401] * 3 + [right])
    assert "POST /tickets" in next(body["detail"] for status, body in replies if status == 401)
    wrong = f"?ticket={await ticket(api, keyring.mine, another)}"
    assert (await ask(api, method, path, {}, job_id, wrong))[0] == 401
    assert (await ask(api, method, path, {}, another, wrong))[0] == 401, "it was used up"
    made = await api.keys.create("revoked meanwhile", [Scope.READ])
    late = f"?ticket={await ticket(api, made.text, await a_job_of(api, made.key.id))}"
    await api.keys.revoke(made.key.id)
    assert (await ask(api, method, path, {}, job_id, late))[0] == 401
    for guess in ("", "x", "0" * 43):
        assert (await ask(api, method, path, {}, job_id, f"?ticket={guess}"))[0] == 401


async def test_tickets_open_no_other_endpoint(api: Api, keyring: Keyring) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    for method, path, handler in ASKING:
        if not takes_ticket(handler):
            query = f"?ticket={await ticket(api, keyring.mine, job_id)}"
            assert (await ask(api, method, path, {}, job_id, query))[0] == 401, path


async def test_tickets_are_for_jobs_that_one_may_see(api: Api, keyring: Keyring) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    for wanted in (job_id, UNKNOWN, "x"):
        answer = await api.http.post("/tickets", json={"job_id": wanted}, headers=bearer(keyring.foreign))
        problem(answer, 404, "job_not_found")
    wrong = await api.http.post("/tickets", json={"job": job_id}, headers=bearer(keyring.mine))
    problem(wrong, 422, "invalid_body", "job")


async def test_a_foreign_page_gets_no_websocket_with_a_ticket(api: Api, keyring: Keyring) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    for origin, code in (("https://elsewhere.example", 4403), (ALLOWED_ORIGIN, 1000)):
        url = f"{api.ws_url}/ws/transform/{job_id}?ticket={await ticket(api, keyring.mine, job_id)}"
        async with connect(url, origin=origin) as socket:  # type: ignore[arg-type]
            await drained(socket)
        assert socket.close_code == code


async def test_a_picture_leads_to_a_link_that_expires(api: Api, keyring: Keyring) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    address = f"/transform/{job_id}/picture"
    for which, key in (("transformed", "t.jpg"), ("thumbnail", "s.jpg"), ("original", "original.jpg")):
        answer = await api.http.get(address, params={"which": which}, headers=bearer(keyring.mine))
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
        assert f"{key}?expires=" in answer.headers["location"]
    unready = a_job(owner=keyring.mine_id)
    await api.store.submit(unready)
    answer = await api.http.get(f"/transform/{unready.id}/picture", headers=bearer(keyring.mine))
    problem(answer, 409, "job_not_completed")
    await api.http.delete(f"/transform/{unready.id}", headers=bearer(keyring.mine))


async def test_what_is_submitted_belongs_to_its_key(api: Api, keyring: Keyring) -> None:
    files = {"file": ("a.jpg", photo())}
    answer = await api.http.post("/transform/submit", files=files, headers=bearer(keyring.mine))
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    job = await api.store.get(job_id)
    assert job.owner == keyring.mine_id
    problem(
        await api.http.delete(f"/transform/{job_id}", headers=bearer(keyring.foreign)), 404, "job_not_found"
    )
    assert (await api.http.delete(f"/transform/{job_id}", headers=bearer(keyring.mine))).status_code == 200
    foreign = await api.http.post("/transform/submit", files=files, headers=bearer(keyring.foreign))
    other = await api.store.get(foreign.json()["job_id"])
    assert other.photo_digest != job.photo_digest, "models would keep what they found in the photo for both"
    await api.http.delete(f"/transform/{other.id}", headers=bearer(keyring.foreign))


async def test_an_upload_belongs_to_its_key(api: Api, keyring: Keyring) -> None:
    content = photo()
    asked = {"content_type": "image/jpeg", "size": len(content)}
    offer = (await api.http.post("/uploads", json=asked, headers=bearer(keyring.mine))).json()
    assert keyring.mine_id not in offer["key"]
    put = await api.http.put(offer["url"], content=content, headers=offer["headers"])
    assert put.status_code == 200, put.text

    async def submit(key: str, headers: dict[str, str]) -> httpx2.Response:
        return await api.http.post("/transform/submit-upload", json={"key": key}, headers=headers)

    for headers in (bearer(keyring.foreign), bearer(ADMIN_TOKEN)):
        problem(await submit(offer["key"], headers), 409, "no_such_upload", "key")
    number = offer["key"].split("/")[1].split("-")[0]
    for guess in (f"incoming/{number}/photo", f"incoming/{number}-{'0' * 16}/photo"):
        for headers in (bearer(keyring.foreign), bearer(keyring.mine), bearer(ADMIN_TOKEN)):
            problem(await submit(guess, headers), 409, "no_such_upload", "key")
    taken = await submit(offer["key"], bearer(keyring.mine))
    assert taken.status_code == 202, taken.text
    await api.http.delete(f"/transform/{taken.json()['job_id']}", headers=bearer(keyring.mine))


async def test_links_of_pictures_need_no_key_and_take_no_change(api: Api, keyring: Keyring) -> None:
    files = {"file": ("a.jpg", photo())}
    answer = await api.http.post("/transform/submit", files=files, headers=bearer(keyring.mine))
    key = f"uploads/{answer.json()['job_id']}/original.jpg"
    link = UrlSigner(SIGNING_KEY.encode(), "").url(key, 60)
    assert (await api.http.get(link)).status_code == 200
    for changed in (link.replace("expires=", "expires=9"), link[:-1] + ("0" if link[-1] != "0" else "1")):
        problem(await api.http.get(changed, headers=bearer(ADMIN_TOKEN)), 403, "bad_signature")
    old = UrlSigner(SIGNING_KEY.encode(), "", clock=lambda: time.time() - 3600).url(key, 60)
    problem(await api.http.get(old, headers=bearer(keyring.mine)), 403, "link_expired")
    await api.http.delete(f"/transform/{answer.json()['job_id']}", headers=bearer(keyring.mine))


async def test_the_log_shows_neither_keys_nor_tickets(api: Api, keyring: Keyring) -> None:
    job_id = await a_job_of(api, keyring.mine_id)
    used = await ticket(api, keyring.mine, job_id)
    await ask(api, "GET", "/transform/{job_id}/picture", {}, job_id, f"?ticket={used}")
    for headers in ({"X-API-Key": ADMIN_TOKEN}, bearer(ADMIN_TOKEN)):
        async with connect(f"{api.ws_url}/ws/transform/{job_id}", additional_headers=headers) as socket:
            await drained(socket)
    # An answer is logged when it has been sent.
    await until(lambda: f"/transform/{job_id}/picture" in api.log.read_text())
    said = api.log.read_text()
    for secret in (used, keyring.mine.split("_")[2], keyring.refused["revoked"].split("_")[2], ADMIN_TOKEN):
        assert secret not in said


async def test_open_mode_is_for_this_machine_and_its_pages(redis: RedisServer, tmp_path: Any) -> None:
    async with running_api(redis.url, tmp_path) as open_api:
        job_id = await open_api.submit()
        address = f"/transform/status/{job_id}"
        assert (await open_api.http.get(address)).status_code == 200
        elsewhere = await open_api.http.get(address, headers={"X-Forwarded-For": "203.0.113.9"})
        problem(elsewhere, 401, "unauthorized")
        foreign = await open_api.http.get(address, headers={"Origin": "https://elsewhere.example"})
        problem(foreign, 403, "forbidden_origin", "origin")
        # Nor for pages whose own name was made to lead to this machine: their GETs have no Origin.
        rebound = {"Host": "rebinds.example:8000"}
        for path in (address, "/transform", f"/transform/{job_id}/events"):
            problem(await open_api.http.get(path, headers=rebound), 403, "forbidden_origin", "host")
        url, port = f"ws://rebinds.example/ws/transform/{job_id}", open_api.http.base_url.port
        async with connect(url, host="127.0.0.1", port=port) as socket:
            await drained(socket)
        assert socket.close_code == 4403
        for host in ("LOCALHOST:1", "127.0.0.2", "[::1]:8000", ALLOWED_ORIGIN.removeprefix("https://")):
            assert (await open_api.http.get(address, headers={"Host": host})).status_code == 200
        for host in ("", "[", "0.0.0.0", "localhost.example", "127.0.0.1.example"):
            problem(await open_api.http.get(address, headers={"Host": host}), 403, "forbidden_origin", "host")
        assert (await open_api.http.get("/health/live", headers=rebound)).status_code == 200
        # Who sends a key is held to it, and keys have jobs of their own here too.
        problem(await open_api.http.get(address, headers=bearer("rr_nonsense")), 401, "unauthorized")
        made = await open_api.keys.create("a key", [Scope.READ])
        problem(await open_api.http.get(address, headers=bearer(made.text)), 404, "job_not_found")
        theirs = a_job(owner=made.key.id)
        await open_api.store.submit(theirs)
        problem(await open_api.http.get(f"/transform/status/{theirs.id}"), 404, "job_not_found")
        for method, path, handler in ASKING:
            if rule_of(handler) is Rule.ADMIN:
                assert (await ask(open_api, method, path, {}))[0] == 401


async def test_keys_over_http(api: Api) -> None:
    admin = bearer(ADMIN_TOKEN)
    wish = {"name": "a phone", "scopes": ["read"], "plan": "free", "expires_in": 60}
    made = await api.http.post("/admin/keys", json=wish, headers=admin)
    assert made.status_code == 201, made.text
    check("KeyMade", made.json())
    first, key_id = made.json()["key"], made.json()["data"]["id"]
    rotated = (await api.http.post(f"/admin/keys/{key_id}/rotate", json={"grace": 30}, headers=admin)).json()
    for text in (first, rotated["key"]):
        answer = await api.http.get(f"/transform/status/{UNKNOWN}", headers=bearer(text))
        problem(answer, 404, "job_not_found")
    shown = (await api.http.get(f"/admin/keys/{key_id}", headers=admin)).json()
    check("KeyAnswer", shown)
    assert (shown["data"]["secrets"], shown["data"]["last_used_at"] is None) == (2, False)
    listed = await api.http.get("/admin/keys", headers=admin)
    check("KeyList", listed.json())
    assert shown["data"] in listed.json()["data"]
    for secret in (first, rotated["key"]):
        assert secret.split("_")[2] not in listed.text
    # An administrator with a key of their own may do the same.
    other = await api.keys.create("an admin", [Scope.ADMIN])
    revoked = await api.http.post(f"/admin/keys/{key_id}/revoke", headers=bearer(other.text))
    assert (revoked.json()["data"]["secrets"], revoked.json()["data"]["revoked_at"] is None) == (0, False)
    problem(await api.http.post(f"/admin/keys/{key_id}/rotate", json={}, headers=admin), 404, "key_not_found")
    for wrong, field in (
        ({"name": "", "scopes": ["read"]}, "name"), ({"name": "x", "scopes": ["write"]}, "scopes"),
        ({"name": "x", "scopes": []}, "scopes"), ({"name": "x"}, "scopes"), ({"scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": ["read"], "plan": "free\n"}, "body"),
        ({"name": "x", "scopes": ["read"], "expires_in": 0}, "expires_in"), ([], "body"),
    ):  # fmt: skip
        problem(await api.http.post("/admin/keys", json=wrong, headers=admin), 422, "invalid_body", field)
    gold = {"name": "x", "scopes": ["read"], "plan": "gold"}
    problem(await api.http.post("/admin/keys", json=gold, headers=admin), 409, "unknown_plan", "plan")
