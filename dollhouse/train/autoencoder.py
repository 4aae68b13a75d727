"""The dollhouse's autoencoder: 256² pictures of rooms to latents and back, trained on crops.

The loss is L1 on the picture's opponent colours and on their Laplacian pyramid (edges at every scale count as much as
areas do), with a small KL term that keeps the latents from growing. Without the extra weight on the two colour
differences, which vary little from pixel to pixel, a short run learns black and white first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .grids import save_grid, to_signal
from .loop import Limit, Losses, Optimising, Pace, Trainer, autocast, step_randomness


class Pictures(Protocol):
    """Rooms in five styles."""

    def __len__(self) -> int: ...

    def picture(self, index: int, style: int) -> NDArray[np.uint8]:
        """UINT8 [H,W,3]."""
        ...


LATENTS = 4

LOG_VARIANCE = -6.0
"""Log variance of the latents' posterior before training."""

OPTIMISING = Optimising(learning_rate=2e-3, weight_decay=0.0)


@dataclass(frozen=True)
class AutoencoderSettings:
    widths: tuple[int, ...] = (16, 32, 64)
    """Channels per level. The side halves between levels, so three levels make latents of a quarter of the side."""
    layers: int = 1
    crop: int = 128
    batch: int = 8
    chroma: float = 1.2
    pyramid: float = 1.0
    kl: float = 1e-6
    """Weight of the mean divergence per latent value."""
    seed: int = 1
    optimising: Optimising = OPTIMISING


def build_autoencoder(settings: AutoencoderSettings) -> Any:
    """An AutoencoderKL with random weights, without the attention that fixed sizes and 64² latents cannot afford."""
    torch.manual_seed(settings.seed)
    levels = len(settings.widths)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.widths,
        layers_per_block=settings.layers,
        latent_channels=LATENTS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    # A posterior as wide as the prior would drown the latents in noise until its variance is learnt.
    with torch.no_grad():
        vae.quant_conv.weight[LATENTS:] = 0.0
        vae.quant_conv.bias[LATENTS:] = LOG_VARIANCE
    return vae


def opponent(picture: Tensor, chroma: float) -> Tensor:
    """RGB [B,3,H,W] → brightness, red − green, yellow − blue, the last two ``chroma`` times as large."""
    red, green, blue = picture.unbind(1)
    yellow = 0.5 * (red + green)
    return torch.stack([(red + green + blue) / 3.0, chroma * (red - green), chroma * (yellow - blue)], 1)


def pyramid_loss(difference: Tensor, levels: int = 4) -> Tensor:
    """Mean absolute value of the Laplacian pyramid of two pictures' difference [B,3,H,W], a scalar.

    Local contrasts (Bojanowski et al. 2018, arXiv 1707.05776): a blurred edge costs at the fine levels, where plain
    L1 hardly sees it.
    """
    loss = difference.new_zeros(())
    for _ in range(levels - 1):
        coarse = F.avg_pool2d(difference, 2)
        fine = difference - F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        loss = loss + fine.abs().mean()
        difference = coarse
    return loss + difference.abs().mean()


def autoencoder_losses(vae: Any, pictures: Tensor, noise: Tensor, settings: AutoencoderSettings) -> Losses:
    """Losses for ``pictures`` [B,3,H,W] in −1..1; ``noise``: standard normal, of the latents' shape."""
    moments = vae.quant_conv(vae.encoder(pictures))
    mean, log_variance = moments.float().chunk(2, 1)
    log_variance = log_variance.clamp(-30.0, 10.0)
    made = vae.decoder(vae.post_quant_conv(mean + (0.5 * log_variance).exp() * noise)).float()
    seen = opponent(made - pictures, settings.chroma)
    l1, pyramid = seen.abs().mean(), pyramid_loss(seen)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean((0, 1, 2, 3))
    loss = l1 + settings.pyramid * pyramid + settings.kl * kl
    return {"loss": loss, "l1": l1, "pyramid": pyramid, "kl": kl}


def train_autoencoder(
    pictures: Pictures,
    folder: Path,
    settings: AutoencoderSettings,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
) -> Any:
    """Train (or continue training) in ``folder``; returns the AutoencoderKL with its scaling_factor measured."""
    vae = build_autoencoder(settings).to(device)
    factor = 2 ** (len(settings.widths) - 1)
    shape = (settings.batch, LATENTS, settings.crop // factor, settings.crop // factor)

    def losses(step: int) -> Losses:
        choices, generator = step_randomness(settings.seed, step, device)
        batch = to_signal(_crops(pictures, settings, choices)).to(device)
        noise = torch.randn(shape, generator=generator, device=device)
        with autocast(device, training=True):
            return autoencoder_losses(vae, batch, noise, settings)

    def sample(path: Path) -> None:
        save_grid(path, [[real, made] for real, made in _pairs(vae, pictures, device)])

    Trainer({"vae": vae}, losses, sample, settings.optimising, asdict(settings), folder, pace).run(limit)
    scaling_factor = measure_scaling_factor(vae, pictures, device)
    vae.register_to_config(scaling_factor=scaling_factor)
    return vae


def _crops(
    pictures: Pictures, settings: AutoencoderSettings, choices: np.random.Generator
) -> NDArray[np.uint8]:
    """UINT8 [batch,crop,crop,3]: random crops, half of them mirrored."""
    crops = []
    for _ in range(settings.batch):
        picture = pictures.picture(int(choices.integers(len(pictures))), int(choices.integers(5)))
        y, x = (int(choices.integers(side - settings.crop + 1)) for side in picture.shape[:2])
        crop = picture[y : y + settings.crop, x : x + settings.crop]
        crops.append(crop[:, ::-1] if choices.random() < 0.5 else crop)
    return np.stack(crops)


@torch.no_grad()
def _pairs(vae: Any, pictures: Pictures, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    real = to_signal(np.stack([pictures.picture(index, index % 5) for index in range(min(6, len(pictures)))]))
    made = vae.decoder(vae.post_quant_conv(encode_mean(vae, real.to(device))))
    return list(zip(real, made.cpu(), strict=True))


def encode_mean(vae: Any, pictures: Tensor) -> Tensor:
    """[B,3,H,W] in −1..1 → the posterior's mean [B,4,h,w], *not* scaled."""
    return vae.quant_conv(vae.encoder(pictures))[:, :LATENTS]


@torch.no_grad()
def measure_scaling_factor(vae: Any, pictures: Pictures, device: torch.device) -> float:
    """One over the standard deviation of the latents of up to 64 pictures."""
    count = min(64, 5 * len(pictures))
    latents = [
        encode_mean(vae, to_signal(pictures.picture(i % len(pictures), i % 5)[None]).to(device)).float()
        for i in range(count)
    ]
    return round(1.0 / float(torch.cat(latents).std()), 5)


def quality_of(made: NDArray[np.uint8], real: NDArray[np.uint8]) -> Mapping[str, float]:
    """PSNR in dB, and F1 of Canny edges within one pixel, of UINT8 pictures [B,H,W,3]."""
    from dollhouse.data.hints import canny, edge_f1

    error = np.square(made.astype(np.float32) - real).mean()
    f1 = np.mean([edge_f1(canny(a), canny(b)) for a, b in zip(made, real, strict=True)])
    return {"psnr": float(10.0 * np.log10(255.0**2 / error)), "edge_f1": float(f1)}
