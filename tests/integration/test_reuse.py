"""What is found in a photo is computed once for its jobs: on a real Triton, counted by its own statistics."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec
import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from measuring.counters import Counters, difference, read_counters
from reroom.triton import Analysis, RestyleError, RestyleRequest, Result, TritonClient
from stack.triton import TritonServer
from tests.support.pictures import room
from tests.support.restyles import events_of, result_of

SEEN = {"depth": 1, "edges": 1, "detector": 1, "vae_encoder": 1}
MEASURED = {"depth": 1, "edges": 1, "detector": 1}
"""Of the picture that was made, which is another one in every job."""
ALL = ["depth", "edges", "objects", "photo_latents"]


def ask(style: str, photo_id: str | None, **changes: Any) -> RestyleRequest:
    given: dict[str, Any] = {"image": room(96, 120, 77), "seed": 5, "steps": 2, "strength": 0.5}
    return RestyleRequest(**given | {"prompt": f"a {style} room", "photo_id": photo_id} | changes)


class Counting:
    """What models ran since the last look, without those that run in every job."""

    def __init__(self, raw: InferenceServerClient) -> None:
        self._raw = raw
        self._before: dict[str, Counters] = {}

    async def look(self) -> dict[str, int]:
        counters = await read_counters(self._raw)
        ran = {name: each.samples for name, each in difference(counters, self._before).items()}
        self._before = counters
        left_out = ("restyle", "denoiser", "vae_decoder", "text_encoder")
        return {name: samples for name, samples in ran.items() if name not in left_out}


def together(*counts: dict[str, int]) -> dict[str, int]:
    return {name: sum(each.get(name, 0) for each in counts) for name in {n for each in counts for n in each}}


async def test_a_second_style_of_a_photo_begins_at_once(client: TritonClient, triton: TritonServer) -> None:
    async with InferenceServerClient(triton.grpc) as raw:
        counting = Counting(raw)
        await counting.look()
        first = await events_of(client, ask("boho", "one"))
        assert await counting.look() == together(SEEN, MEASURED)
        second = await events_of(client, ask("gothic", "one"))
        assert await counting.look() == MEASURED
        alone = await events_of(client, ask("gothic", None))
        assert await counting.look() == together(SEEN, MEASURED), "without an id nothing is kept"
        renamed = await result_of(client, ask("gothic", "two"))
        assert await counting.look() == together(SEEN, MEASURED), "as after an erase"
        moved = await result_of(client, ask("gothic", "one", image=room(96, 120, 78)))
        assert await counting.look() == together(SEEN, MEASURED), "an id is not the photo"
    results = [events[-1] for events in (first, second, alone)] + [renamed, moved]
    reused = [result.reused for result in results if isinstance(result, Result)]
    assert reused == [[], ALL, [], [], ["text"]]
    analyses = [event for events in (first, second, alone) for event in events if isinstance(event, Analysis)]
    assert analyses[0] == analyses[1] == analyses[2]
    assert isinstance(second[-1], Result)
    assert isinstance(alone[-1], Result)
    np.testing.assert_array_equal(second[-1].image, alone[-1].image)
    assert second[-1].timings.keys() == alone[-1].timings.keys()
    assert (await result_of(client, ask("gothic", "one", seed=6))).reused == [*ALL, "text"]


async def test_jobs_of_a_photo_that_begin_at_once_share_one_look(
    client: TritonClient, triton: TritonServer
) -> None:
    styles = ["boho", "gothic", "modern"]
    asked = [ask(style, "at once", image=room(96, 120, 79)) for style in styles]
    async with InferenceServerClient(triton.grpc) as raw:
        counting = Counting(raw)
        await counting.look()
        shared = await asyncio.gather(*(result_of(client, request) for request in asked))
        assert await counting.look() == together(SEEN, MEASURED, MEASURED, MEASURED)
    spared = [part for result in shared for part in result.reused]
    assert sorted(spared) == sorted(2 * ALL), "which of them computed a part is chance"


async def test_a_job_that_leaves_does_not_take_along_what_others_wait_for(
    client: TritonClient, triton: TritonServer
) -> None:
    asked = ask("boho", "left", image=room(96, 120, 80), steps=40)

    async def leave() -> None:
        async with aclosing(client.restyle(asked)) as events:
            await anext(events)

    async with InferenceServerClient(triton.grpc) as raw:
        counting = Counting(raw)
        await counting.look()
        _, stayed = await asyncio.gather(leave(), result_of(client, asked))
        ran = await counting.look()
    assert {name: ran[name] for name in SEEN} == together(SEEN, MEASURED)
    alone = await result_of(client, msgspec.structs.replace(asked, photo_id=None))
    # Steps that shared a batch with the other's round differently in the last bit.
    assert np.abs(stayed.image.astype(int) - alone.image).max() <= 1


async def test_an_id_that_is_too_long_is_refused(client: TritonClient) -> None:
    with pytest.raises(RestyleError, match="photo_id must be at most 100 characters, not 101"):
        await events_of(client, ask("boho", "x" * 101))
