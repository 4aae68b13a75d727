"""Long prompts and preferences without effect, from a job's wishes to the real Triton's answer."""

from __future__ import annotations

import itertools
from functools import partial

import msgspec
import numpy as np

from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES
from orchestrator.services.running.translation import request
from reroom.triton import TritonClient
from tests.support.jobs import a_job
from tests.support.pictures import room
from tests.support.restyles import restyled as any_restyled
from tests.support.restyles import result_of

PHOTO = room(96, 120)
LONG = "a grand piano beside the tall window " * 17
"""119 words, of which the text encoder reads fewer than the half."""


restyled = partial(any_restyled, photo=PHOTO, seed=5)


async def test_a_long_prompt_does_not_make_all_styles_one(client: TritonClient) -> None:
    # Without guidance, as the demo's bundle runs: negative prompts, which differ too, play no part.
    results = [
        await restyled(client, style=style, prompt=LONG, steps=2, guidance_scale=1.0)
        for style in ("modern", "boho", "industrial")
    ]
    for (one, *_), (other, *_) in itertools.combinations(results, 2):
        # Random weights listen to words only a little; before, the pictures were the same to the last byte.
        assert (one.image != other.image).mean() > 0.02
    for _, facts, _ in results:
        assert facts["prompt_truncated"]
        (warning,) = facts["warnings"]
        assert warning["code"] == "prompt_truncated"
        assert "of 119 words, from “" in warning["detail"]


async def test_a_long_prompt_does_not_drown_the_palette(client: TritonClient) -> None:
    one, other = [
        (await restyled(client, steps=2, prompt=LONG, color_palette=[colour]))[0].image
        for colour in ("sage green", "red")
    ]
    assert (one != other).mean() > 0.02


async def test_a_long_negative_prompt_does_not_drown_the_styles_own(client: TritonClient) -> None:
    wishes = Preferences(seed=5, steps=2, negative_prompt=LONG, guidance_scale=7.5)
    pictures = []
    for unwanted in ("clutter, ornate", "sterile, dark"):
        style = msgspec.structs.replace(STYLES["modern"], negative_prompt=unwanted)
        asked = request(a_job(preferences=wishes), style, PHOTO)
        result = await result_of(client, asked)
        assert [warning.code for warning in result.warnings] == ["negative_prompt_truncated"]
        pictures.append(result.image)
    assert (pictures[0] != pictures[1]).mean() > 0.02


async def test_a_negative_prompt_without_guidance_is_said_to_have_no_effect(client: TritonClient) -> None:
    without, facts, _ = await restyled(client, steps=2, guidance_scale=1.0)
    assert facts["warnings"] == [], "the style's own is not the user's business"
    with_one, facts, _ = await restyled(client, steps=2, guidance_scale=1.0, negative_prompt="green")
    np.testing.assert_array_equal(without.image, with_one.image)
    assert [warning["code"] for warning in facts["warnings"]] == ["negative_prompt_unused"]


async def test_other_preferences_that_do_not_do_what_they_say(client: TritonClient) -> None:
    _, facts, _ = await restyled(client, steps=4, strength=0.1, keep_furniture=True, preview_every=5)
    assert [warning["code"] for warning in facts["warnings"]] == [
        "strength_raised", "preview_every_unused", "keep_furniture_unused",
    ]  # fmt: skip
    assert all(warning["detail"] for warning in facts["warnings"])
