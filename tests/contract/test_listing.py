"""The contract of JobStore: an owner's list of jobs, and favourites."""

from __future__ import annotations

import asyncio
import itertools
import time

import msgspec
import pytest

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.redis.store import _LOOK_AT
from orchestrator.domain.events import Cancelled, Completed, Failed
from orchestrator.domain.job import Job, JobError, JobState
from orchestrator.ports import JobNotFound, NothingToKeep, Wanted
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.jobs import a_job, claim, result

ALL = Wanted()
_seconds = itertools.count()


def made(seconds: float | None = None, owner: str = "ann", style: str = "modern") -> Job:
    """A job, made a second after the one before it unless said."""
    job = a_job(owner=owner, style=style)
    return msgspec.structs.replace(job, created_at=1.7e9 + (next(_seconds) if seconds is None else seconds))


async def submitted(store: RedisJobStore, count: int, **what: str) -> list[str]:
    jobs = [made(**what) for _ in range(count)]  # type: ignore[arg-type]
    for job in jobs:
        await store.submit(job)
    return [job.id for job in jobs]


async def listed(
    store: RedisJobStore, wanted: Wanted = ALL, owner: str = "ann", limit: int = 100
) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.list_jobs(owner, wanted, after=after, limit=limit)
        assert len(page.jobs) <= limit
        ids += [job.id for job in page.jobs]
        after = page.next
        if after is None:
            return ids


async def test_jobs_are_listed_for_their_owner_the_newest_first(store: RedisJobStore) -> None:
    ids = await submitted(store, 5)
    theirs = await submitted(store, 2, owner="bob")
    assert await listed(store) == ids[::-1] == await listed(store, limit=2)
    assert await listed(store, owner="bob") == theirs[::-1]
    assert await listed(store, owner="") == []
    page = await store.list_jobs("ann", ALL, limit=5)
    assert page.next is None, "there are no more"
    assert page.jobs[0] == await store.get(ids[-1])


async def test_pages_stay_what_they_are_while_jobs_come_and_go(store: RedisJobStore) -> None:
    ids = await submitted(store, 6)
    first = await store.list_jobs("ann", ALL, limit=2)
    await submitted(store, 3)
    for job_id in (ids[5], ids[4], ids[1]):
        await store.cancel(job_id)
        await store.erase(job_id)
    second = await store.list_jobs("ann", ALL, after=first.next, limit=2)
    assert [job.id for job in second.jobs] == [ids[3], ids[2]], "the place of an erased job is still a place"
    third = await store.list_jobs("ann", ALL, after=second.next, limit=2)
    assert ([job.id for job in third.jobs], third.next) == ([ids[0]], None)


async def test_jobs_of_one_moment_are_all_listed(store: RedisJobStore) -> None:
    jobs = [made(seconds=5000.25) for _ in range(7)]
    for job in jobs:
        await store.submit(job)
    assert await listed(store, limit=3) == sorted((job.id for job in jobs), reverse=True)


async def test_what_is_wanted(store: RedisJobStore) -> None:
    first, second, third, fourth = [made(seconds, style=style) for seconds, style in zip(
        (9000, 9001, 9002, 9003), ("boho", "modern", "boho", "modern"), strict=True)]  # fmt: skip
    for job in (first, second, third, fourth):
        await store.submit(job)
    await store.finish(await claim(store), Completed(result=result()))
    await store.cancel(third.id)
    await store.set_favourite(first.id, True)
    begin = first.created_at
    for wanted, found in (
        (Wanted(style="boho"), [third, first]),
        (Wanted(states=frozenset({JobState.QUEUED})), [fourth, second]),
        (Wanted(states=frozenset({JobState.COMPLETED, JobState.CANCELLED})), [third, first]),
        (Wanted(favourite=True), [first]),
        (Wanted(favourite=False), [fourth, third, second]),
        (Wanted(favourite=True, style="modern"), []),
        (Wanted(created_from=begin + 1), [fourth, third, second]),
        (Wanted(created_until=begin + 2), [second, first]),
        (Wanted(created_from=begin + 1, created_until=begin + 2), [second]),
        (Wanted(created_from=begin + 9), []),
    ):
        assert await listed(store, wanted, limit=1) == [job.id for job in found], wanted
    # A page that begins after the times that are wanted is one of them nevertheless.
    newest = await store.list_jobs("ann", ALL, limit=1)
    page = await store.list_jobs("ann", Wanted(created_until=begin + 1), after=newest.next, limit=5)
    assert [job.id for job in page.jobs] == [first.id]


async def test_one_page_looks_at_so_many_jobs_and_not_at_all(store: RedisJobStore) -> None:
    wanted = made(style="boho")
    await store.submit(wanted)
    await asyncio.gather(*(submitted(store, 30) for _ in range(_LOOK_AT // 30 + 1)))
    began = time.perf_counter()
    page = await store.list_jobs("ann", Wanted(style="boho"), limit=10)
    assert (page.jobs, page.next is None) == ([], False)
    assert time.perf_counter() - began < 2.0
    assert await listed(store, Wanted(style="boho")) == [wanted.id]


async def test_who_has_expired_is_not_listed(server: RedisServer) -> None:
    store = RedisJobStore(server.url, prefix=next(prefixes), job_ttl=1)
    client = store._client
    kept, waiting = [(await submitted(store, 1))[0] for _ in range(2)]
    lease = await claim(store)
    await store.set_favourite(kept, True)
    await store.finish(lease, Completed(result=result()))
    ended = (await submitted(store, 3))[:2]
    for job_id in ended:
        await store.cancel(job_id)
    assert len(await listed(store)) == 5
    await asyncio.sleep(1.2)
    # The sweep clears what nobody has listed since, and listing leaves out what it finds.
    assert await client.zcard(f"{store._keys.listed}ann") == 5
    await store.sweep("w")
    assert await client.zcard(f"{store._keys.listed}ann") == 3
    assert await client.zcard(store._keys.expiring) == 0
    assert (await listed(store))[-2:] == [waiting, kept]
    # Unmarked, it goes in its time.
    await store.set_favourite(kept, False)
    await asyncio.sleep(1.2)
    assert kept not in await listed(store)
    assert await client.zcard(f"{store._keys.listed}ann") == 2
    with pytest.raises(JobNotFound):
        await store.get(kept)
    await store.aclose()


async def test_a_favourite_is_marked_in_its_record(store: RedisJobStore) -> None:
    (job_id,) = await submitted(store, 1)
    for _ in range(2):
        assert (await store.set_favourite(job_id, True)).favourite
    assert (await store.get(job_id)).favourite
    for _ in range(2):
        assert not (await store.set_favourite(job_id, False)).favourite
    assert await listed(store, Wanted(favourite=True)) == []
    with pytest.raises(JobNotFound):
        await store.set_favourite("unknown", True)


@pytest.mark.parametrize("outcome", [Failed(error=JobError(code="model_error", detail="x")), Cancelled()])
async def test_without_a_picture_there_is_nothing_to_keep(
    store: RedisJobStore, outcome: Failed | Cancelled
) -> None:
    (job_id,) = await submitted(store, 1)
    await store.set_favourite(job_id, True)
    await store.finish(await claim(store), outcome)
    assert not (await store.get(job_id)).favourite
    assert await listed(store, Wanted(favourite=True)) == []
    assert await store._client.ttl(store._keys.job + job_id) > 0
    with pytest.raises(NothingToKeep):
        await store.set_favourite(job_id, True)


async def test_an_erased_favourite_is_gone(store: RedisJobStore) -> None:
    (job_id,) = await submitted(store, 1)
    await store.finish(await claim(store), Completed(result=result()))
    assert await store._client.ttl(store._keys.job + job_id) > 0
    await store.set_favourite(job_id, True)
    assert await store._client.ttl(store._keys.job + job_id) == -1
    await store.erase(job_id)
    assert await listed(store) == await listed(store, Wanted(favourite=True)) == []
    assert await store._client.zcard(store._keys.expiring) == 0
