"""Owners take turns: what begins next when several of them have jobs waiting."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import redis.asyncio

from benchmarks.fairness import FAIRNESS_GOAL, measure
from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.redis.record import to_fields
from orchestrator.domain.events import Completed
from orchestrator.domain.job import TERMINAL, Job, JobError, JobState, Priority
from orchestrator.ports import JobFinished, Lease
from stack.redis import RedisServer
from tests.contract.conftest import prefixes
from tests.support.clock import Clock
from tests.support.jobs import a_job, claim, position, result

BROKEN = JobError(code="model_error", detail="The model broke.")


def job_of(owner: str, **fields: Any) -> Job:
    return msgspec.structs.replace(a_job(), owner=owner, **fields)


async def submitted(store: RedisJobStore, owner: str, count: int, **fields: Any) -> list[Job]:
    jobs = [job_of(owner, **fields) for _ in range(count)]
    for job in jobs:
        await store.submit(job)
    return jobs


async def begun(store: RedisJobStore, count: int) -> list[Job]:
    """The next jobs, in the order in which they begin. Each ends before the next begins."""
    jobs = []
    for _ in range(count):
        lease = await claim(store)
        jobs.append(lease.job)
        await store.finish(lease, Completed(result=result()))
    return jobs


async def owners(store: RedisJobStore, count: int) -> str:
    return "".join(job.owner for job in await begun(store, count))


async def test_many_jobs_of_one_owner_do_not_hold_up_another(store: RedisJobStore) -> None:
    many = await submitted(store, "a", 20)
    assert await begun(store, 5)
    few = await submitted(store, "b", 3)
    positions = [await position(store, job.id) for job in few]
    order = [job.id for job in await begun(store, 18)]
    assert [order.index(job.id) for job in few] == positions
    assert max(order.index(job.id) for job in few) <= 6
    assert [job.id for job in many[5:]] == [each for each in order if each not in {job.id for job in few}]


async def test_shares_follow_weights_and_costs(store: RedisJobStore) -> None:
    await submitted(store, "a", 40, weight=3.0)
    await submitted(store, "b", 40)
    await submitted(store, "c", 40, cost=2.0)
    order = await owners(store, 55)
    # In virtual time a job of a is worth a third, one of c two: 6 to 2 to 1.
    assert [order.count(owner) for owner in "abc"] == pytest.approx([37, 12, 6], abs=1)


async def test_no_turns_are_saved_up_and_no_debt_is_forgotten(store: RedisJobStore) -> None:
    await submitted(store, "a", 10)
    assert await owners(store, 10) == "a" * 10
    await submitted(store, "b", 4)
    await submitted(store, "a", 4)
    # a begins where the time is: it pays for its last job, not for the nine before.
    assert await owners(store, 8) == "bababa" + "ba"
    await submitted(store, "c", 1, cost=5.0)
    assert await owners(store, 1) == "c"
    await submitted(store, "c", 1)
    await submitted(store, "b", 5)
    assert (await owners(store, 6)).index("c") >= 4, "a pause of c does not pay for its large job"


async def test_cancelled_jobs_cost_their_owner_nothing(store: RedisJobStore) -> None:
    for job in await submitted(store, "a", 30):
        await store.cancel(job.id)
    await submitted(store, "a", 2)
    await submitted(store, "b", 2)
    assert await owners(store, 4) in ("abab", "baba")


async def test_a_job_that_was_given_back_is_next_and_paid_once(store: RedisJobStore) -> None:
    await submitted(store, "a", 3)
    await submitted(store, "b", 3)
    lease = await claim(store)
    await store.retry(lease, BROKEN, 0)
    assert await position(store, lease.job.id) == 0
    again = await claim(store)
    assert again.job.id == lease.job.id
    assert await owners(store, 5) == "babab"


async def test_high_priority_is_ahead_for_a_while_only(timed: RedisJobStore, clock: Clock) -> None:
    """Within an owner by 20 seconds of submission, before other owners by work of 20."""
    (normal,) = await submitted(timed, "a", 1)
    clock.now += 10
    (high,) = await submitted(timed, "a", 1, priority=Priority.HIGH)
    clock.now += 30
    (late,) = await submitted(timed, "a", 1, priority=Priority.HIGH)
    assert [job.id for job in await begun(timed, 3)] == [high.id, normal.id, late.id]
    await submitted(timed, "h", 30, priority=Priority.HIGH)
    await submitted(timed, "n", 5)
    order = await owners(timed, 35)
    assert order.startswith("h" * 20)
    assert order[:30].count("n") >= 4, "it aged past the high priority"


async def test_who_is_in_a_hurry_does_not_hold_up_newcomers(store: RedisJobStore) -> None:
    """Beyond the bonus: fifteen owners have jobs waiting, one of high priority goes ahead, then somebody new comes."""
    for number in range(15):
        await submitted(store, f"usual-{number:02}", 30)
    await submitted(store, "hurried", 30, priority=Priority.HIGH)
    await begun(store, 60)
    (new,) = await submitted(store, "new", 1)
    before = await position(store, new.id)
    assert before is not None
    assert before <= 2 * 16
    order = [job.id for job in await begun(store, 2 * 16 + 1)]
    assert new.id in order


async def test_positions_are_the_order(store: RedisJobStore) -> None:
    jobs = [*await submitted(store, "a", 9), *await submitted(store, "b", 4, weight=2.0)]
    jobs += await submitted(store, "c", 2)
    predicted = {job.id: await position(store, job.id) for job in jobs}
    assert sorted(predicted.values()) == list(range(15))  # type: ignore[type-var]
    order = [job.id for job in await begun(store, 15)]
    assert [predicted[job_id] for job_id in order] == list(range(15))


async def test_jobs_that_an_older_version_queued_begin(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """Its submissions are entries that nobody has read; its workers read them and know nothing of turns."""
    keys = store._keys
    await submitted(store, "b", 2)
    old = [a_job() for _ in range(4)]
    for number, job in enumerate(old):
        entry = await client.xadd(keys.queue, {"job": job.id})
        await client.zadd(keys.waiting, {job.id: 10 + number})
        fields = to_fields(job)
        record: dict[Any, Any] = dict(zip(fields[::2], fields[1::2], strict=True))
        for later in ("owner", "cost", "weight", "priority"):
            record.pop(later, None)
        await client.hset(
            keys.job + job.id, mapping=record | {"entry": entry, "order": 10 + number, "begun": 0}
        )
    assert await position(store, old[1].id) == 3
    assert (await store.stats()).running == 0
    # One is begun by a worker of the older version, and one cancelled by its API.
    await client.zrem(keys.waiting, old[0].id)
    await client.xreadgroup("workers", "old", {keys.queue: ">"}, count=1)
    gone = await client.hget(keys.job + old[3].id, "entry")
    assert gone is not None
    await client.xdel(keys.queue, gone)
    await client.zrem(keys.waiting, old[3].id)
    assert [job.id for job in await begun(store, 4) if not job.owner] == [old[1].id, old[2].id]
    assert await store.claim("w", 0.01) is None
    assert (await store.stats()).running == 1


async def test_nothing_is_left_of_owners_without_jobs(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    for number in range(30):
        await submitted(store, f"o{number}", 2, cost=random.Random(number).uniform(0.1, 9))
        await begun(store, 1)
    await begun(store, (await store.stats()).waiting)
    await submitted(store, "last", 1, cost=0.5)
    await begun(store, 1)
    keys = store._keys
    assert [await client.exists(key) for key in (keys.turns, keys.hurried, keys.work, keys.waiting)] == [
        0
    ] * 4
    assert not [key async for key in client.scan_iter(f"{keys.ready}*")]
    assert await client.zcard(keys.spent) <= 30


async def test_a_thousand_waiting_jobs_make_no_claim_slow(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """Commands within a script do not grow with the number of waiting jobs, nor do entries that they return."""

    async def calls() -> int:
        before = await commands(client)
        lease = await claim(store)
        await store.finish(lease, Completed(result=result()))
        return await commands(client) - before

    await submitted(store, "a", 3)
    few = await calls()
    await asyncio.gather(*(submitted(store, f"o{number % 50}", 10) for number in range(100)))
    await asyncio.sleep(0.7)  # the parked entries are older than a lease
    assert await calls() <= few + 10


async def commands(client: redis.asyncio.Redis) -> int:
    return sum(each["calls"] for each in (await client.info("commandstats")).values())


async def test_few_jobs_beside_five_hundred_wait_as_if_half_were_theirs(server: RedisServer) -> None:
    """[fairness], with a simulated clock."""
    found = await measure(server.url, schedules=1)
    assert FAIRNESS_GOAL.passes(found["fairness"], FAIRNESS_GOAL.bound), found


@pytest.fixture
async def lasting(server: RedisServer) -> AsyncIterator[RedisJobStore]:
    """Whose leases do not run out."""
    store = RedisJobStore(server.url, prefix=next(prefixes), lease_seconds=600)
    yield store
    await store.aclose()


async def test_the_books_are_right_after_whatever_happens(
    lasting: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """Random calls, each script run twice as after a lost reply: no job is lost, begun twice or counted wrongly."""
    chance = random.Random(11)
    store, once = lasting, lasting._call

    async def twice(name: str, /, **args: Any) -> Any:
        await once(name, **args)
        return await once(name, **args)

    store._call = twice  # type: ignore[assignment]
    jobs: list[str] = []
    leases: list[Lease] = []
    for _ in range(120):
        match chance.choices(["submit", "claim", "finish", "cancel", "back"], weights=[6, 4, 2, 1, 2])[0]:
            case "submit":
                priority = chance.choice([Priority.NORMAL, Priority.HIGH])
                cost, weight = chance.choice([0.3, 1.0, 4.0]), chance.choice([0.5, 1.0])
                job = job_of(chance.choice("abc"), cost=cost, weight=weight, priority=priority)
                await store.submit(job)
                jobs.append(job.id)
            case "claim":
                if lease := await store.claim("w", 0):
                    assert lease.job.id not in {each.job.id for each in leases}
                    leases.append(lease)
            case "finish" if leases:
                await store.finish(leases.pop(chance.randrange(len(leases))), Completed(result=result()))
            case "cancel" if jobs:
                with suppress(JobFinished):
                    await store.cancel(chance.choice(jobs))
            case "back" if leases:
                how = chance.choice(["retry", "postpone", "release", "decline"])
                lease = leases.pop(chance.randrange(len(leases)))
                more: Any = {"release": (), "decline": (["x"],)}.get(how, (BROKEN, chance.choice([0, 600])))
                await getattr(store, how)(lease, *more)
        await assert_books(store, client, jobs, {lease.job.id for lease in leases})


async def assert_books(
    store: RedisJobStore, client: redis.asyncio.Redis, jobs: list[str], running: set[str]
) -> None:
    keys = store._keys
    records: dict[str, Any] = {}
    async with client.pipeline(transaction=False) as together:
        for job_id in jobs:
            together.hmget(keys.job + job_id, "status", "begun", "owner", "cost", "weight")
        if jobs:
            records = dict(zip(jobs, await together.execute(), strict=True))
    states = {job_id: record[0] for job_id, record in records.items()}
    unfinished = {job_id for job_id, state in states.items() if state not in TERMINAL}
    waiting = unfinished - {job_id for job_id, state in states.items() if state != JobState.QUEUED}
    assert await client.xlen(keys.queue) == len(unfinished)
    assert set(await client.zrange(keys.waiting, 0, -1)) == waiting
    assert unfinished - waiting == running
    assert (await store.stats()).running == len(running)
    lines: dict[str, Any] = {owner: set(await client.zrange(keys.ready + owner, 0, -1)) for owner in "abc"}
    fresh = {job_id for job_id in waiting if records[job_id][1] == "0"}
    assert set().union(*lines.values()) == fresh
    turns = [*await client.zrange(keys.turns, 0, -1), *await client.zrange(keys.hurried, 0, -1)]
    assert sorted(turns) == [owner for owner in "abc" if lines[owner]]
    work = {owner: float(each) for owner, each in (await client.hgetall(keys.work)).items()}
    assert work == pytest.approx(
        {
            owner: sum(float(records[job_id][3]) / float(records[job_id][4]) for job_id in line)
            for owner, line in lines.items()
            if line
        }
    )
