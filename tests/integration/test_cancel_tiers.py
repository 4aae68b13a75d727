"""A cancel frees the device within one step, whatever the tier: on a real Triton, counted by its own statistics."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from export.bundle import load_bundle
from export.sampling import Quality
from measuring.counters import read_counters
from measuring.memory import stubs_of
from reroom.triton import RestyleRequest, Stage, TritonClient
from stack.triton import TritonServer
from tests.support.pictures import room

TIERS = load_bundle("tiny").kinds
LIMIT = 20
"""Seconds until a cancelled request has ended."""


@pytest.fixture
async def raw(triton: TritonServer) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(triton.grpc) as client:
        yield client


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def ended(raw: InferenceServerClient) -> int:
    """How many requests to `restyle` have ended, in whatever way."""
    (found,) = (await raw.get_inference_statistics("restyle", as_json=True))["model_stats"]
    statistics: dict[str, Any] = found["inference_stats"]
    return sum(int(statistics.get(way, {}).get("count", 0)) for way in ("success", "fail", "cancel"))


async def executions(raw: InferenceServerClient, model: str) -> int:
    """Once they do not grow any more: Triton counts a run a moment after its answer."""
    return (await read_counters(raw))[model].executions


async def wait_for_end(raw: InferenceServerClient, before: int) -> None:
    for _ in range(100 * LIMIT):
        if await ended(raw) > before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the cancelled request had not ended after {LIMIT} s")


@pytest.mark.parametrize("quality", [each for each in TIERS if each])
async def test_a_cancel_frees_the_device_within_one_step(
    client: TritonClient, triton: TritonServer, raw: InferenceServerClient, quality: Quality
) -> None:
    assert triton.process is not None
    tier = TIERS[quality]
    assert tier.steps > 2, "or an end within a step proves nothing"
    asked = RestyleRequest(image=room(96, 120), prompt="a boho room", quality=quality, seed=1)
    done, steps = await ended(raw), await executions(raw, tier.denoiser)
    # The first step cannot end before the server has heard of the cancel.
    with frozen(stubs_of(triton.process.pid)[tier.denoiser]):
        async with aclosing(client.restyle(asked, deadline=LIMIT)) as events:
            async for event in events:
                if isinstance(event, Stage) and event.name == "transforming":
                    break
        # An answer on the same connection: what was sent before it has arrived.
        assert await client.server_ready()
        assert await executions(raw, tier.denoiser) == steps
    await wait_for_end(raw, done)
    assert await executions(raw, tier.denoiser) - steps <= 1
