"""Records and events of a version newer and a version older than this one, and workers that do not understand a job."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.domain.events import Completed, Failed, Step
from orchestrator.domain.job import JobState
from orchestrator.domain.preferences import Preferences
from orchestrator.ports import LeaseLost
from stack.redis import RedisServer
from tests.contract.conftest import LEASE, prefixes
from tests.support.jobs import a_job, claim, collect, position, result, take_over

OLD, NEW = "old", "new"
"""Kinds of workers."""


async def newer(store: RedisJobStore, client: redis.asyncio.Redis, **fields: Any) -> str:
    """A job that a newer version submitted: its id. ``fields`` of the record are not as this version writes them."""
    job = a_job(preferences=Preferences(seed=0))
    await store.submit(job)
    encoded: dict[Any, Any] = {
        name: value if isinstance(value, str) else msgspec.json.encode(value)
        for name, value in fields.items()
    }
    await client.hset(store._keys.job + job.id, mapping=encoded)
    return job.id


NEWER = [
    {"preferences": {"seed": 0, "lighting": "evening"}},
    {"preferences": {"seed": 0, "steps": "auto"}},
    {"preferences": ["a list"]},
    {"style_words": {"picture": "a reference"}},
    {"style_words": ["a list"]},
    {"requires": ["masks"]},
    {"requires": {"masks": 2}},
    {"requires": [{"masks": 2}]},
]


@pytest.mark.parametrize("fields", NEWER)
async def test_what_a_worker_does_not_understand_it_leaves_to_others(
    store: RedisJobStore, client: redis.asyncio.Redis, fields: dict[str, Any]
) -> None:
    newer_id = await newer(store, client, **fields)
    sound = a_job()
    await store.submit(sound)
    lease = await claim(store, "w", kind=OLD)
    assert lease.job.id == sound.id, "it does not hold up the others"
    for _ in range(5):
        assert await store.claim("w2", 0.01, OLD) is None
    left = await store.get(newer_id)
    assert (left.status, left.attempts) == (JobState.QUEUED, 0)
    assert await position(store, newer_id) == 0
    stats = await store.stats()
    assert (stats.queued, stats.running, stats.declined, stats.waiting) == (0, 1, 1, 1)
    events = await client.xlen(store._keys.events + newer_id)
    assert events == 3, "it was begun and given back once, by all of a kind together"


async def test_a_worker_of_another_kind_takes_it_in_its_old_place(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """The newer worker is this one here: what it gets is what another had declined."""
    first, later = a_job(style="gothic"), a_job()
    await store.submit(first)
    await store.submit(later)
    lease = await claim(store, "w", kind=OLD)
    await store.decline(lease, ["style gothic"])
    await store.decline(lease, ["style gothic"])
    with pytest.raises(LeaseLost):
        await store.renew(lease)
    taken = await claim(store, "v2", kind=NEW)
    assert (taken.job.id, taken.attempt, taken.job.attempts) == (first.id, 2, 1)
    for _ in range(6):  # the newer worker dies, the other lives
        await asyncio.sleep(LEASE / 4)
        await store.sweep("w")
    assert (await store.get(first.id)).status == JobState.ANALYZING
    other = await claim(store, "w", kind=OLD)
    assert other.job.id == later.id, "a dead worker's job is not for those who declined it either"
    again = await take_over(store, "v2", kind=NEW)
    assert (again.job.id, again.job.attempts) == (first.id, 2)
    await store.finish(again, Completed(result=result()))
    assert (await store.stats()).declined == 0


async def test_a_declined_job_can_be_cancelled(store: RedisJobStore, client: redis.asyncio.Redis) -> None:
    job_id = await newer(store, client, requires=["masks"])
    assert await store.claim("w", 0.01, OLD) is None
    assert (await store.cancel(job_id)).status == JobState.CANCELLED
    assert (await store.stats()).waiting == 0
    assert await store.claim("v2", 0.01, NEW) is None


async def test_what_no_worker_understands_fails_in_the_end(
    server: RedisServer, client: redis.asyncio.Redis
) -> None:
    store = RedisJobStore(server.url, prefix=next(prefixes), lease_seconds=LEASE, decline_seconds=0.3)
    job_id = await newer(store, client, requires=["masks"])
    assert await store.claim("w", 0.01, OLD) is None
    assert await store.sweep("w") == 0
    await asyncio.sleep(0.4)
    assert await store.sweep("w") == 1
    failed = await store.get(job_id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobState.FAILED, "not_understood")
    assert (await store.stats()).dead_letters == 1
    assert await store.to_clean() == [job_id]
    await store.aclose()


async def test_many_declined_jobs_hold_up_no_worker(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    ids = [await newer(store, client, requires=["masks"]) for _ in range(30)]
    sound = a_job()
    await store.submit(sound)
    lease = await claim(store, "w", kind=OLD)
    assert lease.job.id == sound.id
    assert (await store.stats()).declined == len(ids)


async def test_a_newer_versions_record_can_be_read(store: RedisJobStore, client: redis.asyncio.Redis) -> None:
    """By the API, which shows it, and by the worker that runs it."""
    job_id = await newer(
        store, client, preferences={"seed": 7, "lighting": "evening"}, mood="cosy", status="upscaling"
    )
    job = await store.get(job_id)
    assert (job.preferences.seed, job.status) == (7, JobState.TRANSFORMING)
    done = {"transformed_key": "a", "thumbnail_key": "b", "metadata": {}, "video_key": "c"}
    error = {"code": "x", "detail": "y", "hint": "z"}
    await client.hset(
        store._keys.job + job_id,
        mapping={"result": msgspec.json.encode(done), "error": msgspec.json.encode(error)},
    )
    job = await store.get(job_id)
    assert job.result is not None
    assert job.error is not None
    assert (job.result.transformed_key, job.error.code) == ("a", "x")


async def test_an_older_versions_record_can_be_read_and_run(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """All that the first version wrote, and no more."""
    job = a_job(preferences=Preferences())
    await store.submit(job)
    first = {
        "id", "style", "preferences", "original_key", "created_at", "updated_at", "status", "progress",
        "message",
    }  # fmt: skip
    first |= {"attempts", "cancel_requested", "entry", "order", "begun", "last_seq"}
    written = set(await client.hkeys(store._keys.job + job.id))
    if later := written - first:
        await client.hdel(store._keys.job + job.id, *later)
    every = msgspec.json.encode(
        {
            "keep_furniture": False, "color_palette": ["sand"], "prompt": "", "negative_prompt": "",
            "seed": None, "steps": None, "strength": None, "guidance_scale": None, "preview_every": 0,
        }
    )  # fmt: skip
    await client.hset(store._keys.job + job.id, "preferences", every)
    lease = await claim(store)
    assert lease.job.preferences == Preferences(color_palette=["sand"])
    await store.publish(lease, 1, Step(step=1, of=1, progress=0.5))
    await store.finish(lease, Completed(result=result()))
    assert (await store.get(job.id)).status == JobState.COMPLETED


async def test_a_record_says_only_what_the_user_asked_for(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    """So that an older worker can run a job that asks for nothing new."""
    job = a_job(preferences=Preferences(seed=3))
    await store.submit(job)
    assert await client.hget(store._keys.job + job.id, "preferences") == '{"seed":3}'


async def test_watchers_skip_events_that_they_do_not_understand(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    lease = await claim(store, job=a_job())
    key = store._keys.events + lease.job.id
    watching = asyncio.create_task(collect(store, lease.job.id))
    await asyncio.sleep(0.1)
    await store.publish(lease, 1, Step(step=1, of=2, progress=0.4))
    await client.xadd(key, {"event": '{"type":"mask","area":0.5,"progress":0.5}'})
    await client.xadd(key, {"event": '{"type":"step","step":"two","progress":0.5}'})
    await client.xadd(
        key, {"event": '{"type":"status","status":"upscaling","progress":0.5,"message":"Enlarging"}'}
    )
    await store.publish(lease, 2, Step(step=2, of=2, progress=0.9))
    await store.finish(lease, Completed(result=result()))
    live = await asyncio.wait_for(watching, 5)
    assert live == await collect(store, lease.job.id)
    kinds = [type(record.event).__name__ for record in live[2:]]
    assert kinds == ["Step", "StatusChanged", "Step", "Completed"]
    assert live[3].event.message == "Enlarging"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["preferences", "requires"])
async def test_a_damaged_record_fails_its_job_and_can_still_be_looked_at(
    store: RedisJobStore, client: redis.asyncio.Redis, name: str
) -> None:
    job_id = await newer(store, client, **{name: "{"})
    assert (await store.get(job_id)).status == JobState.QUEUED
    await store.submit(sound := a_job())
    assert (await claim(store)).job.id == sound.id, "it holds up no other job"
    assert (await store.get(job_id)).status == JobState.FAILED
    last = (await collect(store, job_id))[-1].event
    assert isinstance(last, Failed)
    assert last.error.code == "broken_record"
