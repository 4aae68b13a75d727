"""Webhooks: what ends a job writes an event for each endpoint that wants it, and it arrives, whatever receivers do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from orchestrator.adapters.redis import (
    RedisEndpoints,
    RedisErrands,
    RedisJobStore,
    RedisKeyStore,
    RedisOutbox,
)
from orchestrator.adapters.storage.local import LocalStorage
from orchestrator.adapters.storage.signing import UrlSigner
from orchestrator.api.responses.presenters import Presenter
from orchestrator.domain.events import Cancelled, Completed, Failed
from orchestrator.domain.job import JobError, JobResult
from orchestrator.domain.keeping import Times
from orchestrator.domain.keys import ADMINISTRATOR, Caller, Scope, caller_of
from orchestrator.domain.webhooks import ENDS, DisableReason, Endpoint, HookEvent
from orchestrator.egress.guarded import Guarded
from orchestrator.ports import Delivery, EndpointDisabled, EndpointNotFound, Outcome, TooManyEndpoints
from orchestrator.services.collages import Collages
from orchestrator.services.keys import KeyService
from orchestrator.services.notifying.deliveries import Deliveries, retry_after
from orchestrator.services.notifying.hook_events import HookEvents
from orchestrator.services.notifying.operator_events import OperatorEvents
from orchestrator.services.notifying.webhooks import WebhookService
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.hook_receiver import CLOSE, DRIP, HANG, OK, HookReceiver, hook_receiver, status
from tests.support.jobs import a_job, claim
from tests.support.trees import submit_tree

LOOPBACK = [ip_network("127.0.0.0/8")]


class Bench:
    """Everything that webhooks need, with a key and its caller."""

    def __init__(self, server: RedisServer, folder: Path, guarded: Guarded) -> None:
        prefix = next(prefixes)
        self.store = RedisJobStore(server.url, prefix=prefix)
        self.outbox = RedisOutbox(server.url, prefix=prefix)
        self.endpoints = RedisEndpoints(server.url, prefix=prefix)
        self.key_store = RedisKeyStore(server.url, prefix=prefix)
        self.keys = KeyService(self.key_store)
        self.hooks = WebhookService(self.endpoints, guarded)
        signer = UrlSigner(b"k" * 32, "http://here")
        storage = LocalStorage(folder, signer)
        collages = Collages(self.store, RedisErrands(server.url, prefix=prefix), str.title)
        presenter = Presenter(storage, collages, "http://here", 60, signer, Times(record=60))
        self.sender = HookEvents(guarded, self.key_store, presenter.result, "http://here", patience=0.5)
        self.caller = Caller(owner="", scopes=frozenset())

    async def key(self) -> Caller:
        return caller_of((await self.keys.create("a shop", [Scope.TRANSFORM, Scope.READ])).key)

    async def end(self, *, failed: bool = False, owner: str | None = None) -> str:
        await self.store.submit(job := a_job(owner=self.caller.owner if owner is None else owner))
        lease = await claim(self.store)
        if failed:
            error = JobError(code="unavailable", detail="10.0.0.1 refused")
            await self.store.finish(lease, Failed(error=error))
        else:
            result = JobResult(transformed_key="t.jpg", thumbnail_key="s.jpg", metadata={"seed": 7})
            await self.store.finish(lease, Completed(result=result))
        return job.id

    @contextlib.asynccontextmanager
    async def delivering(self, processes: int = 1, give_up: float = 3600) -> AsyncIterator[None]:
        async with OperatorEvents({}, b"", "EUR") as operator:
            made = [
                Deliveries(
                    self.outbox, operator, self.sender, patience=0.02, pause=0.01, lease=5, give_up=give_up
                )
                for _ in range(processes)
            ]
            tasks = [asyncio.create_task(each.run()) for each in made]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def until_settled(self, endpoint: Endpoint, count: int) -> list[Delivery]:
        """Its deliveries, once so many have arrived."""
        async with asyncio.timeout(20):
            while True:
                shown = await self.hooks.deliveries(self.caller, endpoint.id, 100)
                if sum(each.outcome == "delivered" for each in shown) >= count:
                    return shown
                await asyncio.sleep(0.02)

    async def until_disabled(self, endpoint: Endpoint) -> Endpoint:
        async with asyncio.timeout(20):
            while (found := await self.hooks.get(self.caller, endpoint.id)).disabled is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
async def bench(server: RedisServer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Guarded(exceptions=LOOPBACK) as guarded:
        made = Bench(server, tmp_path, guarded)
        made.caller = await made.key()
        yield made
        for each in (made.store, made.outbox, made.endpoints, made.key_store):
            await each.aclose()


@pytest.fixture
async def receiver() -> AsyncIterator[HookReceiver]:
    async with hook_receiver() as running:
        yield running


async def test_the_ends_of_jobs_are_told(bench: Bench, receiver: HookReceiver) -> None:
    made = await bench.hooks.create(bench.caller, receiver.url("/all"))
    failures = await bench.hooks.create(bench.caller, receiver.url("/failures"), [HookEvent.FAILED])
    started = await bench.hooks.create(bench.caller, receiver.url("/started"), [HookEvent.STARTED])
    done, failed = await bench.end(), await bench.end(failed=True)
    await bench.store.submit(waiting := a_job(owner=bench.caller.owner))
    await bench.store.cancel(waiting.id)
    await bench.end(owner="another")
    async with bench.delivering(processes=2):
        await receiver.until("/all", 3)
        await receiver.until("/failures", 1)
        await receiver.until("/started", 2)
        shown = await bench.until_settled(made, 3)
    by_job = {event["data"]["job_id"]: event for event in receiver.events["/all"]}
    assert set(by_job) == {done, failed, waiting.id}, "of the owner's jobs alone"
    assert by_job[done]["type"] == "job.completed"
    result = by_job[done]["data"]["result"]
    assert result["metadata"] == {"seed": 7}
    assert result["page_url"].startswith("http://here/pages/")
    assert result["transformed_url"].startswith("http://here/files/t.jpg?")
    assert by_job[failed]["data"]["error"]["detail"].startswith("A part of the service"), "no addresses"
    assert (by_job[waiting.id]["type"], by_job[waiting.id]["data"]["status"]) == (
        "job.cancelled",
        "cancelled",
    )
    assert [event["data"]["job_id"] for event in receiver.events["/failures"]] == [failed]
    assert {event["type"] for event in receiver.events["/started"]} == {"job.started"}
    with pytest.raises(Exception, match="signature"):
        receiver.verify(failures.secrets[0].text)
    await bench.hooks.delete(bench.caller, started.id)
    assert [(each.outcome, each.answer, each.tries) for each in shown] == [("delivered", "status 200", 1)] * 3


async def test_of_several_pictures_each_is_told_once_and_then_their_parent(
    bench: Bench, receiver: HookReceiver
) -> None:
    await bench.hooks.create(bench.caller, receiver.url("/all"))
    parent, children = await submit_tree(bench.store, 3, fields={"owner": bench.caller.owner})
    for _ in children[:2]:
        result = JobResult(transformed_key="t.jpg", thumbnail_key="s.jpg", metadata={})
        await bench.store.finish(await claim(bench.store), Completed(result=result))
    await bench.store.cancel(children[2].id)
    async with bench.delivering():
        await receiver.until("/all", 4)
    told = {event["data"]["job_id"]: event for event in receiver.events["/all"]}
    assert {each: event["data"].get("parent") for each, event in told.items()} == {
        parent.id: None,
        **{child.id: parent.id for child in children},
    }
    ends = ["completed", "completed", "cancelled"]
    assert [told[child.id]["type"] for child in children] == [f"job.{end}" for end in ends]
    whole = told[parent.id]
    assert (whole["type"], "result" in whole["data"]) == ("job.completed", False)
    assert whole["data"]["children"] == [
        {"job_id": child.id, "status": end} for child, end in zip(children, ends, strict=True)
    ]


async def test_whatever_a_receiver_does_each_event_arrives_and_is_known_by_its_id(
    bench: Bench, receiver: HookReceiver
) -> None:
    made = await bench.hooks.create(bench.caller, receiver.url("/wild"))
    receiver.answers["/wild"] = [
        status(500), status(302, f"Location: {receiver.url('/elsewhere')}"), CLOSE, b"I am no HTTP\r\n\r\n",
        HANG, DRIP, status(429, "Retry-After: 0"), b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 500_000, status(301, "Location: file:///etc/passwd"), status(404), OK,
        CLOSE, status(503, "Retry-After: soon"), status(199), HANG,
    ]  # fmt: skip
    jobs = {await bench.end() for _ in range(8)}
    async with bench.delivering(processes=3):
        await receiver.until("/wild", 8)
    assert {event["data"]["job_id"] for event in receiver.events["/wild"]} == jobs
    assert len({*receiver.ids["/wild"]}) == 8, "one id for each event"
    assert len(receiver.ids["/wild"]) >= 8 + 15 - 3
    receiver.verify(made.secrets[0].text)
    assert not receiver.ids["/elsewhere"], "redirects are not followed"
    bodies: dict[str, set[str]] = {}
    for name, event in zip(receiver.ids["/wild"], receiver.events["/wild"], strict=True):
        bodies.setdefault(name, set()).add(f"{event['type']} {event['timestamp']} {event['data']['job_id']}")
    assert all(len(each) == 1 for each in bodies.values()), "a repetition says the same"


async def test_an_endpoint_that_hangs_holds_up_no_other(bench: Bench, receiver: HookReceiver) -> None:
    receiver.answers["/hangs"] = [HANG] * 100
    await bench.hooks.create(bench.caller, receiver.url("/hangs"))
    await bench.hooks.create(bench.caller, receiver.url("/fine"))
    for _ in range(12):
        await bench.end()
    async with bench.delivering():
        await receiver.until("/fine", 12)
    assert len(receiver.ids["/hangs"]) < 12


async def test_an_endpoint_that_is_gone_is_disabled(bench: Bench, receiver: HookReceiver) -> None:
    made = await bench.hooks.create(bench.caller, receiver.url("/gone"))
    receiver.answers["/gone"] = [status(410)]
    await bench.end()
    async with bench.delivering():
        found = await bench.until_disabled(made)
        assert found.disabled is not None
        assert found.disabled.reason is DisableReason.GONE
        await bench.end()
        with pytest.raises(EndpointDisabled):
            await bench.hooks.test(bench.caller, made.id)
        again = await bench.hooks.change(bench.caller, made.id, {}, enabled=True)
        assert again.disabled is None
        event = await bench.hooks.test(bench.caller, made.id)
        await receiver.until("/gone", 1)
        assert receiver.ids["/gone"][1:] == [event]
        assert receiver.events["/gone"][1]["type"] == "webhook.test"


async def test_an_endpoint_that_never_answers_is_disabled_after_a_day(
    bench: Bench, receiver: HookReceiver
) -> None:
    dead = await bench.hooks.create(bench.caller, receiver.url("/dead"))
    receiver.answers["/dead"] = [status(500)] * 1000
    await bench.end()
    async with bench.delivering(give_up=0.5):
        found = await bench.until_disabled(dead)
    assert found.disabled is not None
    assert found.disabled.reason is DisableReason.FAILING
    (shown,) = await bench.hooks.deliveries(bench.caller, dead.id, 10)
    assert (shown.outcome, shown.answer) == ("given_up", "status 500")
    assert shown.ended is not None
    assert shown.ended - shown.written >= 0.5, "it was tried until the end"
    assert shown.tries >= 2


async def test_one_event_that_is_refused_disables_nothing(bench: Bench) -> None:
    made = await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    for _ in range(2):
        await bench.end()
    first, second = await bench.outbox.take(10, 60)
    yes, no = Outcome(delivered=True, answer="status 200"), Outcome(delivered=False, answer="status 422")
    assert await bench.outbox.settle(second, yes, delay=0, give_up=60) == "delivered"
    assert await bench.outbox.settle(first, no, delay=0, give_up=0) == "given_up"
    assert (await bench.hooks.get(bench.caller, made.id)).disabled is None


async def test_a_receiver_that_asks_for_rest_gets_it(bench: Bench) -> None:
    await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    for _ in range(2):
        await bench.end()
    first, second = await bench.outbox.take(10, 60)
    busy = Outcome(delivered=False, answer="status 429", retry_after=60)
    await bench.outbox.settle(first, busy, delay=60, give_up=3600)
    failed = Outcome(delivered=False, answer="status 500")
    await bench.outbox.settle(second, failed, delay=0, give_up=3600)
    await bench.end()
    assert await bench.outbox.take(10, 60) == [], "nothing is sent to it meanwhile"


async def test_a_failing_endpoint_is_tried_one_by_one(bench: Bench) -> None:
    await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    for _ in range(7):
        await bench.end()
    taken = await bench.outbox.take(10, 60)
    assert len(taken) == 4
    assert await bench.outbox.take(10, 60) == [], "in all processes together"
    for each in taken:
        no = Outcome(delivered=False, answer="status 500")
        await bench.outbox.settle(each, no, delay=60, give_up=3600)
    (probe,) = await bench.outbox.take(10, 60)
    yes = Outcome(delivered=True, answer="status 200")
    await bench.outbox.settle(probe, yes, delay=0, give_up=3600)
    assert len(await bench.outbox.take(10, 60)) == 2


async def test_two_secrets_sign_after_a_rotation(bench: Bench, receiver: HookReceiver) -> None:
    made = await bench.hooks.create(bench.caller, receiver.url("/x"))
    rotated = await bench.hooks.rotate(bench.caller, made.id)
    async with bench.delivering():
        await bench.hooks.test(bench.caller, made.id)
        await receiver.until("/x", 1)
        for secret in (made.secrets[0].text, rotated.secrets[0].text):
            receiver.verify(secret)
        newest = await bench.hooks.rotate(bench.caller, made.id, grace=0)
        await bench.hooks.test(bench.caller, made.id)
        await receiver.until("/x", 2)
    assert len(newest.secrets) == 1
    assert len(receiver.headers["/x"][1]["webhook-signature"].split(" ")) == 1


async def test_an_ended_key_gets_nothing(bench: Bench, receiver: HookReceiver) -> None:
    made = await bench.hooks.create(bench.caller, receiver.url("/x"))
    await bench.keys.revoke(bench.caller.owner)
    await bench.end()
    async with bench.delivering():
        found = await bench.until_disabled(made)
    assert found.disabled is not None
    assert found.disabled.reason is DisableReason.KEY_ENDED
    assert not receiver.ids["/x"]


async def test_endpoints_are_their_owners(bench: Bench) -> None:
    made = await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    other = await bench.key()
    for call in (
        bench.hooks.get(other, made.id),
        bench.hooks.delete(other, made.id),
        bench.hooks.test(other, made.id),
        bench.hooks.rotate(other, made.id),
        bench.hooks.deliveries(other, made.id, 1),
        bench.hooks.change(other, made.id, {}, enabled=False),
        bench.hooks.get(ADMINISTRATOR, made.id),
    ):
        with pytest.raises(EndpointNotFound):
            await call
    for _ in range(9):
        await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    with pytest.raises(TooManyEndpoints):
        await bench.hooks.create(bench.caller, "http://127.0.0.1/x")
    assert len(await bench.hooks.all(bench.caller)) == 10
    assert (await bench.hooks.all(bench.caller))[0] == made
    await bench.hooks.change(bench.caller, made.id, {}, enabled=False)
    await bench.hooks.change(bench.caller, made.id, {"events": [HookEvent.FAILED]}, enabled=None)
    await bench.end(failed=True)
    assert made.id not in {each.receiver for each in await bench.outbox.take(100, 60)}, "still disabled"
    await bench.hooks.delete(bench.caller, made.id)
    assert len(await bench.hooks.all(bench.caller)) == 9


async def test_a_replayed_job_ends_with_another_id(bench: Bench) -> None:
    await bench.hooks.create(bench.caller, "http://127.0.0.1/x", ENDS)
    job_id = await bench.end(failed=True)
    (first,) = await bench.outbox.take(10, 60)
    await bench.store._client.delete(bench.store._keys.job + job_id)
    await bench.store.submit(a_job(job_id, owner=bench.caller.owner))
    await bench.store.finish(await claim(bench.store), Cancelled())
    (second,) = await bench.outbox.take(10, 60)
    assert first.id != second.id
    assert first.id.startswith(f"evt_{job_id}_")


def test_retry_after() -> None:
    assert [retry_after(text) for text in (None, "soon", "", "-5")] == [None] * 4
    assert (retry_after("7"), retry_after("999999")) == (7.0, 86400.0)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT") == 86400.0
