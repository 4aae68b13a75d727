"""Photometric jitter: effects of real cameras, lamps and surfaces that renders lack.

Only the *source* of a restyling is jittered, never its target: the result must not depend on the photo's light.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""[H,W,3], sRGB, about 0..1."""


def jittered(picture: NDArray[np.uint8], choices: np.random.Generator) -> NDArray[np.uint8]:
    """UINT8 [H,W,3] → the picture as another camera might take it; one in seven keeps its exposure and colours."""
    made = picture.astype(np.float32) / 255.0
    if choices.random() < 0.85:
        made = _exposed(made, choices)
    if choices.random() < 0.4:
        made = made + _texture(made.shape, choices)
    if choices.random() < 0.6:
        made = np.asarray(cv2.GaussianBlur(made, (0, 0), choices.uniform(0.3, 1.1)), np.float32)
    if choices.random() < 0.5:
        grain = choices.standard_normal(made.shape, np.float32)
        made = made + choices.uniform(0.0, 0.03) * grain
    return np.asarray(np.rint(made * 255.0).clip(0, 255), np.uint8)


def _exposed(picture: Picture, choices: np.random.Generator) -> Picture:
    """Gamma, brightness, white balance, saturation, uneven light, contrast."""
    made = picture ** np.float32(np.exp(choices.normal(0.0, 0.35)))
    balance = np.exp(choices.normal(0.0, 0.18) + choices.normal(0.0, 0.08, 3))
    made = made * balance.astype(np.float32)
    grey = made.mean(2, keepdims=True)
    made = grey + (made - grey) * np.float32(choices.uniform(0.35, 1.15))
    if choices.random() < 0.6:
        coarse = np.exp(choices.normal(0.0, 0.25, (3, 3))).astype(np.float32)
        made = made * _enlarged(coarse, made.shape)
    contrast, offset = choices.uniform(0.6, 1.15), choices.normal(0.0, 0.06)
    return 0.5 + (made - 0.5) * np.float32(contrast) + np.float32(offset)


def _texture(shape: tuple[int, ...], choices: np.random.Generator) -> Picture:
    """Smooth noise of a random scale: plaster, cloth, wood grain; also as stripes."""
    across, down = (int(choices.choice((2, 4, 8, 16))) for _ in range(2))
    size = max(1, shape[0] // down), max(1, shape[1] // across)
    return _enlarged(choices.normal(0.0, choices.uniform(0.01, 0.07), size).astype(np.float32), shape)


def _enlarged(field: NDArray[np.float32], shape: tuple[int, ...]) -> Picture:
    made = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(made[..., None], np.float32)
