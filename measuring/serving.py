"""A real Triton for the length of a benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from measuring import ROOT
from measuring.releases import Release
from measuring.service import Service
from stack.triton import TritonServer

T = TypeVar("T")

JOBS = 4
"""Restyles at once: what one worker runs (REROOM_WORKER_JOBS)."""


@contextmanager
def served(release: Release, device: str | None = None) -> Iterator[TritonServer]:
    """Triton with the whole model repository of a release, from start to end; ``device``: see ``triton_part``."""
    repositories = [ROOT / "model_repository", release.folder / "models"]
    with TritonServer(repositories, release=release.folder, device=device) as server:
        yield server


def asked(release: Release, ask: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
    """What ``ask`` returns of a service whose Triton serves the release for so long."""

    async def answered(address: str) -> T:
        async with Service(address, release) as service:
            return await ask(service)

    with served(release) as server:
        return asyncio.run(answered(server.grpc))
