"""The contract of StyleStore, over every Redis that it must run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from orchestrator.adapters.redis import RedisKeyStore, RedisStyleStore
from orchestrator.domain.keys import Key, Scope, new_id
from orchestrator.domain.styles import Style
from orchestrator.ports import KeyNotFound, StyleNotFound, TooManyStyles
from stack.redis import RedisServer
from tests.contract.conftest import prefixes

LAKE = Style(title="Lake", prompt="häuschen am see", rooms=["bedroom"], colors=["#0a141e"])


@pytest.fixture
def prefix() -> str:
    return next(prefixes)


@pytest.fixture
async def styles(server: RedisServer, prefix: str) -> AsyncIterator[RedisStyleStore]:
    opened = RedisStyleStore(server.url, prefix=prefix)
    yield opened
    await opened.aclose()


async def test_styles_are_read_as_they_were_stored(styles: RedisStyleStore) -> None:
    other = msgspec.structs.replace(LAKE, title="Other")
    for owner, name, style in (
        ("a", "my-z", LAKE),
        ("a", "my-b", other),
        ("b", "my-z", other),
        ("", "my-z", LAKE),
    ):
        await styles.put(owner, name, style, 10)
    assert list((await styles.all("a")).items()) == [("my-b", other), ("my-z", LAKE)]
    assert (await styles.all("b"), await styles.all(""), await styles.all("c")) == (
        {"my-z": other},
        {"my-z": LAKE},
        {},
    )


async def test_no_more_than_the_most(styles: RedisStyleStore) -> None:
    await styles.put("a", "my-1", LAKE, 2)
    await styles.put("a", "my-2", LAKE, 2)
    with pytest.raises(TooManyStyles):
        await styles.put("a", "my-3", LAKE, 2)
    replaced = msgspec.structs.replace(LAKE, title="Other")
    await styles.put("a", "my-2", replaced, 2)
    assert await styles.all("a") == {"my-1": LAKE, "my-2": replaced}
    await styles.delete("a", "my-1")
    with pytest.raises(StyleNotFound):
        await styles.delete("a", "my-1")
    await styles.put("a", "my-3", LAKE, 2)


async def test_a_revoked_key_has_none_and_gets_none(
    styles: RedisStyleStore, server: RedisServer, prefix: str
) -> None:
    keys = RedisKeyStore(server.url, prefix=prefix)
    mine, other = (Key(id=new_id(), name="x", scopes=[Scope.TRANSFORM], created=1.0) for _ in range(2))
    for key in (mine, other):
        await keys.add(key)
        await styles.put(key.id, "my-z", LAKE, 10)
    await keys.revoke(mine.id, 2.0)
    assert (await styles.all(mine.id), await styles.all(other.id)) == ({}, {"my-z": LAKE})
    # A request that was let in before its key was revoked.
    with pytest.raises(KeyNotFound):
        await styles.put(mine.id, "my-z", LAKE, 10)
    assert await styles.all(mine.id) == {}
    await keys.aclose()


async def test_a_style_of_another_version(styles: RedisStyleStore, prefix: str) -> None:
    await styles._client.hset(f"{prefix}own_styles:a", "my-z", '{"title": "Z", "prompt": "z", "later": 1}')
    assert await styles.all("a") == {"my-z": Style(title="Z", prompt="z")}
