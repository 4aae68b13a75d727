"""How much memory a release takes when it is served."""

from __future__ import annotations

import asyncio

from dollhouse.evaluate.held_out import SEEDS, held_out_rooms
from measuring.memory import Memory, memory_of
from measuring.releases import Release
from measuring.service import Service
from measuring.serving import JOBS, served
from orchestrator.domain.preferences import Preferences


def measure_memory(release: Release) -> Memory:
    """Memory of a fresh Triton after it has restyled photos of every bucket, JOBS at a time and so in batches.

    Each takes two steps: more steps need no more memory.
    """
    photos = [
        next(held_out_rooms(SEEDS[:1], (height, width))).photo for height, width in release.facts["buckets"]
    ]

    async def restyle_all(address: str) -> None:
        queue = iter([photo for photo in photos for _ in range(JOBS)])
        async with Service(address, release) as service, asyncio.TaskGroup() as tasks:

            async def work() -> None:
                for photo in queue:
                    await service.restyle(photo, "boho", Preferences(steps=2))

            for _ in range(JOBS):
                tasks.create_task(work())

    with served(release) as server:
        assert server.process is not None
        asyncio.run(restyle_all(server.grpc))
        return memory_of(server.process.pid)
