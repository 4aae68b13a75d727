"""How good a result is, measured: does it keep the room, is it restyled at all, and is it a decent picture?

Everything is measured against the photo, never absolutely, so that a photo's own grain, texture or blown-out window is
not held against its result. Which pictures set the numbers below, and how well the score tells planted faults:
``python -m benchmarks.planted``.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from restyle.pictures.images import Bytes, Floats, resize
from restyle.pictures.symmetric import solve

_SIDE = 256
"""Pictures are measured at this long side, larger ones reduced to it."""
_TOLERANCE = 2
"""Edges count as found within this many pixels at _SIDE."""
_EVERYWHERE = 0.9
"""Share of a picture near edges from which on it says nothing that an edge has one near it."""

_DEPTH_SIDE = 64
_COLOUR_SIDE = 16
"""Small enough that edges which moved by a pixel are no change of colour."""

_STEP = 12.0
"""Of 255: what lies below at an edge of the photo is no edge of the result, and says nothing of its sharpness."""
_FINE, _COARSE = 3, 9
"""Widths in pixels at _SIDE. A sharp step climbs as high in the one as in the other, a ramp only _RAMP of it."""
_RAMP = (_FINE - 1) / (_COARSE - 1)

_CONTRAST = 224.0
"""Of 255: a picture whose light spans as much has no veil before it."""

_CLIPPED = 5
"""Of 255: as near to black or to white there is nothing left to see."""
_LOST = 0.15
"""Share of clipped pixels that halves ``exposure``."""

_FLAT_SIDE = 128
_WINDOW = 5
"""Blotches are as small as this at _FLAT_SIDE, or larger; noise is smaller, and does not average out there."""
_FLAT_SHARE, _FLAT_STEP = 0.4, 6.0
"""As much of a photo counts as flat, the flattest first, and all that varies by less (of 255) within the window."""
_FLAT_RANK = 0.3
"""The quantile that stands for the flat area: a wall that becomes brick leaves another wall or the ceiling plain."""
_UNEVEN = 0.004
"""Of 255: unevenness of a flat area at which ``cleanliness`` is a half. Rendered walls have 0.3, blotches that one sees
at once 0.9."""

_RIDGE = 5.0
"""Of 255²: the variance of the photo below which it explains nothing."""

_CHANGE = 10.0
"""ΔE, CIE 1976: a change of colour of which 1 − 1/e of the whole is made. Two styles of a room are 10 to 45 apart."""

_LEAST = 0.001
"""Counted for a measure that is 0, so that one fault alone does not hide all others."""

WEIGHTS = {
    "edge_agreement": 0.1,
    "depth_agreement": 0.08,
    "sharpness": 0.2,
    "contrast": 0.12,
    "exposure": 0.1,
    "cleanliness": 0.2,
    "changed": 0.2,
}
"""Exponents; they sum to 1."""


def measure_quality(
    photo: Bytes,
    photo_edges: Bytes,
    photo_depth: Bytes,
    result: Bytes,
    result_edges: Bytes,
    result_depth: Bytes,
    kept: Bytes | None = None,
) -> dict[str, float]:
    """Each of WEIGHTS in 0..1, and ``score``, their weighted geometric mean: one bad fault is enough for a bad picture.

    All pictures show the same frame at one size. Where ``kept`` > 127 the photo was to stay, and is no lack of change.
    """
    parts = {
        "edge_agreement": edge_agreement(photo_edges, result_edges),
        "depth_agreement": depth_agreement(photo_depth, result_depth),
        "sharpness": sharpness(photo, photo_edges, result),
        "contrast": contrast(result),
        "exposure": exposure(photo, result),
        "cleanliness": cleanliness(photo, result),
        "changed": changed(photo, result, kept),
    }
    parts["score"] = float(np.prod([max(_LEAST, parts[name]) ** weight for name, weight in WEIGHTS.items()]))
    return {name: round(float(value), 4) for name, value in parts.items()}


def edge_agreement(first: Bytes, second: Bytes) -> float:
    """Quadratic mean of recall and precision of two edge maps (255 = edge), each found near the other, minus what
    chance alone would find.

    The correction is what makes noise score 0: its edges are everywhere, so every edge of the photo has one near it.
    The quadratic mean forgives one of the two, since a pattern that comes or goes with the style costs just one.
    """
    maps = [resize(edges, _fitted(edges.shape)) > 0 for edges in (first, second)]
    if not any(edges.any() for edges in maps):
        return 1.0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _TOLERANCE + 1,) * 2)
    near = [cv2.dilate(edges.astype(np.uint8), kernel) > 0 for edges in maps]
    recall, precision = _above_chance(maps[0], near[1]), _above_chance(maps[1], near[0])
    return float(np.sqrt((recall**2 + precision**2) / 2.0))


def _fitted(shape: tuple[int, ...], side: int = _SIDE) -> tuple[int, int]:
    """(height, width) of a picture whose long side is reduced to ``side``."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _above_chance(edges: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
    covered = near.mean()
    if not edges.any() or covered > _EVERYWHERE:
        return 0.0
    return max(0.0, float((near[edges].mean() - covered) / (1.0 - covered)))


def depth_agreement(first: Bytes, second: Bytes) -> float:
    """Spearman's rank correlation of two depth maps, below 0 counted as 0: what was nearer should still be nearer."""
    small = [
        resize(depth.astype(np.float32), (_DEPTH_SIDE, _DEPTH_SIDE)).ravel() for depth in (first, second)
    ]
    # Averaging leaves rounding dust, which would rank pixels of equal depth.
    ranks = [_ranks(values.round(2)) for values in small]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return max(0.0, float(np.corrcoef(*ranks)[0, 1]))


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]


def sharpness(photo: Bytes, photo_edges: Bytes, result: Bytes) -> float:
    """How steep the result is at the photo's edges, as a share of how steep the photo is there, at most 1.

    Steepness is what the light climbs within _FINE pixels over what it climbs within _COARSE: it depends neither on
    contrast nor on what noise and textures do elsewhere. A ramp counts as 0.
    """
    size = _fitted(photo.shape)
    edges = resize(photo_edges, size) > 0
    before, after = (_steepness(_grey(resize(picture, size)), edges) for picture in (photo, result))
    return min(1.0, after / before) if before > 0 else 1.0


def _steepness(grey: Floats, edges: NDArray[np.bool_]) -> float:
    fine, coarse = (_climb(cv2.GaussianBlur(grey, (0, 0), 0.5), width) for width in (_FINE, _COARSE))
    steps = edges & (coarse > _STEP)
    if not steps.any():
        return 0.0
    return max(0.0, float(fine[steps].sum() / coarse[steps].sum() - _RAMP))


def _climb(grey: Floats, width: int) -> Floats:
    """Highest minus lowest within a square of ``width`` pixels."""
    return cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8))


def contrast(result: Bytes) -> float:
    """How much of black to white the picture's light spans, the outermost hundredths left out; 1 from _CONTRAST on.

    A veil, white or grey, takes from it.
    """
    return min(1.0, _span(result) / _CONTRAST)


def _span(picture: Bytes) -> float:
    """Of 255."""
    low, high = np.percentile(_grey(resize(picture, _fitted(picture.shape))), (1, 99))
    return float(high - low)


def exposure(photo: Bytes, result: Bytes) -> float:
    """Falls with the share of pixels that are burnt out or crushed to black, but in the photo are not."""
    before, after = (_clipped(resize(picture, _fitted(photo.shape))) for picture in (photo, result))
    return 1.0 / (1.0 + (float((after & ~before).mean()) / _LOST) ** 2)


def _clipped(picture: Bytes) -> NDArray[np.bool_]:
    grey = _grey(picture)
    return (grey <= _CLIPPED) | (grey >= 255 - _CLIPPED)


def cleanliness(photo: Bytes, result: Bytes) -> float:
    """Freedom from blotches and noise: from what the result has where the photo is flat and explains nothing."""
    size = _fitted(photo.shape, _FLAT_SIDE)
    before, after = resize(photo, size), resize(result, size)
    steps = cv2.dilate(_climb(_grey(before), _FINE), np.ones((_WINDOW, _WINDOW), np.uint8))
    flat = steps <= max(_FLAT_STEP, float(np.quantile(steps, _FLAT_SHARE)))
    left = _unexplained(before.astype(np.float32), after.astype(np.float32), flat)
    uneven = float(np.quantile(left, _FLAT_RANK)) / max(1.0, _span(result))
    return 1.0 / (1.0 + (uneven / _UNEVEN) ** 4)


def _unexplained(before: Floats, after: Floats, where: NDArray[np.bool_]) -> Floats:
    """[N], of 255: at the N pixels ``where``, how far ``after`` is from the affine function of the colours of
    ``before`` that fits it best in the window around the pixel: the model of the guided filter with a colour guide
    (He et al. 2013, doi:10.1109/TPAMI.2012.213)."""
    outer = before[..., :, None] * np.concatenate([before, after], -1)[..., None, :]
    means = _mean(before)[where], _mean(after)[where]
    products = _mean(outer.reshape(*outer.shape[:2], 18))[where].reshape(-1, 3, 6)
    covariance = products - means[0][:, :, None] * np.concatenate(means, -1)[:, None, :]
    matrix = {
        (i, j): covariance[:, i, j, None] + (_RIDGE if i == j else 0.0)
        for i in range(3)
        for j in range(i + 1)
    }
    slopes = solve(matrix, [covariance[:, i, 3:] for i in range(3)])
    offsets = before[where] - means[0]
    explained = means[1] + sum(offsets[:, i, None] * slope for i, slope in enumerate(slopes))
    return np.sqrt(((after[where] - explained) ** 2).mean(-1))


def _mean(values: Floats) -> Floats:
    """Of the window around each pixel, channel by channel."""
    return cv2.blur(values, (_WINDOW, _WINDOW))


def changed(photo: Bytes, result: Bytes, kept: Bytes | None = None) -> float:
    """How much was restyled, 0 = nothing: by the mean change of colour where the photo was not to be kept."""
    before, after = (
        cv2.cvtColor(
            resize(picture, (_COLOUR_SIDE, _COLOUR_SIDE)).astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab
        )
        for picture in (photo, result)
    )
    change = np.sqrt(((after - before) ** 2).sum(-1))
    if kept is not None:
        free = resize(kept, change.shape) <= 127
        if not free.any():
            return 1.0
        change = change[free]
    return 1.0 - float(np.exp(-change.mean() / _CHANGE))


def _grey(picture: Bytes) -> Floats:
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
