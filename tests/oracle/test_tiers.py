"""The tiers of `tiny`, which use all that a tier can change, against diffusers with the same settings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.bundle import load_bundle
from export.proofs.diffusers_pipeline import hint
from export.proofs.whole import load_pipeline, pipeline_of
from export.sources.tokenizer import load_tokenizer
from restyle.events import Result
from restyle.models import Models
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import Defaults, Release, load_release
from restyle.request import parse_request
from restyle.stages import denoise
from tests.conftest import RELEASE
from tests.support.pictures import room

from .conftest import Server
from .test_restyle import MUTANT, TOLERANCE, difference

PROMPT, NEGATIVE, SEED = "an industrial loft with brick", "blurry, low quality", 5
PHOTO = room(112, 144, 3)
NOISE = np.random.default_rng(4).standard_normal((1, 4, 14, 18), dtype=np.float32)

Hints = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    return load_release()


@pytest.fixture
async def hints(server: Server) -> Hints:
    """What the server's own networks see of the photo."""
    (depth,) = await server("depth", ("depth",), image=PHOTO[None])
    (edges,) = await server("edges", ("edges",), image=PHOTO)
    return depth[0], edges


async def ours(models: Models, release: Release, quality: str) -> NDArray[Any]:
    """The pipeline of `restyle` in this process, over the server's models."""
    values = {
        "image": PHOTO,
        "prompt": (PROMPT,),
        "negative_prompt": (NEGATIVE,),
        "quality": (quality,),
        "seed": [SEED],
        "latents": NOISE[0],
    }
    restyler = Restyler(release, Prompts(release.tokenizer, release.frame), models)
    events = [event async for event in restyler.restyle(parse_request(values, release))]
    assert isinstance(events[-1], Result)
    assert events[-1].tier == quality
    return events[-1].pixels


_PAINTED: dict[str, NDArray[Any]] = {}


def theirs(quality: Any, hints: Hints) -> NDArray[Any]:
    """diffusers' picture, painted once for each tier."""
    if quality not in _PAINTED:
        bundle = load_bundle("tiny")
        kind = bundle.kinds[quality]
        _PAINTED[quality] = pipeline_of(bundle, kind, _tokenizer(), load_pipeline(bundle, kind))(
            kind.steps,
            [hint(picture) for picture in hints],
            NOISE,
            None,
            SEED,
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            guidance_scale=kind.guidance_scale,
            controlnet_conditioning_scale=list(kind.control_scale),
        )
        assert _PAINTED[quality].std() > 20, "a flat picture would prove nothing"
    return _PAINTED[quality]


@cache
def _tokenizer() -> Any:
    return load_tokenizer(load_bundle("tiny").tokenizer)


@pytest.mark.parametrize("quality", ["draft", "standard", "best"])
async def test_each_equals_diffusers(server: Server, release: Release, hints: Hints, quality: str) -> None:
    assert difference(await ours(server, release, quality), theirs(quality, hints)) <= TOLERANCE


@pytest.mark.parametrize(
    ("quality", "change"),
    [
        ("draft", {"variant": None}),
        ("draft", {"decoder": "vae_decoder"}),
        ("draft", {"solver": "ddim"}),
        ("draft", {"steps": 3}),
        ("standard", {"grid": ()}),
        ("standard", {"guidance_interval": (0.28, 20.0)}),
        ("standard", {"guidance_interval": (2.0, 5.42)}),
        ("standard", {"variant": "few_step"}),
    ],
    ids=str,
)
async def test_every_mutant_misses(
    server: Server, release: Release, hints: Hints, quality: str, change: dict[str, Any]
) -> None:
    tier: Defaults = replace(release.tiers[quality], **change)
    mutant = replace(release, tiers={**release.tiers, quality: tier})
    missed = difference(await ours(server, mutant, quality), theirs(quality, hints))
    assert missed >= MUTANT


async def test_the_noise_of_another_seed_misses(
    server: Server, release: Release, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = denoise.philox_noise
    monkeypatch.setattr(denoise, "philox_noise", lambda seed, step, shape: noise(seed + 1, step, shape))
    assert difference(await ours(server, release, "draft"), theirs("draft", hints)) >= MUTANT
