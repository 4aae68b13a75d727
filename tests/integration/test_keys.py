"""Keys from their making to their end: the service, the command, and the key that `make up` makes."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.adapters.redis import RedisKeyStore
from orchestrator.domain.keys import ADMINISTRATOR, OPEN, Key, Scope, Secret, caller_of
from orchestrator.ports import KeyNotFound, Unavailable
from orchestrator.services.keys import USED_SECONDS, KeyService, NotRecognised
from stack.redis import RedisServer
from stack.secrets import api_key
from tests.support.servers import free_port

PREFIX = "keys:"
TOKEN = "the administrator's token"


class Bench:
    def __init__(self, store: RedisKeyStore) -> None:
        self.store, self.now = store, 1_000_000.0
        self.keys = KeyService(store, admin_token=TOKEN, clock=lambda: self.now)

    async def accepts(self, text: str) -> bool:
        try:
            await self.keys.recognise(text)
        except NotRecognised:
            return False
        return True


@pytest.fixture
async def bench(redis: RedisServer) -> AsyncIterator[Bench]:
    store = RedisKeyStore(redis.url, prefix=PREFIX)
    yield Bench(store)
    await store.aclose()


async def test_a_key_says_who_calls(bench: Bench) -> None:
    made = await bench.keys.create("an app", [Scope.READ, Scope.READ], plan="premium", expires=bench.now + 10)
    caller = await bench.keys.recognise(made.text)
    assert caller == caller_of(made.key)
    assert (caller.owner, caller.scopes, caller.plan) == (made.key.id, frozenset({Scope.READ}), "premium")
    stored = await bench.keys.get(made.key.id)
    assert made.text.split("_")[2] not in repr(stored), "only its SHA-256 is stored"
    bench.now += 10
    assert not await bench.accepts(made.text)


async def test_the_administrator(bench: Bench) -> None:
    assert await bench.keys.recognise(TOKEN) == ADMINISTRATOR
    for wrong in (TOKEN[:-1], TOKEN.upper(), "", "a" * 10_000):
        assert not await bench.accepts(wrong)


async def test_a_rotated_secret_lives_on_for_its_grace(bench: Bench) -> None:
    first = await bench.keys.create("an app", list(Scope))
    second = await bench.keys.rotate(first.key.id, grace=60)
    assert (await bench.accepts(first.text), await bench.accepts(second.text)) == (True, True)
    third = await bench.keys.rotate(first.key.id, grace=600)
    texts = (first.text, second.text, third.text)
    assert [await bench.accepts(text) for text in texts] == [False, True, True], "two secrets at most"
    bench.now += 600
    assert [await bench.accepts(text) for text in texts] == [False, False, True]
    fourth = await bench.keys.rotate(first.key.id, grace=0)
    assert [await bench.accepts(text) for text in (third.text, fourth.text)] == [False, True]
    await bench.keys.revoke(first.key.id)
    assert not await bench.accepts(fourth.text)
    with pytest.raises(KeyNotFound):
        await bench.keys.rotate(first.key.id)


class _Contested(RedisKeyStore):
    """Someone else is always faster."""

    async def replace_secrets(self, key: Key, secrets: list[Secret]) -> bool:
        return False


async def test_a_rotation_gives_up(redis: RedisServer) -> None:
    contested = Bench(_Contested(redis.url, prefix=PREFIX))
    made = await contested.keys.create("an app", [Scope.READ])
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="rotate it again"):
            await contested.keys.rotate(made.key.id)
    await contested.store.aclose()


async def test_a_second_rotation_does_not_lengthen_the_first_ones_grace(bench: Bench) -> None:
    first = await bench.keys.create("an app", [Scope.READ], expires=bench.now + 1000)
    await bench.keys.rotate(first.key.id, grace=60)
    (newest, ending) = (await bench.keys.get(first.key.id)).secrets
    assert (newest.expires, ending.expires) == (None, bench.now + 60)
    bench.now += 1000
    assert not (await bench.keys.get(first.key.id)).lives(bench.now), (
        "a rotation does not lengthen a key's life"
    )


async def test_the_last_use_is_written_once_a_minute(bench: Bench) -> None:
    made = await bench.keys.create("an app", [Scope.READ])
    for seconds, written in ((0.0, 0.0), (USED_SECONDS - 1, 0.0), (USED_SECONDS, USED_SECONDS)):
        bench.now = 1_000_000.0 + seconds
        await bench.keys.recognise(made.text)
        assert (await bench.keys.get(made.key.id)).last_used == 1_000_000.0 + written
    assert not await bench.accepts(made.text[:-1] + ("0" if made.text[-1] != "0" else "1"))


async def test_tickets_carry_their_callers_rights(bench: Bench) -> None:
    for caller in (OPEN, ADMINISTRATOR):
        text = await bench.keys.ticket(caller, "a job")
        assert await bench.keys.redeem(text, "a job") == caller
        with pytest.raises(NotRecognised):
            await bench.keys.redeem(text, "a job")


def test_the_command(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = tmp_path / "plans.toml"
    plans.write_text("[free]\n")
    monkeypatch.setenv("REROOM_KEY_PLANS", str(plans))
    monkeypatch.setenv("REDIS_URL", redis.url)
    monkeypatch.setenv("REROOM_REDIS_PREFIX", "command:")
    monkeypatch.delenv("REROOM_SIGNING_KEY", raising=False)

    def said(*arguments: str) -> str:
        assert main(["keys", *arguments]) == 0
        return capsys.readouterr().out

    assert "there are no keys" in said("list")
    assert main(["keys", "create", "--name", "x", "--plan", "gold"]) == 1
    assert capsys.readouterr().err == "there is no plan gold, only default, free: see REROOM_KEY_PLANS\n"
    text, *shown = said(
        "create", "--name", "a phone\x1b[2J", "--expires", "90d", "--plan", "free"
    ).splitlines()
    key_id = text.split("_")[1]
    assert "valid until" in shown[1]
    assert "\x1b" not in shown[1]
    assert text.split("_")[2] not in said("list") + said("show", key_id) + said("list", "--json")
    (data,) = json.loads(said("show", key_id, "--json"))
    assert (data["scopes"], data["plan"], data["secrets"]) == (["read", "transform"], "free", 1)
    assert "two secrets" in said("rotate", key_id, "--grace", "30m")
    made = json.loads(said("create", "--name", "an admin", "--scopes", "admin,read", "--json"))
    assert made["data"]["scopes"] == ["admin", "read"]
    assert made["key"].startswith(f"rr_{made['data']['id']}_")
    assert "revoked" in said("revoke", key_id)
    assert main(["keys", "rotate", key_id]) == 1
    assert "`keys list` shows all" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("create",), ("create", "--name", ""), ("create", "--name", "x", "--scopes", "write"), ("show",),
     ("create", "--name", "x", "--expires", "soon"), ("create", "--name", "x", "--plan", "Gold!"), ()],
)  # fmt: skip
def test_the_command_refuses(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_command_without_a_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for url, reason in ((f"redis://127.0.0.1:{free_port()}", "cannot be reached"), ("http://x", "REDIS_URL")):
        monkeypatch.setenv("REDIS_URL", url)
        assert main(["keys", "list"]) == 1
        assert reason in capsys.readouterr().err


async def test_make_up_keeps_its_key_while_it_is_valid(
    redis: RedisServer, tmp_path: Path, bench: Bench
) -> None:
    env = {"REDIS_URL": redis.url, "REROOM_REDIS_PREFIX": PREFIX}
    first = api_key(tmp_path, env)
    assert stat.S_IMODE((tmp_path / "api_key").stat().st_mode) == 0o600
    assert await bench.keys.recognise(first) == caller_of(await bench.keys.get(first.split("_")[1]))
    assert api_key(tmp_path, env) == first
    await bench.keys.revoke(first.split("_")[1])
    second = api_key(tmp_path, env)
    assert second != first
    assert await bench.accepts(second)
