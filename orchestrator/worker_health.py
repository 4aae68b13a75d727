"""Whether a worker of this host lives: ``python -m orchestrator.worker_health`` exits with 0, else with 1 and a sentence.

For a container's health check: a container has a host name of its own. The worker listens nowhere, so Redis is asked
whether it was heard of lately. It is while it waits for Triton to come back, and not when its loop hangs.
"""

from __future__ import annotations

import asyncio
import sys

from orchestrator.ports import Unavailable
from orchestrator.redis_jobs import RedisJobStore
from orchestrator.settings import Settings, SettingsError, load_settings
from orchestrator.worker_name import name_prefix


async def worker_lives(settings: Settings) -> bool:
    """Raises Unavailable when Redis does not answer."""
    store = RedisJobStore(
        settings.redis_url, prefix=settings.redis_prefix, lease_seconds=settings.lease_seconds
    )
    try:
        return any(name.startswith(name_prefix()) for name in await store.workers())
    finally:
        await store.aclose()


def main() -> int:
    try:
        if asyncio.run(worker_lives(load_settings())):
            return 0
        print("no worker of this host was heard of lately", file=sys.stderr)
    except (SettingsError, Unavailable) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
