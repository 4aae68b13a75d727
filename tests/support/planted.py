"""Plants the past of a service into its Redis: keys, weeks of jobs that ended, failures, dead letters, and jobs that
wait and run. For the page of administrators: its walk, and its pictures in the docs."""

from __future__ import annotations

import itertools
import math
import random
import time

import msgspec

from orchestrator.adapters.redis import RedisJobStore, RedisKeyStore
from orchestrator.domain.events import Cancelled, Completed, Failed, StatusChanged, Step, Terminal
from orchestrator.domain.job import Job, JobError, JobResult, JobState, Priority
from orchestrator.domain.plans import Plan
from orchestrator.domain.preferences import Preferences, Quality
from orchestrator.domain.usage import Admission, Pricing
from orchestrator.ports import Lease
from orchestrator.services.keys import KeyService
from tests.support.clock import Clock
from tests.support.jobs import a_job

PLANS = "[default]\n\n[pro]\npriority = 'high'\n\n[trial]\nrequests_per_minute = 60\n"
PRICE, CURRENCY, BUDGET = 1.2, "EUR", 150.0
"""An hour of the models' time, and what a month may cost."""
ENVIRONMENT = {
    "REROOM_GPU_HOUR_PRICE": str(PRICE), "REROOM_CURRENCY": CURRENCY, "REROOM_MONTHLY_BUDGET": str(BUDGET),
}  # fmt: skip
"""With which the API is to run."""
STYLES = ("scandinavian", "modern", "boho", "industrial", "japandi")
QUALITIES: tuple[Quality | None, ...] = (None, "draft", "best", None)
GIVEN_UP = JobError(code="model_error", detail="The denoiser's process ended while it computed step 7 of 20.")
ERRORS = (
    JobError(code="model_error", detail="The denoiser returned values that are no numbers (step 3 of 20)."),
    JobError(code="invalid_request", detail="solver dpmpp_2m_karras: this release was made for ddim and euler alone."),
    JobError(code="structure_lost", detail="The picture keeps 0.41 of the room; at least 0.6 was asked for."),
    JobError(code="unavailable", detail="no Triton answered for 60 s"),
)  # fmt: skip
FAILS_EVERY, CANCELLED_EVERY = 13, 19
DAY = 86400


class Planted(msgspec.Struct, frozen=True):
    """What is there afterwards, for who looks for it."""

    phone_id: str
    """The key that uses most."""
    running: str
    """The id of a job that runs for ever: its worker does nothing else."""
    letters: int


async def plant(
    redis_url: str, prefix: str, *, days: int = 14, jobs_a_day: int = 8, now: bool = True
) -> Planted:
    """Everything ends just before now; each job's photo is missing. ``now``: some jobs wait, and one runs."""
    clock, chance, numbers = Clock(time.time() - days * DAY), random.Random(5), itertools.count()
    pricing = Pricing(price=round(PRICE * 1e6), currency=CURRENCY)
    store = RedisJobStore(
        redis_url, prefix=prefix, lease_seconds=600, letters_ttl=DAY, pricing=pricing, clock=clock
    )
    key_store = RedisKeyStore(redis_url, prefix=prefix)
    try:
        phone_id, *others = await _keys(KeyService(key_store, clock=clock))
        began = clock.now
        for day in range(days):
            # A service that grows, with quiet weekends.
            count = round(jobs_a_day * (1 + day / days) * (0.5 if day % 7 > 4 else 1.0))
            for number in range(count):
                clock.now = began + day * DAY + (number + 0.5) * DAY / count
                owner = chance.choice([phone_id, phone_id, *others, ""])
                await _ended(store, clock, chance, owner, next(numbers))
        clock.now = time.time() - 900
        for _ in range(3):
            await _given_up(store, clock, phone_id)
            clock.now += 200
        if not now:
            return Planted(phone_id, "", 3)
        clock.now = time.time() - 20
        for number in range(6):
            await _submit(
                store,
                clock,
                chance.choice([phone_id, *others]),
                quality=QUALITIES[number % 4],
                high=number == 3,
            )
        lease = await _claim(store, "gpu-host-1-4711-a1b2c3d4")
        await store.publish(
            lease, 1, StatusChanged(status=JobState.TRANSFORMING, progress=0.2, message="Restyling the room")
        )
        await store.publish(lease, 2, Step(step=9, of=20, progress=0.45))
        clock.now = time.time()
        await store.renew(lease)
        return Planted(phone_id, lease.job.id, 3)
    finally:
        await store.aclose()
        await key_store.aclose()


async def _keys(keys: KeyService) -> list[str]:
    """The ids of those that may be used."""
    phone = await keys.create("iPhone app", ["transform", "read"], plan="pro")  # type: ignore[list-item]
    shop = await keys.create("Furniture shop", ["transform", "read"])  # type: ignore[list-item]
    trial = await keys.create("Trial of an agency", ["read"], plan="trial", expires=time.time() + 9 * DAY)  # type: ignore[list-item]
    await keys.rotate(shop.key.id, grace=60 * DAY)
    lost = await keys.create("Lost laptop", ["admin"])  # type: ignore[list-item]
    await keys.revoke(lost.key.id)
    return [phone.key.id, shop.key.id, trial.key.id]


async def _submit(
    store: RedisJobStore,
    clock: Clock,
    owner: str,
    *,
    quality: Quality | None = None,
    style: str = "modern",
    high: bool = False,
) -> Job:
    job = a_job(style=style, owner=owner, preferences=Preferences(quality=quality))
    priority = Priority.HIGH if high else Priority.NORMAL
    job = msgspec.structs.replace(job, created_at=clock.now, updated_at=clock.now, priority=priority)
    admission = Admission(plan=Plan(), estimated_seconds=30.0, stored_bytes=400_000, stored_objects=1)
    await store.submit(job, admission=admission)
    return job


async def _claim(store: RedisJobStore, worker: str = "gpu-host-0-1234-0badcafe") -> Lease:
    lease = await store.claim(worker, 0.0)
    assert lease is not None
    return lease


async def _ended(store: RedisJobStore, clock: Clock, chance: random.Random, owner: str, number: int) -> None:
    style = chance.choice(STYLES)
    await _submit(store, clock, owner, quality=chance.choice(QUALITIES), style=style)
    clock.now += chance.expovariate(1 / 2)
    lease = await _claim(store)
    seconds = min(90.0, math.exp(chance.gauss(2.6, 0.5)))
    clock.now += seconds
    outcome: Terminal
    if number % FAILS_EVERY == FAILS_EVERY - 1:
        outcome = Failed(error=ERRORS[number // FAILS_EVERY % len(ERRORS)])
    elif number % CANCELLED_EVERY == CANCELLED_EVERY - 1:
        outcome = Cancelled()
    else:
        told = {"gpu_seconds": seconds * 20, "seed": 7}
        made = JobResult(transformed_key="t.jpg", thumbnail_key="s.jpg", metadata=told, stored_bytes=900_000)
        outcome = Completed(result=made)
    await store.finish(lease, outcome)


async def _given_up(store: RedisJobStore, clock: Clock, owner: str) -> None:
    await _submit(store, clock, owner)
    lease = await _claim(store)
    while await store.retry(lease, GIVEN_UP, 0):
        clock.now += 5
        lease = await _claim(store)
