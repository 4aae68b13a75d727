"""The oracle: `restyle` on a real Triton makes the picture that diffusers makes; no mutant of it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import product
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

from .baseline import Case, diffusers_picture, photo_latents
from .conftest import Server

TOLERANCE = 0.05
"""Of 255, before rounding."""
MUTANT = 10 * TOLERANCE

SOLVERS = ["ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras"]
"""Euler ancestral draws fresh noise in every step, which a pipeline of diffusers cannot be given; see test_solver."""

Tensors = dict[str, NDArray[Any]]


async def prepared(
    server: Server, solver: str = "dpmpp_2m", photo_seed: int = 0, seed: int = 1, **changes: Any
) -> tuple[NDArray[np.uint8], Case]:
    """A photo, and the case of restyling it with the server's hints."""
    photo = room(112, 144, photo_seed)
    case = Case(
        depth=np.zeros(0, np.uint8),
        edges=np.zeros(0, np.uint8),
        noise=np.random.default_rng(seed).standard_normal((1, 4, 14, 18), dtype=np.float32),
        prompt=["an industrial loft with brick", "a cosy boho room, rattan and plants"][seed % 2],
        negative_prompt="blurry, low quality",
        solver=solver,
        steps=8,
        guidance_scale=7.5,
        control_scale=(0.8, 0.6),
    )
    case = replace(case, **changes)
    if case.strength < 1.0:
        case = replace(case, photo_latents=photo_latents(photo, "tiny"))
    return photo, await server.with_hints(photo, case)


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours.astype(np.float64) - theirs).max())


def equals_diffusers(ours: NDArray[Any], case: Case) -> None:
    theirs = diffusers_picture(case)
    assert theirs.std() > 20, "a flat picture would prove nothing"
    assert difference(ours, theirs) <= TOLERANCE


@pytest.mark.parametrize(
    "changes",
    [
        *({"solver": solver, "strength": strength} for solver in SOLVERS for strength in (1.0, 0.6)),
        *({"guidance_scale": 1.0}, {"steps": 1}, {"steps": 15}, {"control_scale": (1.2, 0.0)}),
    ],
    ids=str,
)
async def test_alone_it_equals_diffusers(server: Server, changes: dict[str, Any]) -> None:
    photo, case = await prepared(server, **changes)
    ours, _ = await server.restyle_exact(photo, case)
    equals_diffusers(ours, case)


async def test_four_merged_into_a_batch_equal_diffusers(server: Server) -> None:
    # The last one starts from the photo, with fewer steps: jobs at different steps share a batch.
    jobs = [
        await prepared(server, solver, seed, seed, strength=strength)
        for seed, (solver, strength) in enumerate(
            [("ddim", 1.0), ("euler", 1.0), ("dpmpp_2m", 1.0), ("dpmpp_2m", 0.6)]
        )
    ]
    inferred, executed = await server.counts("denoiser")
    results = await asyncio.gather(*(server.restyle_exact(*job) for job in jobs))
    inferred_after, executed_after = await server.counts("denoiser")
    assert inferred_after - inferred == sum(case.steps for _, case in jobs) - 4
    assert executed_after - executed < inferred_after - inferred, "nothing was merged"
    for (ours, _), (_, case) in zip(results, jobs, strict=True):
        equals_diffusers(ours, case)


def swap_hints(tensors: Tensors) -> None:
    tensors["depth"], tensors["edges"] = tensors["edges"], tensors["depth"]


def swap_scales(tensors: Tensors) -> None:
    tensors["control_scale"] = tensors["control_scale"][:, ::-1].copy()


def swap_guidance_rows(tensors: Tensors) -> None:
    tensors["text"] = tensors["text"][:, ::-1].copy()


def later(tensors: Tensors, by: int = 1) -> None:
    tensors["timestep"] = tensors["timestep"] + by


def earlier(tensors: Tensors) -> None:
    later(tensors, -1)


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


MUTATIONS = [nothing, swap_hints, swap_scales, swap_guidance_rows, later, earlier]


@pytest.mark.parametrize(
    ("mutation", "solver", "strength"),
    [
        *product(MUTATIONS, ["ddim", "euler", "dpmpp_2m"], [1.0, 0.6]),
        (forget_previous, "dpmpp_2m", 1.0),  # The only solver that reads it.
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_every_mutant_misses(
    server: Server,
    mutation: Callable[[Tensors], None],
    solver: str,
    strength: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo, case = await prepared(server, solver, strength=strength)
    ours = await run_here(Mutated(server, mutation), photo, case, monkeypatch)
    missed = difference(ours, diffusers_picture(case))
    assert missed <= TOLERANCE if mutation is nothing else missed >= MUTANT


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("solver", SOLVERS)
async def test_networks_that_predict_v_equal_diffusers(
    server: Server, solver: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the graph it makes no difference: only the table and the baseline's scheduler change."""
    photo, case = await prepared(server, solver, strength=strength, prediction="v_prediction")
    equals_diffusers(await run_here(server, photo, case, monkeypatch), case)


@pytest.mark.parametrize("start_noise", [0.0, 0.3])
@pytest.mark.parametrize("steps", [5, 10])
@pytest.mark.parametrize("solver", ["ddim", "euler", "dpmpp_2m"])
async def test_networks_that_start_from_the_photo_equal_diffusers(
    server: Server, solver: str, steps: int, start_noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step and two, with little of the noise or none; diffusers is given other latents of the photo for it."""
    trained: dict[str, Any] = {
        "spacing": "trailing",
        "prediction": "v_prediction",
        "start_noise": start_noise,
    }
    photo, case = await prepared(server, solver, strength=0.2, steps=steps, **trained)
    ours = await run_here(server, photo, case, monkeypatch)
    equals_diffusers(ours, case)
    for other in ({"start_noise": start_noise + 0.1}, {"spacing": "diffusers"}):
        assert difference(ours, diffusers_picture(replace(case, **other))) >= MUTANT


@pytest.mark.parametrize(
    "other", [{"prediction": "v_prediction"}, {"steps": 7}, {"steps": 9}, "latents"], ids=str
)
async def test_another_case_of_diffusers_misses(server: Server, other: Any) -> None:
    photo, case = await prepared(server, strength=0.6 if other == "latents" else 1.0)
    ours, _ = await server.restyle_exact(photo, case)
    if other == "latents":
        assert case.photo_latents is not None
        other = {"photo_latents": case.photo_latents * 1.05}
    assert difference(ours, diffusers_picture(replace(case, **other))) >= MUTANT


async def test_swapped_hints_move_the_picture(server: Server) -> None:
    """The random weights of `tiny` are only good for proofs if the hints matter in them."""
    _, case = await prepared(server)
    swapped = replace(case, depth=case.edges, edges=case.depth)
    assert np.abs(diffusers_picture(case) - diffusers_picture(swapped)).mean() >= 20
