"""Sampling with networks in training: what the service will do, by diffusers' own solver."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from .captions import StyleWords, Tokens
from .grids import save_grid
from .networks import predict_velocity
from .prepared import Prepared
from .training import autocast

BETA_START, BETA_END, TRAIN_STEPS = 0.00085, 0.03, 1000
"""A scaled-linear schedule, which the bundle names to the service. Stable Diffusion's ends at 0.012, where the large
areas of 64² latents still show through: trained so, these networks took the blotches of pure noise for the room."""

STEPS, GUIDANCE = 4, 1.0

SHOWN = 4
"""Rooms at the end of the data that are drawn in the grids and not trained on."""


def alphas_cumprod() -> Tensor:
    """ᾱ, FP32 [TRAIN_STEPS]."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return (1.0 - betas).cumprod(0).float()


@torch.no_grad()
def sample_latents(
    networks: Any,
    noise: Tensor,
    ids: Tensor,
    unwanted: Tensor,
    depth: Tensor,
    edges: Tensor,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> Tensor:
    """Scaled latents [B,4,h,w] by DPM-Solver++ 2M from ``noise`` of that shape.

    ``ids``, ``unwanted`` INT64 [B,77]: prompt and negative prompt; ``depth``, ``edges`` FP [B,1,H,W] in 0..1.
    """
    solver = DPMSolverMultistepScheduler(
        TRAIN_STEPS,
        BETA_START,
        BETA_END,
        "scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="linspace",
    )
    solver.set_timesteps(steps)
    device = noise.device
    text = networks["text_encoder"](input_ids=torch.cat([unwanted, ids])).last_hidden_state
    pair_depth, pair_edges = depth.repeat(2, 1, 1, 1), edges.repeat(2, 1, 1, 1)
    latents = noise
    for timestep in solver.timesteps:
        times = timestep.to(device).expand(2 * len(noise))
        with autocast(device, training=True):
            predicted = predict_velocity(
                networks, latents.repeat(2, 1, 1, 1), times, text, pair_depth, pair_edges
            )
        unconditional, conditional = predicted.float().chunk(2)
        guided = unconditional + guidance * (conditional - unconditional)
        latents = solver.step(guided, timestep, latents, return_dict=False)[0]
    return latents


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """Scaled latents [B,4,h,w] → pictures FP32 [B,3,H,W], about −1..1."""
    return vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0].float().cpu()


def sample_grid(
    path: Path,
    networks: Any,
    vae: Any,
    rooms: Prepared,
    words: Sequence[StyleWords],
    tokens: Tokens,
    device: torch.device,
) -> None:
    """Write SHOWN rows: source | depth | edges | the five styles, for the last of ``rooms``."""
    rows = []
    styles = len(words)
    ids = tokens([style.prompt for style in words]).to(device)
    unwanted = tokens([style.negative_prompt for style in words]).to(device)
    for row, index in enumerate(range(max(0, len(rooms) - SHOWN), len(rooms))):
        source = row % styles
        depth = torch.from_numpy(np.array(rooms.depth[index]))[None, None].float() / 255.0
        edges = torch.from_numpy(np.unpackbits(rooms.edges[index, source], axis=-1))[None, None].float()
        original = torch.from_numpy(np.array(rooms.latents[index, source]))[None].float().to(device)
        generator = torch.Generator(device).manual_seed(index)
        noise = torch.randn(original.shape, generator=generator, device=device).expand(styles, -1, -1, -1)
        hints = [hint.to(device).expand(styles, -1, -1, -1) for hint in (depth, edges)]
        made = decode(vae, sample_latents(networks, noise, ids, unwanted, hints[0], hints[1]))
        shown = [(2.0 * hint - 1.0).expand(1, 3, -1, -1) for hint in (depth, edges)]
        rows.append(list(torch.cat([decode(vae, original), *shown, made])))
    save_grid(path, rows)
