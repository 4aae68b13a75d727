"""Training of the dollhouse's text encoder, UNet and both ControlNets, together and from scratch.

The target is a room in one style, its edges those of the same room's picture in *another* style, and the caption the
target style's: so the networks learn to keep the geometry and change the look. v-prediction (Salimans & Ho 2022,
arXiv 2202.00512) on the service's schedule, a tenth of the captions left out for guidance: where noise hides the
picture, v asks for the picture itself, which the hints nearly give away, while ε would ask for what can be seen anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .autoencoder import pyramid_loss
from .captions import StyleWords, Tokens, caption, unconditional
from .hints import perturb_depth
from .looks import STYLES
from .networks import DenoiserSettings, build_denoisers, predict_velocity
from .prepared import Prepared
from .sampling import SHOWN, alphas_cumprod, sample_grid
from .training import Limit, Losses, Optimising, Pace, Trainer, autocast, short_attention, step_randomness
from .weights import load_into


@dataclass(frozen=True)
class Phase:
    """Part of a run. The networks are convolutional, so most is learnt on crops, at a quarter of the cost."""

    until: float
    """Progress at which the next phase begins; the last one's is 1."""
    crop: int | None
    """Side in pixels, a multiple of the autoencoder's factor times the UNet's; None = the whole picture."""
    batch: int
    towards_noise: float = 0.6
    """Exponent on uniform timesteps: with 0.25, 94 of 100 come from the noisier half, with 0.6, 69. There the room is
    made, from the hints, and the rest is polish; networks that had to learn both at once took the hints in last."""


SIZES = DenoiserSettings()
PHASES = (Phase(0.5, 128, 32, 0.25), Phase(0.75, 128, 32), Phase(1.0, None, 16))
OPTIMISING = Optimising(learning_rate=1e-3)


@dataclass(frozen=True)
class DiffusionSettings:
    sizes: DenoiserSettings = SIZES
    phases: tuple[Phase, ...] = PHASES
    unconditional: float = 0.1
    """Share of captions that say nothing of the picture."""
    seed: int = 2
    optimising: Optimising = OPTIMISING

    def phase(self, progress: float) -> Phase:
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])


@dataclass(frozen=True)
class Batch:
    """B targets with what the networks are told of them."""

    latents: Tensor
    """FP32 [B,4,h,w], scaled."""
    edges: Tensor
    """FP32 [B,1,H,W], 0 or 1, of another style's picture."""
    depth: Tensor
    """FP32 [B,1,H,W] in 0..1, white = near, exact."""
    ids: Tensor
    """INT64 [B,77]."""
    texts: tuple[str, ...]
    rooms: NDArray[np.int64]
    styles: NDArray[np.int64]
    sources: NDArray[np.int64]
    """The styles that the edges come from, never those of the targets."""

    def to(self, device: torch.device) -> Batch:
        moved = {name: getattr(self, name).to(device) for name in ("latents", "edges", "depth", "ids")}
        return replace(self, **moved)

    def cropped(self, side: int, choices: np.random.Generator) -> Batch:
        """The same window of every hint and target, ``side`` pixels square, a place for the whole batch."""
        factor = self.edges.shape[-1] // self.latents.shape[-1]
        cells = side // factor
        y, x = (int(choices.integers(n - cells + 1)) for n in self.latents.shape[-2:])
        hint = np.s_[:, :, y * factor : y * factor + side, x * factor : x * factor + side]
        return replace(
            self,
            latents=self.latents[:, :, y : y + cells, x : x + cells],
            edges=self.edges[hint],
            depth=self.depth[hint],
        )


def draw_batch(
    rooms: Prepared,
    words: tuple[StyleWords, ...],
    tokens: Tokens,
    count: int,
    unconditional_share: float,
    choices: np.random.Generator,
) -> Batch:
    """Random targets, sources and captions; the last SHOWN rooms are not among them."""
    index = choices.integers(max(1, len(rooms) - SHOWN), size=count)
    style = choices.integers(len(STYLES), size=count)
    source = (style + choices.integers(1, len(STYLES), size=count)) % len(STYLES)
    texts = tuple(
        unconditional(words, choices)
        if choices.random() < unconditional_share
        else caption(words[s].prompt, rooms.room_types[i], rooms.colours[i, s], choices)
        for i, s in zip(index, style, strict=True)
    )
    edges = np.unpackbits(np.stack([rooms.edges[i, s] for i, s in zip(index, source, strict=True)]), axis=-1)
    latents = np.stack([rooms.latents[i, s] for i, s in zip(index, style, strict=True)])
    depth = np.stack([rooms.depth[i] for i in index])
    return Batch(
        latents=torch.from_numpy(latents).float(),
        edges=torch.from_numpy(edges)[:, None].float(),
        depth=torch.from_numpy(depth)[:, None].float() / 255.0,
        ids=tokens(texts),
        texts=texts,
        rooms=index,
        styles=style,
        sources=source,
    )


def diffusion_losses(networks: Any, batch: Batch, alphas: Tensor, timesteps: Tensor, noise: Tensor) -> Losses:
    """``alphas``: ᾱ FP32 [1000]; ``timesteps`` INT64 [B]; ``noise`` of the latents' shape.

    ``loss`` is the mean absolute Laplacian pyramid of the error of v, in which outlines and the colours of large areas
    weigh as much as what lies between; ``early`` and ``late`` are the mean square errors of v in the noisier half of
    the schedule and in the clearer one.
    """
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    signal, spread = alpha.sqrt(), (1.0 - alpha).sqrt()
    noisy = signal * batch.latents + spread * noise
    velocity = signal * noise - spread * batch.latents
    text = networks["text_encoder"](input_ids=batch.ids).last_hidden_state
    predicted = predict_velocity(networks, noisy, timesteps, text, batch.depth, batch.edges).float()
    errors = (predicted - velocity).detach().square().mean((1, 2, 3))
    early = timesteps >= len(alphas) // 2
    return {
        "loss": pyramid_loss(predicted - velocity),
        "early": (errors * early).sum() / early.sum().clamp(min=1),
        "late": (errors * ~early).sum() / (~early).sum().clamp(min=1),
    }


def spread_timesteps(batch: int, steps: int, towards_noise: float, choices: np.random.Generator) -> Tensor:
    """INT64 [batch] in 0..steps−1: uniform numbers to the power ``towards_noise``, one from each equal part, so that a
    batch's loss varies less."""
    uniform = (choices.permutation(batch) + choices.random(batch)) / batch
    return torch.from_numpy((uniform**towards_noise * steps).astype(np.int64))


class Prefetch:
    """Makes the next step's batch while this one's is used; a batch depends on its step and size alone."""

    def __init__(self, make: Callable[[int, int], Batch]) -> None:
        self._make, self._pool = make, ThreadPoolExecutor(1)
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}

    def __call__(self, step: int, count: int) -> Batch:
        ready = self._ahead.get((step, count)) or self._pool.submit(self._make, step, count)
        self._ahead = {(step + 1, count): self._pool.submit(self._make, step + 1, count)}
        return ready.result()


def train_diffusion(
    rooms: Prepared,
    vae: Any,
    words: tuple[StyleWords, ...],
    tokens: Tokens,
    folder: Path,
    settings: DiffusionSettings,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train (or go on training) in ``folder``; returns the four networks by name, averaged, in evaluation mode.

    They begin with the weights in the folder ``start``, when it is given. The last rooms are kept out of training and
    drawn in the sample grids. Raises ValueError when ``start``, or a checkpoint, is of other settings.
    """
    built = build_denoisers(settings.sizes, tokens, settings.seed)
    if start is not None:
        load_into(built, start)
    networks = {
        name: network.to(device, memory_format=torch.channels_last) for name, network in built.items()
    }
    alphas = alphas_cumprod().to(device)

    def make(step: int, count: int) -> Batch:
        choices, _ = step_randomness(settings.seed, step, device)
        return draw_batch(rooms, words, tokens, count, settings.unconditional, choices)

    prefetch = Prefetch(make)

    def losses(step: int) -> Losses:
        phase = settings.phase(trainer.progress)
        # Another stream than the batch's own choices, which were drawn ahead.
        choices, generator = step_randomness(settings.seed + 1, step, device)
        batch = prefetch(step, phase.batch).to(device)
        batch = replace(batch, depth=perturb_depth(batch.depth, choices))
        if phase.crop is not None:
            batch = batch.cropped(phase.crop, choices)
        timesteps = spread_timesteps(phase.batch, len(alphas), phase.towards_noise, choices).to(device)
        noise = torch.randn(batch.latents.shape, generator=generator, device=device)
        with autocast(device, training=True), short_attention(device):
            return diffusion_losses(networks, batch, alphas, timesteps, noise)

    def sample(path: Path) -> None:
        sample_grid(path, networks, vae, rooms, words, tokens, device)

    trainer = Trainer(networks, losses, sample, settings.optimising, asdict(settings), folder, pace)
    trainer.run(limit)
    return networks
