"""Solvers as tables: everything that differs between DDIM, Euler and DPM-Solver++ is a few numbers per step.

A noise level is σ = √((1−ᾱ)/ᾱ) (Karras et al. 2022, arXiv 2206.00364); the state is variance preserving,
x = α·x0 + s·ε with α = 1/√(1+σ²) and s = σ·α. One guided step, run by the ``denoiser`` graph, is

    y  = yu + g·(yc − yu)          what the network predicts: ε, or v = α·ε − s·x0
    x0 = p·x + q·y                 ε: (1/α, −σ); v (Salimans & Ho 2022, arXiv 2202.00512): (α, −s)
    x' = a·x + b·x0 + c·x0_previous + d·noise

and a solver is a grid of (timestep, σ) with the rows (p, q, a, b, c, d). DDIM (arXiv 2010.02502), Euler (2206.00364)
and the first order of DPM-Solver++ (2211.01095) are the *same* formula on different grids:
a = s'/s, b = α'·(1 − σ'/σ). The second order adds the previous x0; the ancestral variant splits σ' into a
deterministic and a fresh part. The grids are those of diffusers' schedulers, so that results can be compared: as
Stable Diffusion configures each solver ("diffusers"), or all with diffusers' "trailing" spacing, where every part of
the schedule begins at its last timestep (Lin et al. 2023, arXiv 2305.08891), so that solvers begin at the same ones. A
release may also name the timesteps themselves, such as those of Align Your Steps (Sabour et al. 2024, arXiv
2404.14507), which were found for few steps.

Latent consistency models (Luo et al. 2023, arXiv 2310.04378) are another kind of network for the same formula: they
predict the picture from every noise level, and a step adds fresh noise to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Column(IntEnum):
    """Columns of :attr:`Table.rows`, named by what each multiplies; the guidance scale follows as a seventh."""

    X0_FROM_STATE = 0
    """p"""
    X0_FROM_PREDICTION = 1
    """q"""
    STATE = 2
    """a"""
    X0 = 3
    """b"""
    X0_PREVIOUS = 4
    """c"""
    NOISE = 5
    """d"""


MAX_STEPS = 100
LCM_STEPS = 50
"""The steps that the teacher of latent consistency models took (diffusers' original_inference_steps): their students
know these timesteps only, and so cannot take more."""


@dataclass(frozen=True)
class Table:
    """One solver, ready to run.

    timesteps: FP64 [n], what the network is given (Euler's may be fractional).
    sigmas: FP64 [n], the noise level that each step begins at.
    rows: FP64 [n, 6], see :class:`Column`.
    start: (photo, noise); the state starts as ``start[0]·photo_latents + start[1]·noise``.
    """

    timesteps: Array
    sigmas: Array
    rows: Array
    start: tuple[float, float]

    def __len__(self) -> int:
        return len(self.timesteps)

    def inside(self, interval: tuple[float, float]) -> NDArray[np.bool_]:
        """BOOL [n]: which steps begin at a noise level σ with low < σ ≤ high, for an ``interval`` (low, high)."""
        low, high = interval
        return np.asarray((low < self.sigmas) & (self.sigmas <= high))


@dataclass(frozen=True)
class _Grid:
    timesteps: Array
    sigmas: Array
    """FP64 [n]: the noise level that each step begins at."""
    after: Array
    """FP64 [n]: the noise level that each step ends at, nearly always where the next one begins."""
    noise_start: float = 1.0
    """Scale of the pure-noise start."""


def _chained(sigmas: Array, last: float) -> Array:
    """The noise levels at which the steps end, when each of ``sigmas`` begins where the step before it ended."""
    return np.append(sigmas[1:], last)


def alphas_cumprod(beta_start: float, beta_end: float, train_steps: int) -> Array:
    """ᾱ, FP64 [train_steps], of the "scaled linear" schedule that latent diffusion models were trained with."""
    betas = np.linspace(beta_start**0.5, beta_end**0.5, train_steps, dtype=np.float64) ** 2
    return np.cumprod(1.0 - betas)


def _train_sigmas(alphas: Array) -> Array:
    return np.sqrt((1.0 - alphas) / alphas)


def _ddim_grid(alphas: Array, steps: int) -> _Grid:
    """diffusers' DDIMScheduler: leading spacing, steps_offset 1, set_alpha_to_one False."""
    stride = len(alphas) // steps
    return _ddim(alphas, np.arange(steps)[::-1] * stride + 1)


def _ddim_trailing(alphas: Array, steps: int) -> _Grid:
    return _ddim(alphas, _trailing(alphas, steps))


def _ddim(alphas: Array, timesteps: NDArray[np.int64]) -> _Grid:
    """As in diffusers, a step ends one whole stride later. The stride is rounded down, so the next step may begin
    beside that."""
    sigmas = _train_sigmas(alphas)
    after = np.maximum(timesteps - len(alphas) // len(timesteps), 0)
    return _Grid(timesteps.astype(np.float64), sigmas[timesteps], sigmas[after])


def _euler_grid(alphas: Array, steps: int) -> _Grid:
    """diffusers' EulerDiscreteScheduler: linspace spacing, timesteps rounded to FP32 as there."""
    return _euler(alphas, np.linspace(0, len(alphas) - 1, steps, dtype=np.float32)[::-1].astype(np.float64))


def _euler_trailing(alphas: Array, steps: int) -> _Grid:
    return _euler(alphas, _trailing(alphas, steps).astype(np.float64))


def _euler(alphas: Array, timesteps: Array) -> _Grid:
    sigmas = np.interp(timesteps, np.arange(len(alphas)), _train_sigmas(alphas))
    return _Grid(timesteps, sigmas, _chained(sigmas, 0.0), float(sigmas[0] / np.hypot(1.0, sigmas[0])))


def _dpmpp_grid(alphas: Array, steps: int) -> _Grid:
    """diffusers' DPMSolverMultistepScheduler: linspace spacing, final σ zero."""
    return _dpmpp(alphas, np.linspace(0, len(alphas) - 1, steps + 1).round()[::-1][:-1].astype(np.int64))


def _dpmpp_trailing(alphas: Array, steps: int) -> _Grid:
    return _dpmpp(alphas, _trailing(alphas, steps))


def _dpmpp(alphas: Array, timesteps: NDArray[np.int64]) -> _Grid:
    sigmas = _train_sigmas(alphas)[timesteps]
    return _Grid(timesteps.astype(np.float64), sigmas, _chained(sigmas, 0.0))


def _dpmpp_karras_grid(alphas: Array, steps: int) -> _Grid:
    """As :func:`_dpmpp_grid` with use_karras_sigmas: σ spaced evenly in σ^(1/7), timesteps rounded."""
    train = _train_sigmas(alphas)
    ramp = np.linspace(0, 1, steps)
    low, high = train[0] ** (1 / 7), train[-1] ** (1 / 7)
    sigmas = (high + ramp * (low - high)) ** 7
    timesteps = np.interp(np.log(sigmas), np.log(train), np.arange(len(train))).round()
    return _Grid(timesteps, sigmas, _chained(sigmas, 0.0))


def _lcm_grid(alphas: Array, steps: int) -> _Grid:
    """diffusers' LCMScheduler: some of the timesteps of the distillation, evenly apart. The last step ends at the
    picture. Raises ValueError for more steps than there were."""
    if steps > LCM_STEPS:
        raise ValueError(f"lcm takes at most {LCM_STEPS} steps, not {steps}")
    distilled = np.arange(1, LCM_STEPS + 1) * (len(alphas) // LCM_STEPS) - 1
    timesteps = distilled[::-1][np.floor(np.linspace(0, LCM_STEPS, steps, endpoint=False)).astype(np.int64)]
    sigmas = _train_sigmas(alphas)[timesteps]
    return _Grid(timesteps.astype(np.float64), sigmas, _chained(sigmas, 0.0))


def _resampled(grid: Sequence[int], steps: int, alphas: Array) -> NDArray[np.int64]:
    """``steps`` timesteps along those of ``grid``, which fall: ``grid`` itself where it has as many. Between two of
    them log σ is linear, as the authors of Align Your Steps do it."""
    logs = np.log(_train_sigmas(alphas))
    places = np.linspace(0.0, len(grid) - 1.0, steps)
    wanted = np.interp(places, np.arange(len(grid)), logs[np.asarray(grid)])
    return np.interp(wanted, logs, np.arange(len(alphas))).round().astype(np.int64)


def _trailing(alphas: Array, steps: int) -> NDArray[np.int64]:
    """The last timestep of each of ``steps`` equal parts of the schedule, from its end."""
    # Computed as diffusers does, so that values between two timesteps are rounded to the same one. Cut, because the
    # last bit of a division can make 62 of 61 steps.
    ends = np.arange(len(alphas), 0, -len(alphas) / steps)[:steps]
    return ends.round().astype(np.int64) - 1


def _first_order(sigma: float, after: float) -> tuple[float, float]:
    """(a, b) of a first-order step from noise level ``sigma`` to ``after``."""
    alpha_after = 1.0 / np.hypot(1.0, after)
    return (after / sigma) * np.hypot(1.0, sigma) * alpha_after, alpha_after * (1.0 - after / sigma)


def _single_step(grid: _Grid, index: int, first: int) -> tuple[float, float, float, float]:
    a, b = _first_order(grid.sigmas[index], grid.after[index])
    return a, b, 0.0, 0.0


def _ancestral(grid: _Grid, index: int, first: int) -> tuple[float, float, float, float]:
    sigma, after = grid.sigmas[index], grid.after[index]
    up = np.sqrt(after**2 * (sigma**2 - after**2) / sigma**2)
    down = np.sqrt(after**2 - up**2)
    alpha, alpha_after = 1.0 / np.hypot(1.0, sigma), 1.0 / np.hypot(1.0, after)
    return (down / sigma) * alpha_after / alpha, alpha_after * (1.0 - down / sigma), 0.0, alpha_after * up


def _multistep(grid: _Grid, index: int, first: int) -> tuple[float, float, float, float]:
    """DPM-Solver++ 2M, midpoint: first order at both ends, where a neighbour is missing or σ' is zero."""
    sigma, after = grid.sigmas[index], grid.after[index]
    a, b = _first_order(sigma, after)
    if index == first or index == len(grid.sigmas) - 1:
        return a, b, 0.0, 0.0
    ratio = np.log(grid.sigmas[index - 1] / sigma) / np.log(sigma / after)
    return a, b * (1.0 + 0.5 / ratio), -0.5 * b / ratio, 0.0


def _consistency(grid: _Grid, index: int, first: int) -> tuple[float, float, float, float]:
    """The picture of a latent consistency model, c_skip·x + c_out·x0, with fresh noise of the next level. The boundary
    scalings are diffusers' (timestep_scaling 10, sigma_data 0.5)."""
    scaled, sigma_data = 10.0 * grid.timesteps[index], 0.5
    skip = sigma_data**2 / (scaled**2 + sigma_data**2)
    out = scaled / np.hypot(scaled, sigma_data)
    after = grid.after[index]
    alpha = 1.0 / np.hypot(1.0, after)
    return alpha * skip, alpha * out, 0.0, alpha * after


_Grids = Callable[[Array, int], _Grid]
_Steps = Callable[[_Grid, int, int], tuple[float, float, float, float]]

SOLVERS: dict[str, _Steps] = {
    "ddim": _single_step,
    "euler": _single_step,
    "euler_ancestral": _ancestral,
    "dpmpp_2m": _multistep,
    "dpmpp_2m_karras": _multistep,
    "lcm": _consistency,
}

SPACINGS: dict[str, dict[str, _Grids]] = {
    "diffusers": {
        "ddim": _ddim_grid,
        "euler": _euler_grid,
        "euler_ancestral": _euler_grid,
        "dpmpp_2m": _dpmpp_grid,
        "dpmpp_2m_karras": _dpmpp_karras_grid,
        "lcm": _lcm_grid,
    },
    "trailing": {"ddim": _ddim_trailing, "euler": _euler_trailing, "dpmpp_2m": _dpmpp_trailing},
}
"""How a release spreads its solvers over the schedule, and which of SOLVERS it offers. "trailing" leaves some out:
Karras's noise levels and the timesteps of latent consistency models do not depend on the spacing, and an ancestral step
adds noise, which networks that start from the photo alone have never seen."""

DISTILLED = frozenset({"lcm"})
"""Solvers for networks that were distilled for them: only a tier that says so takes one, no request can ask for it."""

GRIDDED: dict[str, Callable[[Array, NDArray[np.int64]], _Grid]] = {
    "euler": lambda alphas, timesteps: _euler(alphas, timesteps.astype(np.float64)),
    "dpmpp_2m": _dpmpp,
}
"""The solvers that can be given their timesteps, as diffusers' can."""


def _epsilon(sigma: float) -> tuple[float, float]:
    return float(np.hypot(1.0, sigma)), -sigma


def _velocity(sigma: float) -> tuple[float, float]:
    alpha = float(1.0 / np.hypot(1.0, sigma))
    return alpha, -sigma * alpha


PREDICTIONS: dict[str, Callable[[float], tuple[float, float]]] = {
    "epsilon": _epsilon,
    "v_prediction": _velocity,
}
"""(p, q) at a noise level, by what the network predicts; the names are diffusers'."""


def solver_table(
    name: str,
    steps: int,
    strength: float,
    alphas: Array,
    prediction: str,
    *,
    spacing: str = "diffusers",
    grid: Sequence[int] = (),
    start_noise: float = 1.0,
) -> Table:
    """The table of solver ``name`` for ``steps`` (1 … MAX_STEPS) at ``strength`` (0 < strength ≤ 1).

    ``alphas`` (ᾱ, FP64 [train_steps]) and ``prediction`` (a key of PREDICTIONS) are those of the network's training,
    ``spacing`` is a key of SPACINGS that knows the solver. ``grid``, falling timesteps, is taken in its place by the
    solvers of GRIDDED; () = none. At strength 1 the start is pure noise; below it the first
    ``steps − int(steps·strength)`` steps are skipped, as in diffusers' img2img, and the start is the photo at the noise
    level of the first step that is left (at least one is), with ``start_noise`` (0 … 1) times the noise that belongs
    there: 0 for networks that were trained from the photo alone.
    """
    clean = PREDICTIONS[prediction]
    if grid and name in GRIDDED:
        levels = GRIDDED[name](alphas, _resampled(grid, steps, alphas))
    else:
        levels = SPACINGS[spacing][name](alphas, steps)
    # Rounded, because an FP32 strength of 0.7 is 0.699999988 and would lose a step.
    first = steps - max(1, min(steps, int(round(strength, 6) * steps + 1e-9)))
    rows = np.zeros((steps - first, 6))
    for row, index in enumerate(range(first, steps)):
        rows[row, : Column.STATE] = clean(levels.sigmas[index])
        rows[row, Column.STATE :] = SOLVERS[name](levels, index, first)
    sigma = float(levels.sigmas[first])
    alpha = float(1.0 / np.hypot(1.0, sigma))
    start = (0.0, levels.noise_start) if strength >= 1.0 else (alpha, start_noise * sigma * alpha)
    return Table(levels.timesteps[first:], levels.sigmas[first:], rows, start)
