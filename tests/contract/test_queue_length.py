"""What KEDA scales by: the length of the queue's stream is the number of jobs that wait or run, in every state."""

from __future__ import annotations

import redis.asyncio

from orchestrator.adapters.redis import RedisJobStore
from orchestrator.adapters.redis.keys import GROUP, Keys
from orchestrator.domain.events import Cancelled, Completed, Failed
from orchestrator.domain.job import JobError
from stack.redis import RedisServer
from tests.contract.conftest import LEASE, prefixes
from tests.support.jobs import a_job, claim, result

BROKEN = JobError(code="model_error", detail="The model broke.")


async def test_the_stream_is_as_long_as_jobs_wait_or_run(
    server: RedisServer, client: redis.asyncio.Redis
) -> None:
    prefix = next(prefixes)
    store = RedisJobStore(server.url, prefix=prefix, lease_seconds=LEASE, job_ttl=60)
    queue = Keys.under(prefix).queue

    async def length() -> int:
        """As KEDA's redis-streams asks for streamLength without a consumerGroup."""
        return int(await client.xlen(queue))

    try:
        assert await length() == 0, "no queue yet: KEDA scales to zero"
        jobs = [a_job() for _ in range(5)]
        for job in jobs:
            await store.submit(job)
        assert await length() == 5
        running = await claim(store)
        assert await length() == 5, "one runs, four wait"
        await store.cancel(jobs[2].id)
        assert await length() == 4
        (group,) = await client.xinfo_groups(queue)
        assert group["name"] == GROUP
        if "lag" in group:  # Redis 7
            assert not group["lag"], "which is why KEDA must not go by the group's lag"
        await store.finish(running, Completed(result=result()))
        assert await length() == 3

        retried = await claim(store)
        await store.retry(retried, BROKEN, 60)
        assert await length() == 3, "one waits for its next attempt"
        released = await claim(store)
        await store.release(released)
        assert await length() == 3, "given back by a worker that stops"
        failed = await claim(store)
        await store.finish(failed, Failed(error=BROKEN))
        assert await length() == 2

        cancelled = await claim(store)
        await store.cancel(cancelled.job.id)
        assert await length() == 2, "its worker has not stopped yet"
        await store.finish(cancelled, Cancelled())
        assert await length() == 1
        await store.cancel(retried.job.id)
        assert await length() == 0
    finally:
        await store.aclose()


async def test_the_last_job_that_runs_keeps_its_machines(
    store: RedisJobStore, client: redis.asyncio.Redis
) -> None:
    lease = await claim(store, job=a_job())
    (queue,) = [key async for key in client.scan_iter("*queue") if await client.xlen(key)]
    (group,) = await client.xinfo_groups(queue)
    assert await client.xlen(queue) == 1
    assert group.get("lag", 0) == 0
    await store.finish(lease, Completed(result=result()))
    assert await client.xlen(queue) == 0
