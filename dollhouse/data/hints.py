"""Hints for ControlNets: edges as the service's ``edges`` model finds them, depth as bytes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from export.contract import CANNY

GAMMA = 0.35
"""Standard deviation of the logarithm of the perturbed depth's exponent."""


def canny(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """UINT8 [H,W,3] RGB → UINT8 [H,W], 0 or 255."""
    return np.asarray(cv2.Canny(np.ascontiguousarray(picture), *CANNY), np.uint8)


def edge_f1(made: NDArray[np.uint8], real: NDArray[np.uint8]) -> float:
    """Harmonic mean of precision and recall of edge pixels [H,W] that match within one pixel, 0..1."""
    kernel = np.ones((3, 3), np.uint8)
    near_made, near_real = cv2.dilate(made, kernel) > 0, cv2.dilate(real, kernel) > 0
    precision = (near_real & (made > 0)).sum() / max(1, int((made > 0).sum()))
    recall = (near_made & (real > 0)).sum() / max(1, int((real > 0).sum()))
    return float(2.0 * precision * recall / max(1e-9, precision + recall))


def depth_bytes(depth: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Metres [H,W] → inverse depth, min–max scaled to UINT8 [H,W], white = near: what the depth model answers."""
    inverse = 1.0 / np.maximum(depth.astype(np.float32), 0.05)
    low, high = inverse.min(), inverse.max()
    return np.asarray(((inverse - low) / max(high - low, 1e-6) * 255.0).round(), np.uint8)


def perturb_depth(depth: Tensor, choices: np.random.Generator) -> Tensor:
    """The errors of a depth model on hints FP32 [B,1,H,W] in 0..1: soft outlines, a bent scale, a slow tilt.

    Each sample has its own errors; one in four stays exact.
    """
    count = len(depth)
    exact = torch.from_numpy(choices.random(count) < 0.25)

    def drawn(values: NDArray[np.floating]) -> Tensor:
        value = torch.from_numpy(values.astype(np.float32)).to(depth.device)
        return value.masked_fill(exact.to(depth.device), 0.0).view(count, 1, 1, 1)

    soft = F.avg_pool2d(
        F.avg_pool2d(depth, 5, 1, 2, count_include_pad=False), 5, 1, 2, count_include_pad=False
    )
    bent = torch.lerp(depth, soft, drawn(choices.random(count))).clamp(1e-4, 1.0)
    bent = bent ** drawn(choices.normal(0.0, GAMMA, count)).exp()
    coarse = torch.from_numpy(choices.normal(0.0, 0.04, (count, 1, 4, 4)).astype(np.float32)).to(depth.device)
    waves = F.interpolate(coarse, depth.shape[-2:], mode="bicubic", align_corners=False)
    bent = bent + waves.masked_fill(exact.view(count, 1, 1, 1).to(depth.device), 0.0)
    low, high = bent.amin((2, 3), keepdim=True), bent.amax((2, 3), keepdim=True)
    return (bent - low) / (high - low).clamp(min=1e-6)
