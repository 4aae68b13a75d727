"""Measures of a result: does it keep the room, is it restyled at all, and is it free of faults?

Everything is measured against the photo, never absolutely, so that a photo's own grain, texture or blown-out window
does not count against its result. ``python -m dollhouse.evaluate.planted`` says which pictures set the numbers below,
and how well the score recognises planted faults.
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
"""Where edges lie near more than this share of a picture, an edge near another one proves nothing."""

_DEPTH_SIDE = 64
_COLOUR_SIDE = 16
"""Small, so that an edge which moved by a pixel does not count as a change of colour."""

_STEP = 12.0
"""Grey levels, 0..255. Where the result climbs less at an edge of the photo, it has no edge there whose sharpness could
be measured."""
_FINE, _COARSE = 3, 9
"""Widths in pixels at _SIDE. A sharp step climbs equally high within both; a ramp climbs within _FINE only _RAMP of
what it climbs within _COARSE."""
_RAMP = (_FINE - 1) / (_COARSE - 1)

_CONTRAST = 224.0
"""Grey levels, 0..255: a picture whose light spans as many has no veil over it."""

_CLIPPED = 5
"""Grey levels, 0..255: pixels as near to black or white show nothing."""
_LOST = 0.15
"""Share of clipped pixels that halves ``exposure``."""

_FLAT_SIDE = 128
_WINDOW = 5
"""Side in pixels at _FLAT_SIDE. Blotches are at least as large; noise is finer, but a window is too small to average it
out."""
_FLAT_SHARE, _FLAT_STEP = 0.4, 6.0
"""The flattest share of a photo counts as flat, and so does everything that varies by less than _FLAT_STEP grey levels
within the window."""
_FLAT_RANK = 0.3
"""The quantile that stands for the flat area. Low, since a wall that becomes brick leaves another wall or the ceiling
plain."""
_UNEVEN = 0.004
"""The unevenness of a flat area, over the span of the picture's light, at which ``cleanliness`` is a half. Of 255 grey
levels, rendered walls have 0.3 and clearly visible blotches 0.9."""

_RIDGE = 5.0
"""Grey levels², 0..255²: a photo that varies less explains nothing."""

_CHANGE = 10.0
"""ΔE, CIE 1976: the mean change of colour that scores 1 − 1/e. Two styles of a room are 10 to 45 apart."""

_LEAST = 0.001
"""Counted in place of a measure of 0, so that one fault does not hide all others."""

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
    """Each of WEIGHTS in 0..1, and ``score``, their weighted geometric mean: one bad fault makes a bad picture.

    All pictures show the same frame at one size: photo and result UINT8 [H,W,3], edges and depth UINT8 [H,W]. Where
    ``kept`` > 127 the photo was meant to stay, so its pixels are not counted as a lack of change.
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
    """Quadratic mean of recall and precision of two edge maps (255 = edge). An edge is found when the other map has
    one near it; what chance alone would find is subtracted.

    Without that correction noise would score well: its edges are everywhere, so every edge of the photo has one near
    it. The quadratic mean is lenient where only one of the two is low: a pattern that comes or goes with the style
    lowers just one.
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
    """Spearman's rank correlation of two depth maps, negative ones counted as 0: what was nearer should still be so."""
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
    """The share of _CONTRAST that the picture's light spans, without the darkest and the lightest hundredth; at most 1.

    A veil, white or grey, lowers it.
    """
    return min(1.0, _span(result) / _CONTRAST)


def _span(picture: Bytes) -> float:
    """Grey levels between the darkest and the lightest hundredth."""
    low, high = np.percentile(_grey(resize(picture, _fitted(picture.shape))), (1, 99))
    return float(high - low)


def exposure(photo: Bytes, result: Bytes) -> float:
    """0..1, lower the more pixels are burnt out or crushed to black that are not so in the photo."""
    before, after = (_clipped(resize(picture, _fitted(photo.shape))) for picture in (photo, result))
    return 1.0 / (1.0 + (float((after & ~before).mean()) / _LOST) ** 2)


def _clipped(picture: Bytes) -> NDArray[np.bool_]:
    grey = _grey(picture)
    return (grey <= _CLIPPED) | (grey >= 255 - _CLIPPED)


def cleanliness(photo: Bytes, result: Bytes) -> float:
    """0..1, lower the more blotches and noise the result has where the photo is flat."""
    size = _fitted(photo.shape, _FLAT_SIDE)
    before, after = resize(photo, size), resize(result, size)
    steps = cv2.dilate(_climb(_grey(before), _FINE), np.ones((_WINDOW, _WINDOW), np.uint8))
    flat = steps <= max(_FLAT_STEP, float(np.quantile(steps, _FLAT_SHARE)))
    left = _unexplained(before.astype(np.float32), after.astype(np.float32), flat)
    uneven = float(np.quantile(left, _FLAT_RANK)) / max(1.0, _span(result))
    return 1.0 / (1.0 + (uneven / _UNEVEN) ** 4)


def _unexplained(before: Floats, after: Floats, where: NDArray[np.bool_]) -> Floats:
    """Grey levels [N], at the N pixels ``where``: the distance of ``after`` from the affine function of the colours of
    ``before`` that fits it best in the window around the pixel. This is the model of the guided filter with a colour
    guide (He et al. 2013, doi:10.1109/TPAMI.2012.213)."""
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
    """The mean of the window around each pixel, channel by channel."""
    return cv2.blur(values, (_WINDOW, _WINDOW))


def changed(photo: Bytes, result: Bytes, kept: Bytes | None = None) -> float:
    """0..1, higher the more the colours changed where the photo was not to be kept; 0 = not at all."""
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
