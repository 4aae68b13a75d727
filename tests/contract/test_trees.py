"""Jobs that were submitted together: what a parent knows of its children, whatever happens to them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import (
    Cancelled,
    ChildChanged,
    Completed,
    Failed,
    Preview,
    StatusChanged,
    Step,
)  # fmt: skip
from orchestrator.domain.job import MAX_DELIVERIES, Job, JobError, JobState, StoredFile
from orchestrator.domain.plans import Plan
from orchestrator.domain.usage import Admission
from orchestrator.ports import (
    JobFinished,
    JobNotFound,
    Lease,
    NothingToKeep,
    QueueFull,
    QuotaExceeded,
    Unavailable,
    Wanted,
)
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock
from tests.support.jobs import a_job, claim, collect, result
from tests.support.trees import a_tree, submit_tree

BROKEN = JobError(code="model_error", detail="The model broke.")


async def states(store: RedisJobStore, parent: str) -> list[JobState]:
    return [child.status for child in (await store.get(parent)).children]


async def finish_all(store: RedisJobStore) -> None:
    while lease := await store.claim("w", 0.01):
        await store.finish(lease, Completed(result=result(lease.job.id)))


async def give_up(store: RedisJobStore, lease: Lease) -> None:
    for _ in range(MAX_DELIVERIES - 1):
        assert await store.retry(lease, BROKEN, 0)
        lease = await claim(store)
    assert not await store.retry(lease, BROKEN, 0)


async def test_a_tree_goes_from_submit_to_completed(timed: RedisJobStore) -> None:
    parent, children = await submit_tree(timed, 2)
    new = await timed.get(parent.id)
    assert (new.status, new.progress, [child.id for child in new.children]) == (
        JobState.QUEUED, 0.0, [child.id for child in children],
    )  # fmt: skip
    assert [(await timed.get(child.id)).parent for child in children] == [parent.id] * 2
    first = await claim(timed)
    assert (first.job.id, first.job.place, first.job.variation) == (children[0].id, 0, 1)
    assert (await timed.get(parent.id)).status == JobState.TRANSFORMING
    await timed.publish(first, 1, Step(step=1, of=2, progress=0.5))
    assert (await timed.get(parent.id)).progress == 0.25
    await timed.finish(first, Completed(result=result()))
    half = await timed.get(parent.id)
    assert (half.status, half.progress) == (JobState.TRANSFORMING, 0.5)
    assert await states(timed, parent.id) == [JobState.COMPLETED, JobState.QUEUED]
    await finish_all(timed)
    done = await timed.get(parent.id)
    assert (done.status, done.progress, done.result) == (JobState.COMPLETED, 1.0, None)
    seen = await collect(timed, parent.id)
    kinds = [each.event.event if isinstance(each.event, ChildChanged) else each.event for each in seen]
    assert [type(each) for each in kinds] == [
        StatusChanged, StatusChanged, StatusChanged, Step, Completed, StatusChanged, Completed, Completed,
    ]  # fmt: skip
    assert [each.event.job_id for each in seen if isinstance(each.event, ChildChanged)] == [
        *[children[0].id] * 3, *[children[1].id] * 2,
    ]  # fmt: skip
    last = (await collect(timed, children[1].id))[-1]
    told = seen[-2].event
    assert isinstance(told, ChildChanged)
    assert (told.seq, told.event, told.place) == (last.seq, last.event, 1)
    assert done.last_seq == seen[-1].seq
    with pytest.raises(JobFinished):
        await timed.cancel(parent.id)


async def test_the_first_goes_ahead_and_the_others_keep_their_places(timed: RedisJobStore) -> None:
    _, children = await submit_tree(timed, 3, hold=True)
    await timed.submit(later := a_job())
    assert (await timed.stats()).queued == 4
    first = await claim(timed)
    assert first.job.id == children[0].id
    assert (await claim(timed)).job.id == later.id
    assert await timed.claim("w", 0.01) is None
    await timed.submit(last := a_job())
    assert (await claim(timed)).job.id == last.id
    assert await timed.place(children[1].id) is not None
    waiting = asyncio.create_task(timed.claim("other", 2.0))
    await asyncio.sleep(0.05)
    await timed.finish(first, Completed(result=result()))
    woken = await waiting
    assert woken is not None, "its end wakes a worker up"
    assert woken.job.id == children[1].id
    await timed.submit(a_job())
    assert (await claim(timed)).job.id == children[2].id, "it was submitted before"


@pytest.mark.parametrize("how", ["fails", "given back", "cancelled", "cancelled while it waits", "declined"])
async def test_whatever_becomes_of_the_first_lets_the_others_begin(timed: RedisJobStore, how: str) -> None:
    _, children = await submit_tree(timed, 2, hold=True)
    if how == "cancelled while it waits":
        await timed.cancel(children[0].id)
        assert (await claim(timed)).job.id == children[1].id
        return
    first = await claim(timed, kind="old")
    match how:
        case "fails":
            await timed.finish(first, Failed(error=BROKEN))
        case "given back":
            await timed.retry(first, BROKEN, 60)
        case "cancelled":
            await timed.cancel(children[0].id)
            await timed.finish(first, Cancelled())
        case "declined":
            await timed.decline(first, ["style x"])
    assert (await claim(timed, kind="old")).job.id == children[1].id


async def test_all_are_admitted_or_none(
    store: RedisJobStore, client: redis.asyncio.Redis, server: RedisServer
) -> None:
    await store.submit(a_job())
    parent, children = a_tree(3)
    plan = Plan(concurrent_jobs=2)
    one = Admission(plan=plan, estimated_seconds=3, stored_bytes=10, stored_objects=1)
    refusals: list[tuple[type[Exception], dict[str, Any]]] = [
        (QueueFull, {"max_waiting": 3}), (QuotaExceeded, {"admission": one}),
    ]  # fmt: skip
    for error, limits in refusals:
        with pytest.raises(error):
            await store.submit(parent, children=children, **limits)
    await client.config_set("maxmemory", "300kb")
    with pytest.raises(Unavailable):
        await store.submit(parent, children=children)
    await client.config_set("maxmemory", "0")
    for job in (parent, *children):
        with pytest.raises(JobNotFound):
            await store.get(job.id)
    assert (await store.stats()).queued == 1
    roomy = msgspec.structs.replace(one, plan=Plan(concurrent_jobs=3))
    for _ in range(2):
        await store.submit(parent, children=children, max_waiting=4, admission=roomy)
    assert (await store.stats()).queued == 4
    with pytest.raises(QuotaExceeded):
        await store.submit(a_job(), admission=roomy)


async def test_a_failed_child_fails_alone_and_the_last_one_with_its_parent(timed: RedisJobStore) -> None:
    parent, _ = await submit_tree(timed, 2)
    await timed.finish(await claim(timed), Failed(error=BROKEN))
    assert (await timed.get(parent.id)).status == JobState.TRANSFORMING
    await finish_all(timed)
    done = await timed.get(parent.id)
    assert (done.status, done.error) == (JobState.COMPLETED, None)
    assert await states(timed, parent.id) == [JobState.FAILED, JobState.COMPLETED]
    assert parent.id not in await timed.to_clean()

    parent, _ = await submit_tree(timed, 2)
    for _ in range(2):
        await timed.finish(await claim(timed), Failed(error=BROKEN))
    failed = await timed.get(parent.id)
    assert (failed.status, failed.error, failed.message) == (JobState.FAILED, BROKEN, BROKEN.detail)
    assert (await collect(timed, parent.id))[-1].event == Failed(error=BROKEN)
    assert parent.id in await timed.to_clean()


async def test_a_parent_is_cancelled_with_its_children(timed: RedisJobStore) -> None:
    parent, children = await submit_tree(timed, 4)
    await timed.finish(await claim(timed), Completed(result=result()))
    running = await claim(timed)
    cancelled = await timed.cancel(parent.id)
    assert cancelled.status == JobState.TRANSFORMING
    assert [child.status for child in cancelled.children] == [
        JobState.COMPLETED, JobState.ANALYZING, JobState.CANCELLED, JobState.CANCELLED,
    ]  # fmt: skip
    assert await timed.renew(running), "its worker is told"
    await timed.finish(running, Completed(result=result()))
    done = await timed.get(parent.id)
    assert done.status == JobState.CANCELLED
    assert await states(timed, parent.id) == [JobState.COMPLETED, *[JobState.CANCELLED] * 3]
    assert isinstance((await collect(timed, parent.id))[-1].event, Cancelled)
    assert parent.id not in await timed.to_clean(), "a completed child shows the photo"
    assert (await timed.get(children[0].id)).result

    parent, children = await submit_tree(timed, 2, hold=True)
    assert (await timed.cancel(parent.id)).status == JobState.CANCELLED
    assert await timed.claim("w", 0.01) is None
    assert {parent.id, *(child.id for child in children)} <= {*await timed.to_clean()}


async def test_children_that_are_cancelled_one_by_one_cancel_their_parent(timed: RedisJobStore) -> None:
    parent, children = await submit_tree(timed, 2)
    for child in children:
        assert (await timed.get(parent.id)).status == JobState.QUEUED
        await timed.cancel(child.id)
    assert (await timed.get(parent.id)).status == JobState.CANCELLED


async def test_a_deadline_ends_children(server: RedisServer, clock: Clock) -> None:
    store = RedisJobStore(server.url, prefix=next(prefixes), lease_seconds=600, clock=clock)
    parent, _ = await submit_tree(store, 2, fields={"cancel_after": 50.0})
    await store.finish(await claim(store), Completed(result=result()))
    clock.now += 51
    await store.sweep("w")
    assert (await store.get(parent.id)).status == JobState.COMPLETED
    assert await states(store, parent.id) == [JobState.COMPLETED, JobState.CANCELLED]
    await store.aclose()


async def test_erasing_a_tree_and_its_parts(timed: RedisJobStore, client: redis.asyncio.Redis) -> None:
    plan = Plan(stored_objects=7)
    asked = Admission(plan=plan, estimated_seconds=1, stored_bytes=10, stored_objects=1)
    parent, children = await submit_tree(timed, 3, admission=asked)
    with pytest.raises(ValueError, match="not finished"):
        await timed.erase(parent.id)
    await finish_all(timed)
    with pytest.raises(QuotaExceeded):
        await timed.submit(a_job(), admission=asked)
    whole = await timed.get(parent.id)
    sheet = StoredFile(key="sheet.jpg", bytes=100)
    assert await timed.add_file(whole, "contact_sheet", sheet)
    assert await timed.add_file(whole, "contact_sheet", sheet)
    assert (await timed.get(parent.id)).files == {"contact_sheet": sheet}
    await timed.erase(children[1].id)
    left = await timed.get(parent.id)
    assert ([child.id for child in left.children], left.files) == ([children[0].id, children[2].id], {})
    assert not await timed.add_file(whole, "contact_sheet", sheet), "it shows an erased picture"
    told = [each.event for each in await collect(timed, parent.id)]
    assert {each.job_id for each in told if isinstance(each, ChildChanged)} == {
        children[0].id, children[2].id,
    }  # fmt: skip
    assert isinstance(told[-1], Completed)
    await timed.erase(children[0].id)
    await timed.erase(children[2].id)
    for job in (parent, *children):
        with pytest.raises(JobNotFound):
            await timed.get(job.id)
    await timed.submit(a_job(), admission=msgspec.structs.replace(asked, plan=Plan(stored_objects=3)))

    parent, children = await submit_tree(timed, 2)
    await finish_all(timed)
    await timed.erase(parent.id)
    assert await timed.get_all([parent.id, *(child.id for child in children)]) == []


async def test_a_tree_is_listed_once_and_kept_as_a_favourite(
    server: RedisServer, client: redis.asyncio.Redis
) -> None:
    prefix = next(prefixes)
    store = RedisJobStore(server.url, prefix=prefix, job_ttl=60)

    async def lasts(job_id: str) -> bool:
        return bool(await client.ttl(f"{prefix}job:{job_id}") == -1)

    parent, children = await submit_tree(store, 3)
    await store.finish(await claim(store), Failed(error=BROKEN))
    marked = await store.set_favourite(parent.id, True)
    assert marked.favourite
    await finish_all(store)
    (listed,) = (await store.list_jobs("", Wanted(), limit=9)).jobs
    assert (listed.id, [child.status for child in listed.children]) == (
        parent.id, [JobState.FAILED, JobState.COMPLETED, JobState.COMPLETED],
    )  # fmt: skip
    ids = [parent.id, *(child.id for child in children)]
    assert [(await store.get(each)).favourite for each in ids] == [True, False, True, True]
    assert [await lasts(each) for each in ids] == [True, False, True, True]
    favourites = await store.list_jobs("", Wanted(favourite=True), limit=9)
    assert [job.id for job in favourites.jobs] == [parent.id]
    await store.set_favourite(parent.id, False)
    assert not any([await lasts(each) for each in ids])

    await store.set_favourite(children[1].id, True)
    assert [await lasts(each) for each in ids] == [True, False, True, False], "the parent has the photo"
    await store.erase(children[1].id)
    assert not await lasts(parent.id)
    with pytest.raises(NothingToKeep):
        await store.set_favourite(children[0].id, True)
    await store.erase(parent.id)
    assert (await store.list_jobs("", Wanted(), limit=9)).jobs == []
    await store.aclose()


async def test_a_parent_lasts_no_longer_for_a_favourite_that_ends_without_a_picture(
    store: RedisJobStore,
) -> None:
    async def last(*jobs: Job) -> list[bool]:
        return [await store._client.ttl(store._keys.job + job.id) == -1 for job in jobs]

    parent, children = await submit_tree(store, 2)
    await store.set_favourite(parent.id, True)
    assert (await store.cancel(parent.id)).status == JobState.CANCELLED
    assert not any(await last(parent, *children))

    parent, children = await submit_tree(store, 2)
    await store.finish(await claim(store), Completed(result=result()))
    await store.set_favourite(children[1].id, True)
    await store.finish(await claim(store), Failed(error=BROKEN))
    assert (await store.get(parent.id)).status == JobState.COMPLETED
    assert not any(await last(parent, *children))

    parent, children = await submit_tree(store, 2)
    await store.finish(await claim(store), Failed(error=BROKEN))
    await store.set_favourite(children[1].id, True)
    await store.finish(await claim(store), Completed(result=result()))
    assert await last(parent, *children) == [True, False, True]


async def test_a_replayed_child_opens_its_parent_again(server: RedisServer) -> None:
    store = RedisJobStore(server.url, prefix=next(prefixes), letters_ttl=100)
    parent, children = await submit_tree(store, 2, hold=True)
    await give_up(store, await claim(store))
    lease = await claim(store)
    assert lease.job.id == children[1].id
    await give_up(store, lease)
    assert (await store.get(parent.id)).status == JobState.FAILED
    assert await store.to_clean() == [], "dead letters keep the photo"
    letter = next(each for each in await store.dead_letters() if each.job_id == children[0].id)
    await store.replay(letter)
    again = await store.get(parent.id)
    assert (again.status, again.error) == (JobState.TRANSFORMING, None)
    assert await states(store, parent.id) == [JobState.QUEUED, JobState.FAILED]
    events = store.events(parent.id, "0-0")
    watching = asyncio.create_task(_all(events))
    await store.finish(await claim(store), Completed(result=result()))
    assert isinstance((await watching)[-1], Completed)
    assert (await store.get(parent.id)).status == JobState.COMPLETED
    await store.drop((await store.dead_letters())[0])
    assert await store.to_clean() == [children[1].id]
    await store.aclose()


async def test_a_dropped_letter_lets_the_photo_go_with_the_last(server: RedisServer) -> None:
    store = RedisJobStore(server.url, prefix=next(prefixes), letters_ttl=100)
    parent, _ = await submit_tree(store, 2)
    for _ in range(2):
        await give_up(store, await claim(store))
    one, other = await store.dead_letters()
    await store.drop(one)
    assert parent.id not in await store.to_clean()
    await store.drop(other)
    assert parent.id in await store.to_clean()
    await store.aclose()


async def test_only_the_newest_preview_of_each_child_stays(timed: RedisJobStore) -> None:
    parent, _ = await submit_tree(timed, 2)
    leases = [await claim(timed), await claim(timed)]
    for number in (1, 2):
        for lease in leases:
            await timed.publish(lease, number, Preview(step=number, jpeg="x", progress=0.5))
    await finish_all(timed)
    for lease in leases:
        await timed.finish(lease, Completed(result=result()))
    seen = [each.event for each in await collect(timed, parent.id)]
    kept = [each for each in seen if isinstance(each, ChildChanged) and isinstance(each.event, Preview)]
    assert [(each.place, each.event.step) for each in kept if isinstance(each.event, Preview)] == [
        (0, 2), (1, 2),
    ]  # fmt: skip


async def test_a_parent_catches_up_with_children_that_ended_without_telling_it(
    server: RedisServer, clock: Clock, client: redis.asyncio.Redis
) -> None:
    prefix = next(prefixes)
    store = RedisJobStore(server.url, prefix=prefix, lease_seconds=600, clock=clock)
    parent, children = await submit_tree(store, 2, hold=True)
    await client.hset(f"{prefix}job:{children[0].id}", mapping={"status": "completed"})
    clock.now += 61
    await store.sweep("w")
    assert await states(store, parent.id) == [JobState.COMPLETED, JobState.QUEUED]
    await client.hset(f"{prefix}job:{children[1].id}", mapping={"status": "failed"})
    clock.now += 61
    await store.sweep("w")
    assert (await store.get(parent.id)).status == JobState.COMPLETED
    assert await client.zcard(f"{prefix}trees") == 0
    await store.aclose()


async def _all(events: Any) -> list[Any]:
    return [record.event async for record in events]
