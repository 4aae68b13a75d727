"""A release whose networks start from the photo, on a real Triton: tiny's graphs with other settings."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from export.releases.checksums import MANIFEST
from export.releases.folder import live_document
from orchestrator.domain.styles import STYLES
from reroom.triton import RestyleRequest, Result, TritonClient
from stack.triton import TritonServer
from tests.conftest import RELEASE, ROOT
from tests.support.pictures import room
from tests.support.releases import read_document, write_document
from tests.support.restyles import restyled as any_restyled
from tests.support.restyles import result_of

PHOTO = room(96, 120)
STYLE = STYLES["boho"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("photo-start") / RELEASE.name
    document = read_document(RELEASE)
    document["defaults"] |= {"steps": 5, "strength": 0.2, "start_noise": 0.0}
    document["schedule"]["spacing"] = "trailing"
    # The tiers are of another spacing, as for a bundle that is based on one with tiers.
    for name in ("tiers", "quality"):
        del document[name]
    document |= {"solvers": ["ddim", "dpmpp_2m"], "palettes": [["sage green"], ["navy", "cream"], []]}
    shutil.copytree(RELEASE, folder)
    write_document(folder, document)
    # The digests of what was published are not this release's.
    live_document(folder).with_name(MANIFEST).unlink()
    with TritonServer([ROOT / "model_repository", folder / "models"], release=folder) as server:
        yield server


@pytest.fixture
async def client(server: TritonServer) -> AsyncIterator[TritonClient]:
    async with TritonClient(server.grpc) as client:
        yield client


restyled = partial(any_restyled, photo=PHOTO, seed=1)


async def direct(client: TritonClient, **changes: Any) -> Result:
    return await result_of(client, RestyleRequest(image=PHOTO, prompt=STYLE.prompt, **changes))


async def test_a_plain_job_is_one_step_from_the_photo_in_the_seeds_palette(client: TritonClient) -> None:
    _, facts, steps = await restyled(client)
    assert (steps, facts["strength"], facts["palette"], facts["warnings"]) == (1, 0.2, ["navy", "cream"], [])


async def test_seeds_differ_by_their_palette_alone(client: TritonClient) -> None:
    zero, one, three = [(await restyled(client, seed=seed))[0] for seed in (0, 1, 3)]
    assert (zero.image != one.image).mean() > 0.02
    np.testing.assert_array_equal(zero.image, three.image)


async def test_a_palette_that_is_asked_for_is_taken_and_reported(client: TritonClient) -> None:
    asked, facts, _ = await restyled(client, color_palette=["oak", "red"])
    assert facts["palette"] == ["oak", "red"]
    chosen, _, _ = await restyled(client)
    assert (asked.image != chosen.image).mean() > 0.02


async def test_no_colours_can_be_asked_for(client: TritonClient) -> None:
    none, own, navy = [await direct(client, seed=1, palette=palette) for palette in ((), ("",), None)]
    assert (none.palette, own.palette, navy.palette) == ([], [], ["navy", "cream"])
    np.testing.assert_array_equal(none.image, own.image)
    assert (none.image != navy.image).mean() > 0.02


async def test_an_older_worker_composes_the_palettes_words_itself(client: TritonClient) -> None:
    parts = ("colour palette of oak, red", STYLE.prompt)
    asked = RestyleRequest(image=PHOTO, prompt=parts, negative_prompt=STYLE.negative_prompt, seed=1)
    result = await result_of(client, asked)
    assert result.palette == []
    # What moves the colours towards the palette is newer.
    newer, _, _ = await restyled(client, color_palette=["oak", "red"], palette_strength=0, size="models")
    np.testing.assert_array_equal(result.image, newer.image)


async def test_furniture_is_not_kept_less_for_being_asked_to(client: TritonClient) -> None:
    plain, _, _ = await restyled(client)
    kept, facts, steps = await restyled(client, keep_furniture=True)
    assert steps == 1
    np.testing.assert_array_equal(plain.image, kept.image)
    detail = "keep_furniture has no effect: tiny-1 starts from the photo anyway, at strength 0.2"
    assert facts["warnings"] == [{"code": "keep_furniture_unused", "detail": detail}]


async def test_noise_without_effect_is_warned_of(client: TritonClient) -> None:
    noise = np.ones((4, 14, 18), np.float32)
    plain, given = await direct(client, seed=1), await direct(client, seed=1, latents=noise)
    np.testing.assert_array_equal(plain.image, given.image)
    assert [warning.code for warning in given.warnings] == ["latents_unused"]
    from_noise = await direct(client, seed=1, latents=noise, strength=1.0)
    assert from_noise.warnings == []
    assert (from_noise.image != plain.image).mean() > 0.5


async def test_a_second_attempt_is_another_picture_without_noise_too(client: TritonClient) -> None:
    weak, strong = [await direct(client, seed=1, control_scale=(scale, scale)) for scale in (0.8, 1.12)]
    assert (weak.image != strong.image).mean() > 0.02
