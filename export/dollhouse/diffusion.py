"""Training of the dollhouse's text encoder, UNet and both ControlNets: from the photo to the photo restyled.

A denoiser as small as this one, started from pure noise, takes the noise for the room and paints it. So this one starts
where the service starts: at the photo's own latents z, scaled to a low noise level but without noise, x = α·z. The
target is the same room restyled (see :mod:`.schemes`), and the prediction v (Salimans & Ho 2022, arXiv 2202.00512) for
a state without noise asks for x0 = α·x − s·v. Most samples are at the timestep of the bundle's defaults, some at others
and some in a second step, so that other strengths and more steps do no harm.

The loss compares latents, then the pictures that they decode to, then asks a discriminator of patches.
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
from torch.nn import functional as F

from .autoencoder import encode_mean, opponent, pyramid_loss
from .captions import StyleWords, Tokens, caption, unconditional
from .grids import to_signal
from .hints import canny, depth_bytes, perturb_depth
from .jitter import jittered
from .looks import STYLES
from .networks import DenoiserSettings, build_denoisers
from .patches import Adversary
from .prepared import Rooms
from .sampling import SHOWN, TIMESTEP, Steps, alphas_cumprod, sample_grid
from .training import Limit, Losses, Optimising, Pace, Trainer, autocast, short_attention, step_randomness
from .weights import load_into
from .wording import learn_words
from .workers import ALONE, Workers

CHROMA = 1.2
"""Weight of the two colour differences in pixel losses."""

AREA, AREAS = 16, 8.0
"""Side in pixels of the areas whose mean colours are compared, and the weight of that. Absolute errors alone are as
content with the colour that most rooms have: nothing pulled harder when a wall was to be red."""


@dataclass(frozen=True)
class Phase:
    """Part of a run. The networks are convolutional, so most is learnt on crops, at a quarter of the cost."""

    until: float
    """Progress at which the next phase begins; the last one's is 1."""
    crop: int
    """Side in pixels, a multiple of the autoencoder's factor times the UNet's."""
    batch: int
    window: int = 64
    """Side in pixels of the part whose decoded pixels are compared."""
    adversarial: float = 0.0
    """Weight of the discriminator."""


SIZES = DenoiserSettings()
PHASES = (Phase(0.4, 128, 8), Phase(0.8, 128, 8, 96, 0.12), Phase(1.0, 256, 2, 128, 0.12))
OPTIMISING = Optimising(learning_rate=2e-3, average=0.998)


@dataclass(frozen=True)
class DiffusionSettings:
    sizes: DenoiserSettings = SIZES
    phases: tuple[Phase, ...] = PHASES
    unconditional: float = 0.04
    """Share of captions that say nothing of the picture."""
    seen_depth: float = 0.75
    """Share of the depth hints that are the depth model's; the others are exact ones, disturbed."""
    usual_timestep: float = 0.75
    """Share of the samples at TIMESTEP; the others lie anywhere in ``timesteps``."""
    timesteps: tuple[int, int] = (20, 450)
    second_steps: float = 0.12
    """Share of the training steps that begin where a first step, taken without learning, has led."""
    word_steps: int = 1200
    """Steps on captions alone, before the first picture; see :mod:`.wording`."""
    seed: int = 2
    optimising: Optimising = OPTIMISING

    def phase(self, progress: float) -> Phase:
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])


@dataclass(frozen=True)
class Batch:
    """B crops: sources as photographed, hints, what to make of them."""

    sources: Tensor
    """FP32 [B,3,H,W] in −1..1."""
    targets: Tensor
    """FP32 [B,3,H,W] in −1..1."""
    depth: Tensor
    """FP32 [B,1,H,W] in 0..1, white = near."""
    edges: Tensor
    """FP32 [B,1,H,W], 0 or 1."""
    ids: Tensor
    """INT64 [B,77]."""
    texts: tuple[str, ...]
    styles: Tensor
    """INT64 [B], of the targets."""

    def to(self, device: torch.device) -> Batch:
        names = ("sources", "targets", "depth", "edges", "ids", "styles")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class Crops:
    """Draws batches from rooms; the last SHOWN rooms are not among them."""

    def __init__(
        self,
        rooms: Rooms,
        seen: NDArray[np.uint8],
        words: tuple[StyleWords, ...],
        tokens: Tokens,
        settings: DiffusionSettings,
    ) -> None:
        """``seen``: what :func:`prepared.seen_depth` returns for ``rooms``."""
        self.rooms, self.seen, self.words, self.tokens, self.settings = rooms, seen, words, tokens, settings

    def draw(self, phase: Phase, choices: np.random.Generator) -> Batch:
        drawn = [self._sample(phase.crop, choices) for _ in range(phase.batch)]
        sources, targets, depths, exact, texts, styles = zip(*drawn, strict=True)
        hints = torch.from_numpy(np.stack(depths))[:, None].float() / 255.0
        disturbed = perturb_depth(hints, choices)
        is_exact = torch.tensor(exact)[:, None, None, None]
        return Batch(
            sources=to_signal(np.stack(sources)),
            targets=to_signal(np.stack(targets)),
            depth=torch.where(is_exact, disturbed, hints),
            edges=torch.from_numpy(np.stack([canny(source) for source in sources]))[:, None].float() / 255.0,
            ids=self.tokens(texts),
            texts=texts,
            styles=torch.tensor(styles),
        )

    def _sample(self, crop: int, choices: np.random.Generator) -> tuple[Any, Any, Any, bool, str, int]:
        """Source and target UINT8 [crop,crop,3], depth [crop,crop], whether that is exact, caption, style number."""
        index = int(choices.integers(max(1, len(self.rooms) - SHOWN)))
        pairs = self.rooms.pairs(index)
        number = int(choices.integers(len(pairs)))
        pair = pairs[number]
        exact = bool(choices.random() >= self.settings.seen_depth)
        depth = depth_bytes(self.rooms.depth(index)) if exact else self.seen[index, pair.source]
        style = STYLES.index(pair.style)
        text = (
            unconditional(self.words, choices)
            if choices.random() < self.settings.unconditional
            else caption(self.words[style].prompt, self.rooms.room_type(index), pair.wish, choices)
        )
        place = _window(depth.shape, crop, choices)
        pictures = [
            picture[place]
            for picture in (self.rooms.source(index, pair.source), self.rooms.target(index, number))
        ]
        depth = depth[place]
        if choices.random() < 0.5:
            pictures, depth = [picture[:, ::-1] for picture in pictures], depth[:, ::-1]
        source, target = (np.ascontiguousarray(picture) for picture in pictures)
        return jittered(source, choices), target, np.ascontiguousarray(depth), exact, text, style


def _window(
    shape: tuple[int, ...], side: int, choices: np.random.Generator, grid: int = 4
) -> tuple[slice, slice]:
    """A random square of ``side``, aligned to ``grid``."""
    top, left = (int(choices.integers((length - side) // grid + 1)) * grid for length in shape[:2])
    return slice(top, top + side), slice(left, left + side)


def draw_timesteps(
    settings: DiffusionSettings, count: int, choices: np.random.Generator
) -> NDArray[np.int64]:
    """INT64 [count]."""
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
    """``later``: timesteps INT64 [B] of a second step, which is learnt then; ``window``: in latents.

    ``latents`` is the mean absolute Laplacian pyramid of x0's error, in which outlines and the colours of large areas
    weigh as much as what lies between; ``pixels`` the same of the decoded window in opponent colours, plus its mean
    absolute error; ``areas`` the mean square error of its areas' colours; ``blame`` and ``adversary`` are those of the
    discriminator.
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
        losses["blame"] = adversary.blame(made, batch.styles)
        loss = loss + adversarial * losses["blame"]
    return {"loss": loss, **losses}


class Prefetch:
    """Makes the next step's batch while this one's is used; a batch depends on its step and phase alone."""

    def __init__(self, make: Callable[[int, Phase], Batch]) -> None:
        self._make, self._pool = make, ThreadPoolExecutor(1)
        self._ahead: dict[tuple[int, Phase], Future[Batch]] = {}

    def __call__(self, step: int, phase: Phase) -> Batch:
        ready = self._ahead.get((step, phase)) or self._pool.submit(self._make, step, phase)
        self._ahead = {(step + 1, phase): self._pool.submit(self._make, step + 1, phase)}
        return ready.result()


def train_diffusion(
    crops: Crops,
    vae: Any,
    folder: Path,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
    start: Path | None = None,
    workers: Workers = ALONE,
) -> dict[str, Any]:
    """Train (or go on training) in ``folder``; returns the four networks by name, averaged, in evaluation mode.

    They begin with the weights in the folder ``start``, when it is given. The last rooms are kept out of training and
    drawn in the sample grids. Raises ValueError when ``start``, or a checkpoint, is of other settings.
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
    """So that every worker draws other samples."""

    def make(step: int, phase: Phase) -> Batch:
        return crops.draw(phase, step_randomness(settings.seed + own, step, device)[0])

    prefetch = Prefetch(make)

    def losses(step: int) -> Losses:
        phase = settings.phase(trainer.progress)
        # Another stream than the batch's own choices, which were drawn ahead.
        choices, _ = step_randomness(settings.seed + 1 + own, step, device)
        batch = prefetch(step, phase).to(device)
        first = draw_timesteps(settings, phase.batch, choices)
        later = None
        if choices.random() < settings.second_steps:
            later = torch.from_numpy((first * choices.uniform(0.1, 0.8, phase.batch)).astype(np.int64)).to(
                device
            )
        cells = batch.sources.shape[-1] // 2 ** (len(vae.config.block_out_channels) - 1)
        shown = phase.window * cells // phase.crop
        window = _window((cells, cells), shown, choices, grid=1)
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
    trainer.run(limit)
    return networks
