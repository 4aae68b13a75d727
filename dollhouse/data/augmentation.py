"""Training batches of the perception networks: random rooms, mirrored and disturbed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dollhouse.render.rooms import STYLES

from .dataset import Dataset

MEAN = STD = (0.5, 0.5, 0.5)
"""Normalisation of every network here: −1..1."""


@dataclass(frozen=True)
class Draw:
    """The pictures of a batch: rooms, style numbers, and whether each is mirrored."""

    indices: tuple[int, ...]
    styles: tuple[int, ...]
    mirrored: tuple[bool, ...]


def draw(dataset: Dataset, batch: int, choices: np.random.Generator) -> Draw:
    """``batch`` random rooms, each in a random style, half of them mirrored."""
    return Draw(
        tuple(int(i) for i in choices.integers(len(dataset), size=batch)),
        tuple(int(i) for i in choices.integers(len(STYLES), size=batch)),
        tuple(bool(b) for b in choices.random(batch) < 0.5),
    )


def photos(dataset: Dataset, drawn: Draw) -> Tensor:
    """The pictures of a draw, UINT8 [B,H,W,3]."""
    pictures = dataset.pictures(drawn.indices, drawn.styles)
    return torch.from_numpy(mirror(pictures, drawn))


def mirror(fields: NDArray[np.generic], drawn: Draw) -> NDArray[np.generic]:
    """A copy of ``fields`` [B,H,W,…] whose mirrored rows are flipped left to right."""
    fields = np.array(fields)
    which = np.array(drawn.mirrored)
    fields[which] = fields[which, :, ::-1]
    return fields


def disturb(pictures: Tensor, choices: np.random.Generator, noise: torch.Generator) -> Tensor:
    """What cameras and diffusion models do to pictures FP32 [B,3,H,W] in −1..1: exposure, tint, blur, noise.

    Each sample has its own values; half of them are blurred.
    """
    count = len(pictures)

    def drawn(values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(pictures.device)

    gain = drawn(choices.normal(1.0, 0.12, (count, 1, 1, 1))) * drawn(
        choices.normal(1.0, 0.05, (count, 3, 1, 1))
    )
    offset = drawn(choices.normal(0.0, 0.12, (count, 1, 1, 1)))
    soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    blur = drawn((choices.random((count, 1, 1, 1)) - 0.5).clip(0.0) * 2.0)
    grain = torch.randn(pictures.shape, generator=noise, device=pictures.device)
    grain = grain * drawn(choices.random((count, 1, 1, 1)) * 0.06)
    return torch.lerp(pictures, soft, blur) * gain + offset + grain
