"""The oracle of DESIGN §6: `restyle` on a real Triton makes the picture that diffusers makes; no mutant of it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from restyle.events import Result
from restyle.models import Models
from restyle.pipeline import Restyler
from restyle.prompt import Prompts
from restyle.release import load_release
from restyle.request import parse_request
from tests.conftest import RELEASE
from tests.support.pictures import room

from .conftest import Server
from .reference import Case, diffusers_picture, photo_latents

TOLERANCE = 0.05
"""Of 255, before rounding."""
MUTANT = 10 * TOLERANCE

SOLVERS = ["ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras"]
"""Euler ancestral draws fresh noise in every step, which a pipeline of diffusers cannot be given; see test_solver."""

Tensors = dict[str, NDArray[Any]]


def make_case(
    solver: str = "dpmpp_2m", shape: tuple[int, int] = (112, 144), seed: int = 1, **changes: Any
) -> Case:
    rng = np.random.default_rng(seed)
    case = Case(
        depth=np.zeros(0, np.uint8),
        edges=np.zeros(0, np.uint8),
        noise=rng.standard_normal((1, 4, shape[0] // 8, shape[1] // 8), dtype=np.float32),
        prompt=["an industrial loft with brick", "a cosy boho room, rattan and plants"][seed % 2],
        negative_prompt="blurry, low quality",
        solver=solver,
        steps=8,
        guidance_scale=7.5,
        control_scale=(0.8, 0.6),
    )
    return replace(case, **changes)


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours.astype(np.float64) - theirs).max())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("strength", [1.0, 0.6])
async def test_alone_it_equals_diffusers(server: Server, solver: str, strength: float) -> None:
    photo = room(112, 144)
    case = await server.with_hints(
        photo, make_case(solver, strength=strength, photo_latents=photo_latents(photo))
    )
    ours, _ = await server.restyle_exact(photo, case)
    theirs = diffusers_picture(case)
    assert theirs.std() > 20, "a flat picture would prove nothing"
    assert difference(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize(
    "changes", [{"guidance_scale": 1.0}, {"steps": 1}, {"steps": 15}, {"control_scale": (1.2, 0.0)}]
)
async def test_odd_settings_equal_diffusers(server: Server, changes: dict[str, Any]) -> None:
    photo = room(128, 128, seed=3)
    case = await server.with_hints(photo, make_case(shape=(128, 128), **changes))
    ours, _ = await server.restyle_exact(photo, case)
    assert difference(ours, diffusers_picture(case)) <= TOLERANCE


async def test_four_merged_into_a_batch_equal_diffusers(server: Server) -> None:
    solvers = ["ddim", "euler", "dpmpp_2m", "dpmpp_2m"]
    photos = [room(112, 144, seed) for seed in range(4)]
    cases = []
    for seed, (solver, photo) in enumerate(zip(solvers, photos, strict=True)):
        # The last one starts from the photo, with fewer steps: jobs at different steps share a batch.
        strength = 0.6 if seed == 3 else 1.0
        case = make_case(solver, seed=seed, strength=strength, photo_latents=photo_latents(photo))
        cases.append(await server.with_hints(photo, case))
    inferred, executed = await server.counts("denoiser")
    results = await asyncio.gather(*(server.restyle_exact(*pair) for pair in zip(photos, cases, strict=True)))
    inferred_after, executed_after = await server.counts("denoiser")
    assert inferred_after - inferred == sum(case.steps for case in cases) - 4
    assert executed_after - executed < inferred_after - inferred, "nothing was merged"
    for (ours, _), case in zip(results, cases, strict=True):
        assert difference(ours, diffusers_picture(case)) <= TOLERANCE


def swap_hints(tensors: Tensors) -> None:
    tensors["depth"], tensors["edges"] = tensors["edges"], tensors["depth"]


def swap_scales(tensors: Tensors) -> None:
    tensors["control_scale"] = tensors["control_scale"][:, ::-1].copy()


def swap_guidance_rows(tensors: Tensors) -> None:
    tensors["text"] = tensors["text"][:, ::-1].copy()


def later(tensors: Tensors) -> None:
    tensors["timestep"] = tensors["timestep"] + 1


def earlier(tensors: Tensors) -> None:
    tensors["timestep"] = tensors["timestep"] - 1


def forget_previous(tensors: Tensors) -> None:
    tensors["coefficients"] = tensors["coefficients"] * np.array([1, 1, 1, 1, 0, 1, 1], np.float32)


def nothing(tensors: Tensors) -> None:
    pass


class Mutated:
    """The server's models, with one thing done wrong on the way into the denoiser."""

    def __init__(self, server: Server, mutation: Callable[[Tensors], None]) -> None:
        self.server, self.mutation = server, mutation

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        if model == "denoiser":
            self.mutation(tensors)
        return await self.server(model, outputs, **tensors)


async def run_here(
    models: Models, photo: NDArray[np.uint8], case: Case, monkeypatch: pytest.MonkeyPatch
) -> NDArray[Any]:
    """The pipeline of `restyle` in this process, over the server's models."""
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    release = load_release()
    defaults = replace(release.defaults, start_noise=case.start_noise)
    release = replace(release, prediction=case.prediction, spacing=case.spacing, defaults=defaults)
    values = {
        "image": photo,
        "prompt": (case.prompt,),
        "negative_prompt": (case.negative_prompt,),
        "solver": (case.solver,),
        "steps": [case.steps],
        "guidance_scale": [case.guidance_scale],
        "strength": [case.strength],
        "control_scale": case.control_scale,
        "latents": case.noise[0],
    }
    restyler = Restyler(release, Prompts(release.tokenizer, release.frame), models)
    async for event in restyler.restyle(parse_request(values, release)):
        if isinstance(event, Result):
            return event.pixels
    raise AssertionError("no result")


MUTATIONS = [swap_hints, swap_scales, swap_guidance_rows, later, earlier]


async def missed_by(
    server: Server, mutation: Callable[[Tensors], None], case: Case, monkeypatch: pytest.MonkeyPatch
) -> float:
    photo = room(112, 144)
    case = await server.with_hints(photo, case)
    pixels = await run_here(Mutated(server, mutation), photo, case, monkeypatch)
    return difference(pixels, diffusers_picture(case))


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("solver", ["ddim", "euler", "dpmpp_2m"])
@pytest.mark.parametrize("mutation", [nothing, *MUTATIONS], ids=lambda mutation: mutation.__name__)
async def test_every_mutant_misses(
    server: Server,
    mutation: Callable[[Tensors], None],
    solver: str,
    strength: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = make_case(solver, strength=strength, photo_latents=photo_latents(room(112, 144)))
    missed = await missed_by(server, mutation, case, monkeypatch)
    assert missed <= TOLERANCE if mutation is nothing else missed >= MUTANT


async def test_the_multistep_term_matters(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await missed_by(server, forget_previous, make_case("dpmpp_2m"), monkeypatch) >= MUTANT


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("solver", SOLVERS)
async def test_networks_that_predict_v_equal_diffusers(
    server: Server, solver: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the graph it makes no difference: only the table and the baseline's scheduler change."""
    photo = room(112, 144)
    case = make_case(solver, strength=strength, photo_latents=photo_latents(photo), prediction="v_prediction")
    case = await server.with_hints(photo, case)
    ours = await run_here(server, photo, case, monkeypatch)
    theirs = diffusers_picture(case)
    assert theirs.std() > 20, "a flat picture would prove nothing"
    assert difference(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize("start_noise", [0.0, 0.3])
@pytest.mark.parametrize("steps", [5, 10])
@pytest.mark.parametrize("solver", ["ddim", "euler", "dpmpp_2m"])
async def test_networks_that_start_from_the_photo_equal_diffusers(
    server: Server, solver: str, steps: int, start_noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step and two, with little of the noise or none; diffusers is given other latents of the photo for it."""
    photo = room(112, 144)
    changes: dict[str, Any] = {
        "spacing": "trailing",
        "start_noise": start_noise,
        "prediction": "v_prediction",
    }
    case = make_case(solver, strength=0.2, steps=steps, photo_latents=photo_latents(photo), **changes)
    case = await server.with_hints(photo, case)
    ours = await run_here(server, photo, case, monkeypatch)
    theirs = diffusers_picture(case)
    assert theirs.std() > 20, "a flat picture would prove nothing"
    assert difference(ours, theirs) <= TOLERANCE
    assert difference(ours, diffusers_picture(replace(case, start_noise=start_noise + 0.1))) >= MUTANT
    assert difference(ours, diffusers_picture(replace(case, spacing="diffusers"))) >= MUTANT


async def test_the_other_prediction_misses(server: Server) -> None:
    photo = room(112, 144)
    case = await server.with_hints(photo, make_case())
    ours, _ = await server.restyle_exact(photo, case)
    assert difference(ours, diffusers_picture(replace(case, prediction="v_prediction"))) >= MUTANT


async def test_other_photo_latents_miss(server: Server) -> None:
    photo = room(112, 144)
    latents = photo_latents(photo)
    case = await server.with_hints(photo, make_case(strength=0.6, photo_latents=latents))
    ours, _ = await server.restyle_exact(photo, case)
    assert difference(ours, diffusers_picture(replace(case, photo_latents=latents * 1.05))) >= MUTANT


@pytest.mark.parametrize("steps", [7, 9])
async def test_a_step_more_or_less_misses(server: Server, steps: int) -> None:
    photo = room(112, 144)
    case = await server.with_hints(photo, make_case())
    ours, _ = await server.restyle_exact(photo, replace(case, steps=steps))
    assert difference(ours, diffusers_picture(case)) >= MUTANT


async def test_swapped_hints_move_the_picture(server: Server) -> None:
    """The random weights of `tiny` are only good for proofs if the hints matter in them."""
    photo = room(112, 144)
    case = await server.with_hints(photo, make_case())
    ours, theirs = (
        diffusers_picture(case),
        diffusers_picture(replace(case, depth=case.edges, edges=case.depth)),
    )
    assert np.abs(ours - theirs).mean() >= 20
