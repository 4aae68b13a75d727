"""Solver tables against diffusers' schedulers, along whole trajectories, in float64 from the schedulers' own ᾱ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.proofs.diffusers_pipeline import SCHEDULERS, along, scheduler
from restyle.solver import (
    GRIDDED,
    LCM_STEPS,
    MAX_STEPS,
    PREDICTIONS,
    SOLVERS,
    SPACINGS,
    Column,
    Table,
    alphas_cumprod,
    solver_table,
)
from tests.oracle.baseline import SD15

TOLERANCE = 2e-6
"""Of the largest state on the way. The schedulers round their σ and the state of each step to float32, so
Euler's, which begins at σ = 14.6 and ends near 1, is off by roundings of its beginning: how far differs
between processors."""

SIZE = 8


def predict(state: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Stands for the network: depends on the state, so that an error made early is carried along."""
    return np.tanh(0.7 * state) + 0.3 * np.random.default_rng(step).standard_normal(SIZE)


def ours(
    table: Table, photo: NDArray[np.float64], noise: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """The recurrence of the denoiser graph, without a network."""
    state = table.start[0] * photo + table.start[1] * noise
    x0_previous = np.zeros(SIZE)
    fresh = torch.Generator().manual_seed(seed)
    for step, row in enumerate(table.rows):
        draw = (
            torch.randn(SIZE, generator=fresh, dtype=torch.float64).numpy()
            if row[Column.NOISE]
            else np.zeros(SIZE)
        )
        x0 = row[Column.X0_FROM_STATE] * state + row[Column.X0_FROM_PREDICTION] * predict(state, step)
        state = row[Column.STATE] * state + row[Column.X0] * x0
        state = state + row[Column.X0_PREVIOUS] * x0_previous + row[Column.NOISE] * draw
        x0_previous = x0
    return state


def theirs(
    baseline: Any,
    first: int,
    strength: float,
    photo: NDArray[np.float64],
    noise: NDArray[np.float64],
    seed: int,
) -> tuple[NDArray[np.float64], float]:
    """diffusers' scheduler, driven as its pipelines drive it: the last state, and the size of the largest."""
    baseline.set_begin_index(first) if hasattr(baseline, "set_begin_index") else None
    state = torch.tensor(noise) * float(baseline.init_noise_sigma)
    if strength < 1.0:
        start = baseline.timesteps[first : first + 1]
        state = baseline.add_noise(torch.tensor(photo)[None], torch.tensor(noise)[None], start)[0]
    generator = torch.Generator().manual_seed(seed)
    draws = type(baseline).__name__ in ("EulerAncestralDiscreteScheduler", "LCMScheduler")
    options = {"generator": generator} if draws else {}
    largest = float(state.abs().max())
    for step, timestep in enumerate(baseline.timesteps[first:]):
        scaled = baseline.scale_model_input(state, timestep).numpy()
        state = baseline.step(torch.tensor(predict(scaled, step)), timestep, state, **options).prev_sample
        largest = max(largest, float(state.abs().max()))
    return state.numpy(), largest


def agrees(
    solver: str,
    prediction: str,
    spacing: str,
    steps: int,
    strength: float,
    grid: Sequence[int] = (),
    *,
    solver_table: Callable[..., Table] = solver_table,
) -> None:
    """Asserts that a trajectory by our table is that of diffusers' scheduler of the same name."""
    baseline = scheduler(solver, **SD15, prediction=prediction, spacing=spacing, grid=grid)
    baseline.set_timesteps(steps)
    # diffusers fails where no step is left; here at least one is.
    run = max(1, int(steps * strength))
    alphas = baseline.alphas_cumprod.double().numpy()
    table = solver_table(solver, steps, strength, alphas, prediction, spacing=spacing, grid=grid)
    assert len(table) == run
    np.testing.assert_allclose(table.timesteps, baseline.timesteps[steps - run :].numpy(), rtol=1e-7)
    photo, noise = np.random.default_rng(0).standard_normal((2, SIZE))
    mine = ours(table, photo, noise, seed=7)
    expected, largest = theirs(baseline, steps - run, strength, photo, noise, seed=7)
    assert np.abs(mine - expected).max() <= TOLERANCE * largest


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 14, 15, 20, 50])
@pytest.mark.parametrize(
    ("spacing", "solver"), [(spacing, solver) for spacing, known in SPACINGS.items() for solver in known]
)
@pytest.mark.parametrize("prediction", list(PREDICTIONS))
def test_the_trajectory_is_that_of_diffusers(
    prediction: str, spacing: str, solver: str, steps: int, strength: float
) -> None:
    agrees(solver, prediction, spacing, steps, strength)


ALIGN_YOUR_STEPS = (999, 850, 736, 645, 545, 455, 343, 233, 124, 24)
"""diffusers' AysSchedules for Stable Diffusion 1.5."""


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("solver", list(GRIDDED))
@pytest.mark.parametrize("grid", [ALIGN_YOUR_STEPS, (999, 500, 7), (640,)], ids=len)
def test_timesteps_that_are_given_are_taken(grid: tuple[int, ...], solver: str, strength: float) -> None:
    agrees(solver, "epsilon", "diffusers", len(grid), strength, grid)


def test_a_grid_serves_other_numbers_of_steps_too() -> None:
    """Every second step of twice as many is one of the grid, and noise levels fall evenly between them."""
    made = solver_table("dpmpp_2m", 19, 1.0, ALPHAS, "epsilon", grid=ALIGN_YOUR_STEPS)
    assert made.timesteps[::2].tolist() == list(ALIGN_YOUR_STEPS)
    logs = np.log(made.sigmas)
    np.testing.assert_allclose(logs[1:-1:2], (logs[:-2:2] + logs[2::2]) / 2, atol=0.02)
    assert solver_table("dpmpp_2m", 1, 1.0, ALPHAS, "epsilon", grid=ALIGN_YOUR_STEPS).timesteps == [999]


def test_the_baseline_takes_the_same_timesteps_of_a_grid() -> None:
    for steps in (1, 2, 4, 10):
        table = solver_table("dpmpp_2m", steps, 1.0, ALPHAS, "epsilon", grid=ALIGN_YOUR_STEPS)
        assert table.timesteps.tolist() == along(ALIGN_YOUR_STEPS, steps)
    with pytest.raises(ValueError, match="3 steps do not lie on a grid of 10"):
        along(ALIGN_YOUR_STEPS, 3)


def test_a_latent_consistency_model_knows_fifty_timesteps() -> None:
    def table(steps: int) -> Table:
        return solver_table("lcm", steps, 1.0, ALPHAS, "epsilon")

    assert table(4).timesteps.tolist() == [999, 759, 499, 259]
    assert len(set(table(LCM_STEPS).timesteps)) == LCM_STEPS
    with pytest.raises(ValueError, match="at most 50 steps, not 51"):
        table(LCM_STEPS + 1)


def test_every_solver_has_a_scheduler_of_diffusers() -> None:
    assert set(SOLVERS) == set(SCHEDULERS) == set(SPACINGS["diffusers"])


ALPHAS = alphas_cumprod(0.00085, 0.03, 1000)


@pytest.mark.parametrize("solver", list(SPACINGS["trailing"]))
def test_trailing_steps_begin_at_the_ends_of_equal_parts(solver: str) -> None:
    """So that all solvers begin where the networks were trained, at the same share of any number of steps."""
    for steps in range(1, MAX_STEPS + 1):
        table = solver_table(solver, steps, 1.0, ALPHAS, "v_prediction", spacing="trailing")
        ends = [1000 - part * 1000 / steps - 1 for part in range(steps)]
        assert len(table) == steps
        assert np.abs(table.timesteps - ends).max() <= 0.5
        # diffusers makes 62 of 61.
        if steps != 61:
            baseline = scheduler(solver, **SD15, prediction="v_prediction", spacing="trailing")
            baseline.set_timesteps(steps)
            np.testing.assert_array_equal(table.timesteps, baseline.timesteps.numpy())
    made = partial(solver_table, solver, strength=0.2, alphas=ALPHAS, prediction="v_prediction")
    assert {made(steps=steps, spacing="trailing").timesteps[0] for steps in (5, 10, 20)} == {199}


@pytest.mark.parametrize("solver", list(SPACINGS["trailing"]))
def test_the_start_has_its_part_of_the_noise(solver: str) -> None:
    alpha, scale = np.sqrt(ALPHAS[199]), np.sqrt(1 - ALPHAS[199])
    for start_noise in (0.0, 0.3, 1.0):
        made = partial(solver_table, solver, 5, alphas=ALPHAS, prediction="v_prediction", spacing="trailing")
        start = made(0.2, start_noise=start_noise).start
        np.testing.assert_allclose(start, (alpha, start_noise * scale), rtol=1e-12)
        assert made(1.0, start_noise=start_noise).start == made(1.0).start


def test_one_step_from_the_photo_alone_is_the_networks_own_picture() -> None:
    """x0 = α·x − s·v at x = α·z; DDIM stops at the first noise level, as in diffusers, the others at the picture."""
    alpha, scale = np.sqrt(ALPHAS[199]), np.sqrt(1 - ALPHAS[199])
    photo, noise = np.random.default_rng(0).standard_normal((2, SIZE))
    x0 = alpha * alpha * photo - scale * predict(alpha * photo, 0)
    for solver, away in {"euler": 1e-12, "dpmpp_2m": 1e-12, "ddim": 0.1}.items():
        table = solver_table(solver, 5, 0.2, ALPHAS, "v_prediction", spacing="trailing", start_noise=0.0)
        assert len(table) == 1
        assert np.abs(ours(table, photo, noise, seed=7) - x0).max() <= away


def test_the_schedule_is_that_of_diffusers() -> None:
    """Theirs is a float32 product of a thousand factors, so it is only equal to about 1e-5."""
    alphas = alphas_cumprod(**SD15, train_steps=1000)
    np.testing.assert_allclose(alphas, scheduler("ddim", **SD15).alphas_cumprod.numpy(), rtol=2e-5)


@pytest.mark.parametrize("strength", [0.7, 0.29, 0.57, 0.6])
def test_a_strength_that_went_through_float32_keeps_its_steps(strength: float) -> None:
    alphas = alphas_cumprod(0.00085, 0.012, 1000)
    assert len(solver_table("ddim", 100, float(np.float32(strength)), alphas, "epsilon")) == round(
        strength * 100
    )
