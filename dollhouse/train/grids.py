"""Pictures between bytes and networks, and sheets of them to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def to_signal(pictures: NDArray[np.uint8]) -> Tensor:
    """UINT8 [B,H,W,3] → FP32 [B,3,H,W] in −1..1."""
    return signal_of(torch.from_numpy(np.ascontiguousarray(pictures)))


def signal_of(pictures: Tensor) -> Tensor:
    """UINT8 [B,H,W,3] → FP32 [B,3,H,W] in −1..1, on the same device."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_bytes(signal: Tensor) -> NDArray[np.uint8]:
    """FP [B,3,H,W], clipped to −1..1 → UINT8 [B,H,W,3]."""
    pixels = ((signal.detach().float().cpu().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).numpy()


def save_grid(path: Path, rows: Sequence[Sequence[Tensor]]) -> None:
    """Write rows of pictures [3,H,W] in −1..1, all of one size, as one PNG."""
    lines = [np.concatenate(list(to_bytes(torch.stack(list(row)))), axis=1) for row in rows]
    Image.fromarray(np.concatenate(lines)).save(path)
