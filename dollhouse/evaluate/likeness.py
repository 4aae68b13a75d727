"""How near a picture comes to the true render of the room restyled, and to colours that were asked for.

Pictures are UINT8 [H,W,3], about 256 pixels a side, which radii and thresholds below refer to. Edges of the truth are
Canny's with ``metrics.EDGE_THRESHOLDS``.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dollhouse.metrics import BLUR, EDGE_THRESHOLDS, Pixels, psnr
from dollhouse.render.colours import colour_of, rgb

Picture = NDArray[np.uint8]

APART = 6.0
"""Pixels: farther than this from every true edge there are only surfaces."""
FINE = 2.0
"""σ of the Gaussian whose difference from the picture is the high-pass."""


def gain_over_mean(picture: Picture, truth: Picture) -> float:
    """By how many dB of PSNR the picture is nearer to the truth than a plain picture of the truth's mean colour.

    In a style of bright, even rooms any result has a high PSNR; the gain leaves that out.
    """
    mean = np.rint(truth.mean((0, 1), keepdims=True)).astype(np.uint8)
    return psnr(picture, truth) - psnr(np.broadcast_to(mean, truth.shape), truth)


def blotches(picture: Picture, truth: Picture, structure: Picture) -> tuple[float, float]:
    """(flat, grain): RMS, in steps of 255, of the grey picture's high-pass away from true edges.

    True edges are those seen in the truth and those of ``structure`` (UINT8 [H,W], 255 = boundary of things or crease),
    which are real even where two colours of the truth are nearly alike. ``grain`` is everything found there; ``flat``
    leaves out what the truth has as well. For that the truth's own high-pass is taken off with the factor from 0 to 1
    that leaves least: true texture costs nothing at any contrast, nor does missing texture. Blotches are like no
    texture and stay. (0, 0) where edges are everywhere.
    """
    surfaces = _surfaces(truth, structure)
    if not surfaces.any():
        return 0.0, 0.0
    real, made = _high_pass(truth)[surfaces], _high_pass(picture)[surfaces]
    factor = float(made @ real) / max(float(real @ real), 1e-6)
    return _rms(made - min(1.0, max(0.0, factor)) * real), _rms(made)


def sharp(picture: Picture, truth: Picture) -> float:
    """Mean gradient at the truth's edges, the largest within a pixel, as a share of the truth's own: blur lowers it."""
    edges = _edges(truth)
    return gradient_share(picture, truth, edges, reach=1) if edges.any() else 1.0


def gradient_share(picture: Pixels, truth: Pixels, edges: NDArray[np.bool_], reach: int = 0) -> float:
    """Mean gradient (Sobel) of the picture where ``edges`` [H,W] are, over that of the truth.

    ``reach``: the largest gradient within that many pixels counts, so that an edge may lie a little aside.
    """
    made, real = (_gradient(each, reach)[edges].mean() for each in (picture, truth))
    return float(made / real)


def colour_distance(picture: Picture, palette: Sequence[str]) -> float:
    """Mean CIELAB distance (ΔE 1976) of the pixels to the nearest of a palette's colours.

    Raises ValueError for a name that ``colours.NAMED_COLOURS`` does not have.
    """
    colours = np.array([[rgb(colour_of(name)) for name in palette]], np.float32)
    pixels = picture.astype(np.float32) / 255.0
    lab, wanted = (cv2.cvtColor(each, cv2.COLOR_RGB2LAB) for each in (pixels, colours))
    distances = [np.linalg.norm(lab - each, axis=-1) for each in wanted[0]]
    return float(np.min(distances, axis=0).mean())


def variety(pictures: Sequence[Picture]) -> float:
    """Mean difference of all pairs, of 255, after a mean over BLUR × BLUR: colours count, noise does not."""
    soft = [cv2.blur(each.astype(np.float32), (BLUR, BLUR)) for each in pictures]
    pairs = [(one, other) for number, one in enumerate(soft) for other in soft[number + 1 :]]
    return float(np.mean([np.abs(one - other).mean() for one, other in pairs]))


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.uint8)


def _edges(truth: Picture) -> NDArray[np.bool_]:
    return np.asarray(cv2.Canny(_grey(truth), *EDGE_THRESHOLDS) > 0)


def _surfaces(truth: Picture, structure: Picture) -> NDArray[np.bool_]:
    free = (~(_edges(truth) | (structure > 0))).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 5) > APART)


def _high_pass(picture: Picture) -> NDArray[np.float32]:
    grey = _grey(picture).astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), FINE))


def _gradient(picture: Pixels, reach: int) -> NDArray[np.float32]:
    """Sobel's magnitude [H,W], the largest of the square around a pixel."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.dilate(np.hypot(across, down), np.ones((2 * reach + 1,) * 2)), np.float32)
