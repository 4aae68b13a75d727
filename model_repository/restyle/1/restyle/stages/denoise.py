"""Denoise: the diffusion loop. One step is one call of `denoiser`, which runs the networks, guidance and the solver's
update."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restyle.models import Models
from restyle.pictures.images import Floats
from restyle.request import Request
from restyle.solver import Column, Table
from restyle.stages.condition import Conditioning


@dataclass(frozen=True)
class DenoisedStep:
    """The state after a step."""

    step: int
    """From 1."""
    of: int
    latents: Floats
    """FP32 [1,C,h,w]: those that the next step begins with, or after the last one the picture's."""
    x0: Floats
    """FP32 [1,C,h,w]: the picture's latents as the networks predict them so far."""


def philox_noise(seed: int, step: int, shape: tuple[int, ...]) -> Floats:
    """Standard normal FP32 noise that depends on seed and step alone: not on batch, previews or retries."""
    return np.random.Generator(np.random.Philox(key=[seed, step])).standard_normal(shape, np.float32)


def guided_steps(request: Request, table: Table) -> NDArray[np.bool_]:
    """BOOL [n]: which steps of ``table`` are guided: those in the interval of the request's tier."""
    return request.guided & table.inside(request.tier.guidance_interval)


async def denoise(
    request: Request, conditioning: Conditioning, table: Table, control_scale: Floats, models: Models
) -> AsyncIterator[DenoisedStep]:
    """Run the steps of ``table``; ``control_scale`` FP32 [2] weighs the two hints. Raises ModelFailed."""
    photo_latents, keep = conditioning.photo_latents, conditioning.keep
    shape = photo_latents.shape
    noise = philox_noise(request.seed, 0, shape) if request.latents is None else request.latents[None]
    latents = (table.start[0] * photo_latents + table.start[1] * noise).astype(np.float32)
    x0 = np.zeros(shape, np.float32)
    guided = guided_steps(request, table)
    for index in range(len(table)):
        row = table.rows[index]
        fresh = philox_noise(request.seed, index + 1, shape) if row[Column.NOISE] else np.zeros_like(x0)
        latents, x0 = await models(
            request.tier.denoiser,
            ("latents_next", "x0"),
            latents=latents,
            x0_previous=x0,
            noise=fresh,
            timestep=np.array([[table.timesteps[index]]], np.float32),
            coefficients=np.array([[*row, request.guidance_scale]], np.float32),
            # The conditional row alone takes half the time.
            text=conditioning.text if guided[index] else conditioning.text[:, -1:],
            control_scale=control_scale[None],
            **{name: hint[None] for name, hint in conditioning.hints.items()},
        )
        if keep is not None:
            # x' is linear in x0: moving x0 towards the photo moves x' by b as much.
            change = keep * (photo_latents - x0)
            x0 = x0 + change
            latents = (latents + row[Column.X0] * change).astype(np.float32)
        yield DenoisedStep(index + 1, len(table), latents, x0)
