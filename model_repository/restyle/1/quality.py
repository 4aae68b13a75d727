"""How good a result is, measured: does it keep the room, and is it a decent picture?"""

import cv2
import numpy as np
from images import Bytes, resize
from numpy.typing import NDArray

_TOLERANCE = 2
"""Edges count as found within this many pixels at _SIDE."""
_SIDE = 256
_DEPTH_SIDE = 64

_SHARP = 100.0
"""Variance of the Laplacian at which a picture of _SIDE counts as half sharp."""

_NOISY = 16.0
"""Standard deviation of noise, of 255, at which a picture counts as half clean."""

_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)

WEIGHTS = {
    "edge_agreement": 0.4,
    "depth_agreement": 0.3,
    "sharpness": 0.1,
    "exposure": 0.05,
    "cleanliness": 0.15,
}


def measure_quality(
    photo_edges: Bytes, photo_depth: Bytes, result: Bytes, result_edges: Bytes, result_depth: Bytes
) -> dict[str, float]:
    """Each of WEIGHTS in 0..1, and ``score``, their weighted mean. All pictures show the same frame."""
    clean = cleanliness(result)
    parts = {
        "edge_agreement": edge_agreement(photo_edges, result_edges),
        "depth_agreement": depth_agreement(photo_depth, result_depth),
        # Noise is the sharpest picture of all.
        "sharpness": sharpness(result) * clean,
        "exposure": exposure(result),
        "cleanliness": clean,
    }
    parts["score"] = sum(WEIGHTS[name] * value for name, value in parts.items())
    return {name: round(float(value), 4) for name, value in parts.items()}


def edge_agreement(first: Bytes, second: Bytes) -> float:
    """F1 of two edge maps (255 = edge), each found near the other, minus what chance alone would find.

    The correction is what makes noise score 0: its edges are everywhere, so every edge of the photo has one near it.
    """
    maps = [resize(edges, _fitted(edges.shape)) > 0 for edges in (first, second)]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _TOLERANCE + 1,) * 2)
    near = [cv2.dilate(edges.astype(np.uint8), kernel) > 0 for edges in maps]
    recall, precision = _above_chance(maps[0], near[1]), _above_chance(maps[1], near[0])
    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = _SIDE / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _above_chance(edges: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
    covered = near.mean()
    if not edges.any() or covered >= 1.0:
        return 0.0
    return max(0.0, (near[edges].mean() - covered) / (1.0 - covered))


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


def sharpness(picture: Bytes) -> float:
    """Variance of the Laplacian, squeezed into 0..1."""
    grey = cv2.cvtColor(resize(picture, _fitted(picture.shape[:2])), cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    return variance / (variance + _SHARP)


def exposure(picture: Bytes) -> float:
    """Share of pixels that are neither crushed to black nor burnt out."""
    grey = cv2.cvtColor(np.array(picture), cv2.COLOR_RGB2GRAY)
    return float(((grey > 4) & (grey < 251)).mean())


def cleanliness(picture: Bytes) -> float:
    """One minus noise, 0..1, by the noise's estimated standard deviation: a mask that neither slopes nor straight edges
    answer to, averaged over the picture (Immerkær 1996, doi:10.1006/cviu.1996.0060)."""
    grey = cv2.cvtColor(resize(picture, _fitted(picture.shape[:2])), cv2.COLOR_RGB2GRAY)
    answer = np.abs(cv2.filter2D(grey.astype(np.float32), -1, _NOISE_MASK))
    deviation = (
        float(np.sqrt(np.pi / 2.0) / 6.0 * answer[1:-1, 1:-1].mean()) if min(answer.shape) > 2 else 0.0
    )
    return 1.0 / (1.0 + (deviation / _NOISY) ** 2)
