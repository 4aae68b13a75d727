"""Grading: a picture's colours moved towards a palette, or towards those of another picture.

Every pixel's new colour depends on its old colour alone, by a smooth function. So nothing that lies in the picture
moves, no border appears where there was none, and what is learnt of the graded picture holds at every size.
"""

import numpy as np
from numpy.typing import NDArray

from restyle.pictures.images import Bytes, Floats
from restyle.pictures.oklab import from_oklab, to_oklab

# Chosen by eye on rooms of CHOOSING, and by `python -m benchmarks.keep --choose`; measured on others.

SPREAD = 0.07
"""In OKLab: a colour of the palette that is so much farther than the nearest one has e^−0.5 of its say."""
SHADE = 0.35
"""The weight of lightness in the choice of a palette's colour, and the share of it that moves: shadows stay shadows."""
FARTHEST = 0.16
"""The longest way that a pixel goes, in OKLab."""
APART = 0.3
"""A pixel whose lightness is so much another than the palette's goes e^−0.5 of its way: under a palette of navy a white
ceiling stays white, where it would become a veil."""
BRIGHT, GLARING = 0.93, 1.0
"""Lightness from which pixels go less far, and at which they stay: lamps and the sky outside."""

GAIN = 1.8
"""The most that the contrast of a picture, along any axis of OKLab, is stretched or shrunk to match another's."""
RIDGE = 1e-4
"""Added to variances in OKLab: what has less contrast than 0.01 has no direction."""


def towards_palette(pixels: Floats, palette: Floats, amount: float) -> Floats:
    """Pixels FP32 [H,W,3] in 0..255, moved by ``amount`` 0..1 of their way to the nearest of the colours ``palette``,
    OKLab [N,3]."""
    lab = to_oklab(pixels)
    weights = np.array([SHADE, 1.0, 1.0], np.float32)
    away = lab[..., None, :] - palette
    distance = np.square(away * weights).sum(-1)
    nearest = distance.min(-1, keepdims=True)
    say = np.exp((nearest - distance) / (2 * SPREAD**2))
    say /= say.sum(-1, keepdims=True)
    way = -(say[..., None] * away).sum(-2) * weights
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    lighter = (say * away[..., 0]).sum(-1, keepdims=True)
    way *= np.exp(-np.square(lighter / APART) / 2)
    way *= np.tanh(length / FARTHEST) * FARTHEST / np.maximum(length, 1e-6)
    stays = np.clip((lab[..., :1] - BRIGHT) / (GLARING - BRIGHT), 0.0, 1.0)
    return from_oklab(lab + amount * (1.0 - stays) * way)


def towards_picture(
    pixels: Floats, free: NDArray[np.bool_] | None, reference: Bytes, amount: float
) -> Floats:
    """Pixels FP32 [H,W,3] in 0..255 with the mean colour and the contrasts of ``reference`` UINT8 [h,w,3], by
    ``amount`` 0..1. Those of ``free`` [H,W] alone are matched; None = all.

    The linear map between two normal distributions of OKLab that moves colours least (Pitié, Kokaram 2007,
    doi:10.1049/cp:20070055), its stretching limited by GAIN.
    """
    lab = to_oklab(pixels)
    mean, spread = _statistics(lab if free is None or not free.any() else lab[free])
    wanted, wanted_spread = _statistics(to_oklab(reference.astype(np.float32)))
    root = _power(spread, 0.5)
    back = _power(spread, -0.5)
    stretch = back @ _power(root @ wanted_spread @ root, 0.5) @ back
    values, axes = np.linalg.eigh(stretch)
    stretch = (axes * np.clip(values, 1 / GAIN, GAIN)) @ axes.T
    matched = (lab - mean) @ stretch.T.astype(np.float32) + wanted
    return from_oklab((lab + amount * (matched - lab)).astype(np.float32))


def palette_distance(picture: Bytes, free: NDArray[np.bool_] | None, palette: Floats) -> float:
    """The mean distance of the pixels of ``picture`` UINT8 [H,W,3] to the nearest of the colours ``palette``, OKLab
    [N,3], times 100; of those in ``free`` [H,W] alone where it is given and has any."""
    lab = to_oklab(picture.astype(np.float32))
    lab = lab if free is None or not free.any() else lab[free]
    nearest = np.min([np.square(lab - colour).sum(-1) for colour in palette], axis=0)
    return round(100 * float(np.sqrt(nearest).mean()), 2)


def picture_distance(picture: Bytes, free: NDArray[np.bool_] | None, reference: Bytes) -> float:
    """How far the colours of two pictures are from each other as normal distributions in OKLab (Fréchet's distance),
    times 100: of the mean colours, where the contrasts are alike."""
    lab = to_oklab(picture.astype(np.float32))
    one, one_spread = _statistics(lab if free is None or not free.any() else lab[free])
    other, other_spread = _statistics(to_oklab(reference.astype(np.float32)))
    root = _power(one_spread, 0.5)
    shared = np.trace(_power(root @ other_spread @ root, 0.5))
    spreads = float(np.trace(one_spread) + np.trace(other_spread) - 2 * shared)
    return round(100 * float(np.sqrt(np.square(one - other).sum() + max(0.0, spreads))), 2)


def main_colours(picture: Bytes, count: int) -> Floats:
    """The ``count`` main colours of a picture UINT8 [H,W,3], OKLab [N,3], the one of most pixels first: k-means from
    fixed beginnings, so that a picture always has the same ones."""
    lab = to_oklab(picture.astype(np.float32)).reshape(-1, 3)
    lab = lab[:: max(1, len(lab) // 4096)]
    by_light = lab[np.argsort(lab[:, 0], kind="stable")]
    centres = by_light[np.linspace(0, len(lab) - 1, count + 2).astype(int)[1:-1]]
    for _ in range(12):
        nearest = np.square(lab[:, None] - centres).sum(-1).argmin(-1)
        centres = np.stack(
            [lab[nearest == n].mean(0) if (nearest == n).any() else centres[n] for n in range(count)]
        )
    shares = np.bincount(nearest, minlength=count)
    return np.asarray(centres[np.argsort(-shares, kind="stable")], np.float32)


def _statistics(lab: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """Mean [3] and covariance [3,3] of colours [...,3]."""
    flat = lab.reshape(-1, 3).astype(np.float64)
    mean = flat.mean(0)
    spread = (flat - mean).T @ (flat - mean) / len(flat)
    return mean.astype(np.float32), spread + RIDGE * np.eye(3)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Of a symmetric positive one."""
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 1e-12) ** exponent) @ axes.T)
