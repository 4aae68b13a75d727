"""Endpoints for webhooks: both clients and the command on a real API with a receiver, and what is not sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

import reroom
from stack.redis import RedisServer
from tests.support.api_server import Api, running_api
from tests.support.client_command import run
from tests.support.client_service import CUT, QUICK, Driven, Service
from tests.support.hook_receiver import HookReceiver, hook_receiver, status

NAMED = {
    "id": "w1", "url": "https://shop.example/x", "events": ["job.failed"], "description": "", "secrets": 1,
    "created_at": "2026-11-27T00:00:00.000Z", "disabled": None, "invented_later": 1,
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[HookReceiver]:
    async with hook_receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    ours = {"REROOM_EGRESS_ALLOW_CIDRS": "127.0.0.1/32", "REROOM_EGRESS_PORTS": "*"}
    async with running_api(redis.url, tmp_path_factory.mktemp("api"), **ours) as api:
        yield api


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", [reroom.Client, Driven])
async def test_an_endpoint_from_its_making_to_its_end(api: Api, receiver: HookReceiver, kind: Any) -> None:
    path = f"/{kind.__name__}"

    async def do(what: Callable[[Any], Any]) -> Any:
        def within() -> Any:
            client = kind(api.base_url, retry=QUICK, timeout=20.0)
            try:
                return what(client)
            finally:
                client.close()

        return await asyncio.to_thread(within)

    made = await do(lambda c: c.create_webhook(receiver.url(path), ["job.failed"], "a shop"))
    hook = made.webhook
    assert (hook.events, hook.description, hook.secrets, hook.disabled) == (["job.failed"], "a shop", 1, None)
    assert hook in await do(lambda c: c.webhooks())
    assert await do(lambda c: c.webhook(hook.id)) == hook
    event = await do(lambda c: c.test_webhook(hook.id))
    await receiver.until(path, 1)
    assert receiver.ids[path] == [event]
    receiver.verify(made.secret)
    rotated = await do(lambda c: c.rotate_webhook(hook.id, 60))
    assert rotated.secret != made.secret
    assert rotated.webhook.secrets == 2
    receiver.answers[path] = [status(503)]
    event = await do(lambda c: c.test_webhook(hook.id))
    await receiver.until_asked(path, 2)
    async with asyncio.timeout(20):
        while not (last := (await do(lambda c: c.deliveries(hook.id, 1)))[0]).last_answer:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (last.id, last.type, last.status, last.last_answer) == (
        event,
        "webhook.test",
        "waiting",
        "status 503",
    )
    assert last.next_try_at > last.created_at
    off = await do(lambda c: c.change_webhook(hook.id, enabled=False, description=""))
    assert (off.disabled.reason, off.description, off.events) == ("by_owner", "", ["job.failed"])
    with pytest.raises(reroom.Conflict):
        await do(lambda c: c.test_webhook(hook.id))
    on = await do(lambda c: c.change_webhook(hook.id, enabled=True, events=["job.started"]))
    assert (on.disabled, on.events) == (None, ["job.started"])
    await do(lambda c: c.delete_webhook(hook.id))
    with pytest.raises(reroom.NotFound):
        await do(lambda c: c.delete_webhook(hook.id))
    with pytest.raises(reroom.InvalidRequest) as caught:
        await do(lambda c: c.create_webhook("http://10.0.0.1/"))
    assert caught.value.field == "url"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_command(api: Api, receiver: HookReceiver) -> None:
    async def command(*arguments: str, code: int = 0) -> tuple[str, str]:
        found, out, err = await asyncio.to_thread(run, api.base_url, "webhooks", *arguments)
        assert found == code, err
        return out, err

    out, err = await command("create", receiver.url("/command"), "--event", "job.failed")
    assert out.startswith("whsec_"), "only the secret, for a file"
    assert out.count("\n") == 1
    hook = err.split()[0]
    assert (await command("list"))[0] == f"{hook}  enabled  {receiver.url('/command')}  job.failed\n"
    event = (await command("test", hook))[0].strip()
    await receiver.until("/command", 1)
    async with asyncio.timeout(20):
        while "delivered" not in (said := (await command("deliveries", hook))[0]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "webhook.test" in said
    assert "status 200" in said
    found = json.loads((await command("deliveries", hook, "--json"))[0])["deliveries"]
    assert [each["id"] for each in found] == [event]
    assert "disabled: by_owner" in (await command("change", hook, "--disable"))[0]
    changed = json.loads((await command("change", hook, "--enable", "--event", "job.started", "--json"))[0])
    assert (changed["disabled"], changed["events"]) == (None, ["job.started"])
    rotated = json.loads((await command("rotate", hook, "--grace", "0", "--json"))[0])
    assert (rotated["data"]["id"], rotated["data"]["secrets"]) == (hook, 1)
    assert json.loads((await command("show", hook, "--json"))[0])["id"] == hook
    assert (await command("delete", hook))[0] == f"deleted {hook}\n"
    assert "webhook" in (await command("show", hook, code=4))[1]
    await command("create", "ftp://x", code=2)


def test_a_new_secret_is_asked_for_once(service: Service, client: Any) -> None:
    """Whose answer was lost may have come: a second one would end the secret that receivers know."""
    service.faults["POST", "/webhooks/w1/rotate"] = [(503, {}, {}), (200, {}, {})]
    with pytest.raises(reroom.ServerError):
        client.rotate_webhook("w1")
    service.faults["POST", "/webhooks/w1/rotate"] = [(CUT, {}, b"")]
    with pytest.raises(reroom.ConnectionFailed):
        client.rotate_webhook("w1")
    assert len(service.requests) == 2


def test_an_endpoint_is_made_once(service: Service, client: Any) -> None:
    made = {"success": True, "secret": "whsec_x", "data": NAMED}
    service.faults["POST", "/webhooks"] = [(CUT, {}, b""), (503, {}, {}), (201, {}, made)]
    found = client.create_webhook("https://shop.example/x")
    assert (found.secret, found.webhook.id) == ("whsec_x", "w1")
    assert len(service.keys) == 3
    assert len(set(service.keys)) == 1
    assert json.loads(service.bodies[-1]) == {"url": "https://shop.example/x", "description": ""}
