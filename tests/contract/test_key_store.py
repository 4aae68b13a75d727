"""The contract of KeyStore, over every Redis that it must run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisKeyStore
from orchestrator.domain.keys import OPEN, Key, Scope, Secret, digest_of, new_id
from orchestrator.ports import KeyNotFound, Ticket
from stack.redis import RedisServer
from tests.contract.conftest import prefixes


@pytest.fixture
async def keys(server: RedisServer) -> AsyncIterator[RedisKeyStore]:
    opened = RedisKeyStore(server.url, prefix=next(prefixes))
    yield opened
    await opened.aclose()


def a_key(created: float = 1.0) -> Key:
    secrets = [Secret(digest=digest_of("x"), created=created)]
    return Key(id=new_id(), name="Zoë's app", scopes=[Scope.READ], created=created, secrets=secrets)


async def test_a_key_is_read_as_it_was_stored(keys: RedisKeyStore) -> None:
    early, late = a_key(1.0), msgspec.structs.replace(a_key(2.0), expires=9.5, plan="premium")
    for key in (late, early, early):
        await keys.add(key)
    assert [await keys.get(key.id) for key in (early, late)] == [early, late]
    assert await keys.all() == [early, late]


async def test_unknown_keys(keys: RedisKeyStore) -> None:
    assert await keys.all() == []
    for call in (keys.get("0" * 16), keys.revoke("0" * 16, 1.0), keys.replace_secrets(a_key(), [])):
        with pytest.raises(KeyNotFound):
            await call


async def test_a_revoked_key_keeps_its_first_time(keys: RedisKeyStore) -> None:
    key = a_key()
    await keys.add(key)
    await keys.revoke(key.id, 5.0)
    await keys.revoke(key.id, 6.0)
    assert (await keys.get(key.id)).revoked == 5.0


async def test_secrets_are_replaced_once_and_a_repetition_is_no_error(keys: RedisKeyStore) -> None:
    key = a_key()
    await keys.add(key)
    first, second = ([Secret(digest=digest_of(each), created=2.0)] for each in "ab")
    assert await keys.replace_secrets(key, first)
    assert await keys.replace_secrets(key, first)
    assert not await keys.replace_secrets(key, second)
    assert (await keys.get(key.id)).secrets == first


async def test_secrets_that_another_version_wrote_are_replaced(
    keys: RedisKeyStore, client: redis.asyncio.Redis
) -> None:
    key = a_key()
    await keys.add(key)
    (name,) = await client.keys(f"*api_key:{key.id}")
    text = f'[ {{"created": 1.00, "digest": "{digest_of("x")}", "colour": "blue"}} ]'
    await client.hset(name, "secrets", text)
    assert await keys.get(key.id) == key
    found = [Secret(digest=digest_of("y"), created=2.0)]
    assert await keys.replace_secrets(key, found)
    assert (await keys.get(key.id)).secrets == found


async def test_the_last_use(keys: RedisKeyStore) -> None:
    key = a_key()
    await keys.add(key)
    await keys.used(key.id, 7.25)
    assert await keys.get(key.id) == msgspec.structs.replace(key, last_used=7.25)


async def test_a_ticket_is_taken_once(keys: RedisKeyStore) -> None:
    ticket = Ticket(caller=OPEN, job="a job")
    await keys.put_ticket("digest", ticket, 30.0)
    assert [await keys.ticket("digest") for _ in range(2)] == [ticket] * 2, "it is only looked at"
    taken = await asyncio.gather(*(keys.take_ticket("digest") for _ in range(5)))
    assert [each for each in taken if each is not None] == [ticket]
    assert await keys.take_ticket("another") is None
    assert await keys.ticket("digest") is None


async def test_a_ticket_expires(keys: RedisKeyStore, client: redis.asyncio.Redis) -> None:
    await keys.put_ticket("digest", Ticket(caller=OPEN, job="a job"), 30.0)
    (name,) = await client.keys("*ticket:digest")
    assert 29_000 < await client.pttl(name) <= 30_000


async def test_keys_of_another_version_are_read(keys: RedisKeyStore, client: redis.asyncio.Redis) -> None:
    key = a_key()
    await keys.add(key)
    (name,) = await client.keys(f"*api_key:{key.id}")
    await client.hset(name, "colour", '"blue"')
    await client.hdel(name, "plan")
    assert await keys.get(key.id) == key
