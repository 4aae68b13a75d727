"""Events for the operator's systems: each is sent until it is taken, by one of several processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from orchestrator import ports
from orchestrator.adapters.redis import RedisJobStore, RedisOutbox
from orchestrator.domain.events import Completed
from orchestrator.domain.job import JobResult
from orchestrator.domain.plans import Plan
from orchestrator.domain.usage import Admission, Budget, Pricing
from orchestrator.ports import Outcome
from orchestrator.services.notifying.deliveries import Deliveries
from orchestrator.services.notifying.operator_events import OperatorEvents
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.billing import KEY, BillingSystem, billing_system
from tests.support.jobs import a_job, claim

PRICING = Pricing(price=3_600_000, currency="EUR", budget=Budget(micros=3000, alerts=[0.5]), billed=True)
"""A second costs 0.001."""
PATIENCE = 0.05


@pytest.fixture
async def billed(server: RedisServer) -> AsyncIterator[tuple[RedisJobStore, RedisOutbox]]:
    prefix = next(prefixes)
    store, outbox = (
        RedisJobStore(server.url, prefix=prefix, pricing=PRICING),
        RedisOutbox(server.url, prefix=prefix),
    )
    yield store, outbox
    await store.aclose()
    await outbox.aclose()


@contextlib.asynccontextmanager
async def delivering(
    outbox: ports.Outbox, receiver: BillingSystem, processes: int, alerts: list[float | None]
) -> AsyncIterator[None]:
    urls: dict[ports.Receiver, str] = {
        "budget": f"{receiver.url}/budget",
        "usage": f"{receiver.url}/usage",
    }
    opened = OperatorEvents(urls, KEY, "EUR", on_alert=lambda share, _: alerts.append(share))
    async with opened as operator:
        senders = [
            Deliveries(outbox, operator, operator, patience=PATIENCE, pause=0.01) for _ in range(processes)
        ]
        tasks = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def complete(store: RedisJobStore, seconds: float) -> str:
    """A job that has used this GPU time; its id."""
    asked = Admission(plan=Plan(), estimated_seconds=1.0, stored_bytes=1, stored_objects=1)
    await store.submit(job := a_job(owner="a" * 16), admission=asked)
    told = {"gpu_seconds": seconds, "tier": "best"}
    done = JobResult(transformed_key="t", thumbnail_key="s", metadata=told)
    await store.finish(await claim(store), Completed(result=done))
    return job.id


async def test_events_are_sent_until_they_are_taken(billed: tuple[RedisJobStore, RedisOutbox]) -> None:
    store, outbox = billed
    alerts: list[float | None] = []
    async with billing_system() as receiver:
        receiver.answers = [500, 302, 429]
        async with delivering(outbox, receiver, 3, alerts):
            jobs = [await complete(store, seconds) for seconds in (0.5, 0.25, 1.0)]
            events = await receiver.events_about("usage", 3)
            await receiver.events_about("budget")
            async with asyncio.timeout(5):
                while await store._client.exists(store._keys.lanes):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        # On a slow machine one is sent again while its receiver still thinks.
        assert {event["data"]["job_id"] for event in events} == {*jobs}
        assert {event["data"]["cost"] for event in events} == {0.0005, 0.00025, 0.001}
        assert {event["data"]["tier"] for event in events} == {"best"}
        alert = receiver.events["budget"][0]
        assert (alert["type"], alert["data"]["share"]) == ("budget.reached", 0.5)
        assert alerts == [0.5]
        # Three refusals of four events; a repetition has the id of the first.
        assert len(receiver.ids) >= 7
        assert len({*receiver.ids}) == 4


async def test_an_event_is_not_lost_with_the_process_that_took_it(
    billed: tuple[RedisJobStore, RedisOutbox],
) -> None:
    store, outbox = billed
    job_id = await complete(store, 0.25)
    (taken,) = await outbox.take(10, 0.2)
    assert (taken.id, taken.tries, taken.receiver) == (f"usage_{job_id}", 1, "usage")
    assert await outbox.take(10, 0.2) == []
    await asyncio.sleep(0.21)
    (again,) = await outbox.take(10, 60)
    assert (again.id, again.fields, again.tries) == (taken.id, taken.fields, 2)
    failed, taken_now = (
        Outcome(delivered=False, answer="status 500"),
        Outcome(delivered=True, answer="status 200"),
    )
    assert await outbox.settle(taken, failed, delay=0, give_up=None) == "over", "another process has it now"
    assert await outbox.settle(again, failed, delay=0, give_up=None) == "retried"
    (third,) = await outbox.take(10, 60)
    assert [await outbox.settle(third, taken_now, delay=0, give_up=None) for _ in range(2)] == [
        "delivered",
        "over",
    ]
    assert await outbox.take(10, 60) == []


async def test_what_an_older_version_wrote_is_sent(billed: tuple[RedisJobStore, RedisOutbox]) -> None:
    store, outbox = billed
    await store._client.xadd(store._keys.outbox, {"id": "usage_old", "to": "usage", "event": '{"job":"old"}'})
    (taken,) = await outbox.take(10, 60)
    assert (taken.id, taken.receiver, taken.fields) == ("usage_old", "usage", {"event": '{"job":"old"}'})
    assert await store._client.xlen(store._keys.outbox) == 0


async def test_a_receiver_that_hangs_holds_up_no_other(billed: tuple[RedisJobStore, RedisOutbox]) -> None:
    store, outbox = billed
    alerts: list[float | None] = []
    async with billing_system() as receiver:
        receiver.hanging.add("usage")
        async with delivering(outbox, receiver, 1, alerts):
            for _ in range(6):
                await complete(store, 0.1)
            await receiver.hung(4)
            await complete(store, 1.0)
            (alert,) = await receiver.events_about("budget")
            assert alert["data"]["share"] == 0.5
            assert receiver.at_once == 4, "a receiver gets no more at once"
            receiver.hanging.clear()
            receiver.go_on.set()
            events = await receiver.events_about("usage", 7)
    assert len({event["data"]["job_id"] for event in events}) == 7
