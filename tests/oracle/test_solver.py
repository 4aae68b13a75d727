"""Solver tables against diffusers' schedulers, along whole trajectories, in float64 from the schedulers' own ᾱ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from solver import PREDICTIONS, SOLVERS, A, B, C, D, P, Q, Table, alphas_cumprod, solver_table

from benchmarks.peer import SCHEDULERS

from .reference import SCHEDULE, scheduler

TOLERANCE = 2e-6
"""Relative. The schedulers round their σ to float32; closer is not to be had."""

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
        draw = torch.randn(SIZE, generator=fresh, dtype=torch.float64).numpy() if row[D] else np.zeros(SIZE)
        x0 = row[P] * state + row[Q] * predict(state, step)
        state = row[A] * state + row[B] * x0 + row[C] * x0_previous + row[D] * draw
        x0_previous = x0
    return state


def theirs(
    peer: Any, first: int, strength: float, photo: NDArray[np.float64], noise: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """diffusers' scheduler, driven as its pipelines drive it."""
    peer.set_begin_index(first) if hasattr(peer, "set_begin_index") else None
    state = torch.tensor(noise) * float(peer.init_noise_sigma)
    if strength < 1.0:
        start = peer.timesteps[first : first + 1]
        state = peer.add_noise(torch.tensor(photo)[None], torch.tensor(noise)[None], start)[0]
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator} if "Ancestral" in type(peer).__name__ else {}
    for step, timestep in enumerate(peer.timesteps[first:]):
        told = peer.scale_model_input(state, timestep).numpy()
        state = peer.step(torch.tensor(predict(told, step)), timestep, state, **options).prev_sample
    return state.numpy()


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 14, 15, 20, 50])
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("prediction", list(PREDICTIONS))
def test_the_trajectory_is_that_of_diffusers(
    prediction: str, solver: str, steps: int, strength: float
) -> None:
    peer = scheduler(solver, prediction)
    peer.set_timesteps(steps)
    # diffusers fails where no step is left; here at least one is.
    run = max(1, int(steps * strength))
    table = solver_table(solver, steps, strength, peer.alphas_cumprod.double().numpy(), prediction)
    assert len(table) == run
    np.testing.assert_allclose(table.timesteps, peer.timesteps[steps - run :].numpy(), rtol=1e-7)
    photo, noise = np.random.default_rng(0).standard_normal((2, SIZE))
    mine = ours(table, photo, noise, seed=7)
    peers = theirs(peer, steps - run, strength, photo, noise, seed=7)
    assert np.abs(mine - peers).max() <= TOLERANCE * np.abs(peers).max()


def test_every_solver_has_a_peer() -> None:
    assert set(SOLVERS) == set(SCHEDULERS)


def test_the_schedule_is_that_of_diffusers() -> None:
    """Theirs is a float32 product of a thousand factors, so it is only equal to about 1e-5."""
    alphas = alphas_cumprod(SCHEDULE["beta_start"], SCHEDULE["beta_end"], 1000)
    np.testing.assert_allclose(alphas, scheduler("ddim").alphas_cumprod.numpy(), rtol=2e-5)


@pytest.mark.parametrize("strength", [0.7, 0.29, 0.57, 0.6])
def test_a_strength_that_went_through_float32_keeps_its_steps(strength: float) -> None:
    alphas = alphas_cumprod(0.00085, 0.012, 1000)
    assert len(solver_table("ddim", 100, float(np.float32(strength)), alphas, "epsilon")) == round(
        strength * 100
    )
