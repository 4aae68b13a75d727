"""How near a picture comes to the true render of the room restyled, and to colours that were asked for.

Pictures are UINT8 [H,W,3], about 256 pixels a side: radii and thresholds below are pixels and steps of those.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dollhouse.metrics import BLUR, psnr
from dollhouse.render.colours import colour_of, rgb

Picture = NDArray[np.uint8]

TRUE_EDGES = (40, 100)
"""Canny's thresholds on the true render."""
APART = 6.0
"""Further than this from every true edge a picture has nothing but surfaces."""
FINE = 2.0
"""σ of the Gaussian whose difference from the picture is the high-pass."""


def gain_over_mean(picture: Picture, truth: Picture) -> float:
    """By how many dB of PSNR the picture is nearer to the truth than the even picture of the truth's mean colour.

    A style of bright, even rooms has a high PSNR whatever was done; this is what remains of it.
    """
    mean = np.rint(truth.mean((0, 1), keepdims=True)).astype(np.uint8)
    return psnr(picture, truth) - psnr(np.broadcast_to(mean, truth.shape), truth)


def flat(picture: Picture, truth: Picture, structure: Picture) -> float:
    """Blotches and grain, in steps of 255: RMS of the grey picture's high-pass away from true edges, without what is in
    the truth.

    True edges are those seen in the truth and those of ``structure`` (UINT8 [H,W], 255 = boundary of things or crease),
    which are real even where two colours of the truth are nearly alike. The truth's own high-pass is taken off with the
    factor from 0 to 1 that leaves least: texture that is really there costs nothing, at whatever contrast, nor does
    texture that is missing. Blotches are like no texture and stay.
    """
    surfaces = _surfaces(truth, structure)
    if not surfaces.any():
        return 0.0
    real, made = _high_pass(truth)[surfaces], _high_pass(picture)[surfaces]
    factor = float(made @ real) / max(float(real @ real), 1e-6)
    return _rms(made - min(1.0, max(0.0, factor)) * real)


def grain(picture: Picture, truth: Picture, structure: Picture) -> float:
    """RMS of the high-pass away from true edges, with everything in it."""
    surfaces = _surfaces(truth, structure)
    return _rms(_high_pass(picture)[surfaces]) if surfaces.any() else 0.0


def sharp(picture: Picture, truth: Picture) -> float:
    """Mean gradient at the truth's edges, the largest within a pixel, as a share of the truth's own: blur lowers it."""
    edges = _edges(truth)
    if not edges.any():
        return 1.0
    made, real = (_gradient(each)[edges].mean() for each in (picture, truth))
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
    return np.asarray(cv2.Canny(_grey(truth), *TRUE_EDGES) > 0)


def _surfaces(truth: Picture, structure: Picture) -> NDArray[np.bool_]:
    free = (~(_edges(truth) | (structure > 0))).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 5) > APART)


def _high_pass(picture: Picture) -> NDArray[np.float32]:
    grey = _grey(picture).astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), FINE))


def _gradient(picture: Picture) -> NDArray[np.float32]:
    """Sobel's magnitude, the largest of 3 × 3."""
    grey = _grey(picture).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.dilate(np.hypot(across, down), np.ones((3, 3))))
