"""Training of the dollhouse's text encoder, UNet and both ControlNets: from the photo to the photo restyled.

A denoiser as small as this one, started from pure noise, paints the noise instead of the room. So training starts where
the service starts: at the photo's own latents z, scaled to a low noise level but without noise, x = α·z. The target is
the same room restyled (see ``render.schemes``), and the prediction v (Salimans & Ho 2022, arXiv 2202.00512) for
a state without noise asks for x0 = α·x − s·v. Most samples are at the timestep of the bundle's defaults, some at others
and some in a second step, so that other strengths and more steps work too.

The loss compares latents and decoded pictures, and adds that of a patch discriminator.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dollhouse.render.looks import STYLES

from .autoencoder import encode_mean, opponent, pyramid_loss
from .crops import Batch, Crops, drawing, window_of
from .loop import Limit, Losses, Pace, Trainer, autocast, short_attention, step_randomness
from .networks import build_denoisers
from .patches import Adversary
from .recipe import DiffusionSettings
from .sampling import TIMESTEP, Steps, alphas_cumprod, sample_grid
from .weights import load_into
from .wording import learn_words
from .workers import ALONE, Workers

CHROMA = 1.2
"""Weight of the two colour differences in pixel losses."""

AREA, AREAS = 16, 16.0
"""Side in pixels of the areas whose mean colours are compared, and the weight of that. Absolute errors alone are
met by the colour that most rooms have, even where a caption asks for a red wall."""


def draw_timesteps(
    settings: DiffusionSettings, count: int, choices: np.random.Generator
) -> NDArray[np.int64]:
    """Timesteps INT64 [count]: TIMESTEP in the share ``usual_timestep``, else uniform."""
    others = choices.integers(*settings.timesteps, size=count)
    return np.where(choices.random(count) < settings.usual_timestep, TIMESTEP, others)


def restyling_losses(
    steps: Steps,
    vae: Any,
    batch: Batch,
    timesteps: Tensor,
    later: Tensor | None,
    window: tuple[slice, slice],
    adversary: Adversary | None,
    adversarial: float,
) -> Losses:
    """Losses of one step. ``later``: timesteps INT64 [B] of a second step, which is then the one that learns;
    ``window``: in latents.

    ``latents`` is the mean absolute Laplacian pyramid of x0's error, in which outlines and the colours of large areas
    weigh as much as what lies between; ``pixels`` the same of the decoded window in opponent colours, plus its mean
    absolute error; ``areas`` the mean square error of its areas' colours; ``adversary`` is the discriminator's loss and
    ``generator`` the one that it gives the networks.
    """
    scale = vae.config.scaling_factor
    with torch.no_grad():
        start, goal = (
            encode_mean(vae, pictures).float() * scale for pictures in (batch.sources, batch.targets)
        )
    text = steps.networks["text_encoder"](input_ids=batch.ids).last_hidden_state
    state = steps.levels(timesteps)[0] * start
    if later is not None:
        with torch.no_grad():
            clean = steps.clean(state, timesteps, text, batch.depth, batch.edges)
            state, timesteps = steps.onward(state, clean, timesteps, later), later
    clean = steps.clean(state, timesteps, text, batch.depth, batch.edges)
    rows, columns = window
    part = clean[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
    made = vae.decode(part / scale, return_dict=False)[0].float()
    factor = batch.targets.shape[-1] // clean.shape[-1]
    real = batch.targets[
        :,
        :,
        rows.start * factor : rows.stop * factor,
        columns.start * factor : columns.stop * factor,
    ]
    seen = opponent(made - real, CHROMA)
    losses = {
        "latents": pyramid_loss(clean - goal),
        "pixels": seen.abs().mean() + pyramid_loss(seen),
        "areas": F.avg_pool2d(seen, AREA).square().mean(),
    }
    loss = losses["latents"] + losses["pixels"] + AREAS * losses["areas"]
    if adversary is not None:
        losses["adversary"] = adversary.learn(real, made, batch.styles)
        losses["generator"] = adversary.generator_loss(made, batch.styles)
        loss = loss + adversarial * losses["generator"]
    return {"loss": loss, **losses}


def train_diffusion(
    crops: Crops,
    vae: Any,
    folder: Path,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
    start: Path | None = None,
    workers: Workers = ALONE,
    drawers: int = 0,
) -> dict[str, Any]:
    """Train (or continue training) in ``folder``; returns the four networks by name, averaged, in evaluation mode.

    They begin with the weights in the folder ``start``, when it is given. The last rooms are kept out of training and
    drawn in the sample grids. ``drawers``: processes that make batches, see :func:`.crops.drawing`. Raises ValueError
    when ``start``, or a checkpoint, is of other settings.
    """
    settings = crops.settings
    built = build_denoisers(settings.sizes, crops.tokens, settings.seed)
    if start is not None:
        load_into(built, start)
    networks = {
        name: network.to(device, memory_format=torch.channels_last) for name, network in built.items()
    }
    vae = vae.to(device, memory_format=torch.channels_last).requires_grad_(False)
    steps = Steps(networks, alphas_cumprod().to(device))
    adversary = Adversary(len(STYLES), settings.seed + 10, device, workers)
    own = 100 * workers.rank
    """An offset of seeds, so that every worker draws other samples."""

    def losses(step: int) -> Losses:
        phase = settings.phase(trainer.progress)
        # Another stream than the batch's own choices, which were drawn ahead.
        choices, _ = step_randomness(settings.seed + 1 + own, step, device)
        batch = batch_of(step, phase).unpack(device)
        first = draw_timesteps(settings, phase.batch, choices)
        later = None
        if choices.random() < settings.second_steps:
            later = torch.from_numpy((first * choices.uniform(0.1, 0.8, phase.batch)).astype(np.int64)).to(
                device
            )
        cells = batch.sources.shape[-1] // 2 ** (len(vae.config.block_out_channels) - 1)
        shown = phase.window * cells // phase.crop
        window = window_of((cells, cells), shown, choices, grid=1)
        with autocast(device, training=True), short_attention(device):
            return restyling_losses(
                steps,
                vae,
                batch,
                torch.from_numpy(first).to(device),
                later,
                window,
                adversary if phase.adversarial else None,
                phase.adversarial,
            )

    def sample(path: Path) -> None:
        sample_grid(path, networks, vae, crops.rooms, crops.seen, crops.words, crops.tokens, device)

    trainer = Trainer(
        networks,
        losses,
        sample,
        settings.optimising,
        asdict(settings),
        folder,
        pace,
        workers,
        {"adversary": adversary},
    )
    if trainer.step == 0 and settings.word_steps:
        learn_words(networks, crops.words, crops.tokens, settings.seed + 20, device, settings.word_steps)
        trainer.begin_average()
    with drawing(crops, settings.seed + own, drawers) as batch_of:
        trainer.run(limit)
    return networks
