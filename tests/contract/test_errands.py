"""The contract of Errands, over every Redis that it must run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisErrands
from orchestrator.ports import Errand, Report, Unavailable
from stack.redis import RedisServer
from tests.contract.conftest import prefixes

SHEET = Errand(job_id="a" * 32, what="contact_sheet", labels=["Häuschen 1", "Boho"])
DONE = Report(outcome="done")


@pytest.fixture
def prefix() -> str:
    return next(prefixes)


@pytest.fixture
async def errands(server: RedisServer, prefix: str) -> AsyncIterator[RedisErrands]:
    opened = RedisErrands(server.url, prefix=prefix)
    yield opened
    await opened.aclose()


async def test_a_worker_does_what_is_sent_and_the_sender_is_told(errands: RedisErrands) -> None:
    sending = asyncio.create_task(errands.send(SHEET, 20))
    taken = await errands.take(20)
    assert taken is not None
    assert taken[1] == SHEET
    refused = Report(outcome="refused", detail="the photo was deleted")
    await errands.report(taken[0], refused)
    assert await sending == refused


async def test_several_at_once_each_get_their_own_report(errands: RedisErrands) -> None:
    sent = {f"{number}" * 32: Report(outcome="refused", detail=str(number)) for number in range(5)}
    sending = [asyncio.create_task(errands.send(Errand(job_id=each, what="x"), 20)) for each in sent]
    for _ in sent:
        taken = await errands.take(20)
        assert taken is not None
        await errands.report(taken[0], sent[taken[1].job_id])
    assert [await each for each in sending] == list(sent.values())


async def test_without_a_worker_the_sender_is_told_in_time_and_nothing_is_done_later(
    errands: RedisErrands, client: redis.asyncio.Redis, prefix: str
) -> None:
    with pytest.raises(Unavailable, match="no worker has made contact_sheet"):
        await errands.send(SHEET, 0.2)
    assert 0 < await client.ttl(f"{prefix}errands") <= 60, "Redis forgets it"
    assert await errands.take(0.1) is None
    assert await errands.take(0.1) is None


async def test_what_another_version_sends_is_left_out(
    errands: RedisErrands, client: redis.asyncio.Redis, prefix: str
) -> None:
    await client.rpush(f"{prefix}errands", '{"name": 7}', "[")
    assert await errands.take(0.1) is None
    assert await errands.take(0.1) is None
    sending = asyncio.create_task(errands.send(SHEET, 20))
    taken = await errands.take(20)
    assert taken is not None
    await errands.report(taken[0], DONE)
    assert await sending == DONE


async def test_an_outage_is_unavailable() -> None:
    away = RedisErrands("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await away.take(0.1)
    await away.aclose()
