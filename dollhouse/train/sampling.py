"""Restyling with networks in training, as the service does at its defaults: one step from the photo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dollhouse.data.captions import StyleWords, Tokens, plain_caption
from dollhouse.data.hints import canny
from dollhouse.data.prepared import Rooms
from dollhouse.metrics import psnr, psnr_blurred
from dollhouse.render.looks import STYLES

from .autoencoder import encode_mean
from .grids import save_grid, to_bytes, to_signal
from .loop import autocast, short_attention
from .networks import predict_velocity

BETA_START, BETA_END, TRAIN_STEPS = 0.00085, 0.03, 1000
"""A scaled-linear schedule, which the bundle names to the service."""

TIMESTEP = 199
"""The timestep at which the service's defaults begin: a fifth of the way, with trailing spacing."""

SHOWN = 8
"""Rooms at the end of the data that sample grids show and measure; no training batch has them."""


def alphas_cumprod() -> Tensor:
    """ᾱ, FP32 [TRAIN_STEPS]."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return (1.0 - betas).cumprod(0).float()


@dataclass(frozen=True)
class Steps:
    """One denoising step of a batch: ``state`` x [B,4,h,w] → x0."""

    networks: Any
    alphas: Tensor
    """ᾱ, FP32 [1000]."""

    def levels(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """(α, s) for INT64 [B], each [B,1,1,1]."""
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
        return alpha.sqrt(), (1.0 - alpha).sqrt()

    def clean(self, state: Tensor, timesteps: Tensor, text: Tensor, depth: Tensor, edges: Tensor) -> Tensor:
        """x0 FP32."""
        alpha, spread = self.levels(timesteps)
        velocity = predict_velocity(self.networks, state, timesteps, text, depth, edges)
        return alpha * state - spread * velocity.float()

    def onward(self, state: Tensor, clean: Tensor, timesteps: Tensor, later: Tensor) -> Tensor:
        """The state at the lower noise level of ``later`` (DDIM, arXiv 2010.02502, eq. 12)."""
        alpha, spread = self.levels(timesteps)
        next_alpha, next_spread = self.levels(later)
        return next_alpha * clean + next_spread * (state - alpha * clean) / spread


@torch.no_grad()
def restyled(networks: Any, vae: Any, photos: Tensor, depth: Tensor, edges: Tensor, ids: Tensor) -> Tensor:
    """Results FP32 [B,3,H,W], about −1..1, for ``photos`` of that shape; ``depth``, ``edges`` FP [B,1,H,W] in 0..1;
    ``ids`` INT64 [B,77]."""
    device, scale = photos.device, vae.config.scaling_factor
    steps = Steps(networks, alphas_cumprod().to(device))
    times = torch.full((len(photos),), TIMESTEP, device=device)
    with autocast(device, training=True), short_attention(device):
        text = networks["text_encoder"](input_ids=ids).last_hidden_state
        state = steps.levels(times)[0] * encode_mean(vae, photos).float() * scale
        clean = steps.clean(state, times, text, depth, edges)
        made: Tensor = vae.decode(clean / scale, return_dict=False)[0]
    return made.float().cpu()


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """Scaled latents [B,4,h,w] → pictures FP32 [B,3,H,W], about −1..1."""
    return vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0].float().cpu()


def sample_grid(
    path: Path,
    networks: Any,
    vae: Any,
    rooms: Rooms,
    seen: NDArray[np.uint8],
    words: Sequence[StyleWords],
    tokens: Tokens,
    device: torch.device,
) -> None:
    """Write SHOWN rows, of the last of ``rooms``: source | depth | result for the pair | its target | five styles.

    Beside it, in figures.jsonl: how near the pairs are to their targets, in dB (``dollhouse.metrics``), on average.
    """
    rows, figures = [], []
    for row, index in enumerate(range(max(0, len(rooms) - SHOWN), len(rooms))):
        number = next(n for n, pair in enumerate(rooms.pairs(index)) if pair.source == row % len(STYLES))
        pair = rooms.pairs(index)[number]
        source, target = rooms.source(index, pair.source), rooms.target(index, number)
        own = plain_caption(words[STYLES.index(pair.style)].prompt, pair.wish)
        texts = [own, *(style.prompt for style in words)]
        hints = [seen[index, pair.source], canny(source)]
        depth, edges = (
            torch.from_numpy(np.array(hint))[None, None].float().to(device).expand(len(texts), -1, -1, -1)
            / 255.0
            for hint in hints
        )
        photos = to_signal(source[None]).to(device).expand(len(texts), -1, -1, -1)
        made = restyled(networks, vae, photos, depth, edges, tokens(texts).to(device))
        picture = to_bytes(made[:1])[0]
        figures.append({"psnr": psnr(picture, target), "psnr_blurred": psnr_blurred(picture, target)})
        shown = [
            photos[0].cpu(),
            (2.0 * depth[0] - 1.0).cpu().expand(3, -1, -1),
            made[0],
            to_signal(target[None])[0],
        ]
        rows.append([*shown, *made[1:]])
    save_grid(path, rows)
    means = {name: round(float(np.mean([each[name] for each in figures])), 3) for name in figures[0]}
    with (path.parent / "figures.jsonl").open("a") as file:
        file.write(json.dumps({"picture": path.name, **means}) + "\n")
