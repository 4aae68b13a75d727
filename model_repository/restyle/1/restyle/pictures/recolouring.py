"""Recolouring: the network's change of the colours, learnt at its size and applied to the photo at its own size.

A network of 256 pixels cannot paint the detail of a photo of a thousand. But where the room is the same, it changed the
colours of a small neighbourhood nearly by an affine function. That function is learnt from the two small pictures and
applied to the large photo, whose edges and textures stay, in the result's colours.

The models are those of the guided filter with a colour guide (He, Sun, Tang 2013, doi:10.1109/TPAMI.2012.213), enlarged
and applied as in the fast guided filter (He, Sun 2015, arXiv:1505.00996) and in bilateral guided upsampling (Chen,
Adams, Wadhwa, Hasinoff 2016, doi:10.1145/2980179.2982423). Two things are added. Networks blur, which beside a sharp
photo looks like a loss of contrast: so the models are learnt from a photo that is blurred like the result, and applied
to the sharp one. And where the models fail, because the result shows something else than the photo, the network's own
pixels are added.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from restyle.pictures.images import Bytes, Fit, Floats
from restyle.pictures.symmetric import solve

# Chosen on renders of training rooms, then checked on photos; `python -m dollhouse.evaluate.finishing` measures them.

RADIUS = 3
"""Radius of the neighbourhood that a model is learnt from, in pixels of the network."""

FLAT = 4.0
"""The photo's standard deviation, in grey levels 0..255, that a model takes for half noise."""

BLURS = (0.0, 0.5, 0.75, 1.0, 1.4, 2.0, 2.8)
"""The blurs of a result that are tried: standard deviations in pixels of the network."""

LIKELY = BLURS.index(1.0)
"""Where the search begins."""

MOST_GAIN = 2.0
"""The largest factor by which a model may amplify noise of the photo's channels."""

FAINT = 4.0
"""An error of the models, in grey levels 0..255, of which half is taken for the network's noise."""

MOST_PIXELS = 2048 * 2048
"""The largest finished picture."""

BAND = 32
"""Rows of the photo that are computed at once: few, to save memory."""


@dataclass(frozen=True)
class Recolouring:
    """A change of colour for every pixel of the network's picture.

    ``factors`` is FP32 [3,4,h,w]: for each channel of the result, the factors of the photo's red, green and blue, and
    a constant.
    """

    factors: Floats

    def inside(self, fit: Fit) -> "Recolouring":
        """The recolouring of the part of the bucket that is photo."""
        (top, left), (height, width) = fit.offset, fit.inner
        return Recolouring(self.factors[:, :, top : top + height, left : left + width])

    def of(self, photo: Bytes) -> Floats:
        """Recolour ``photo`` UINT8 [H,W,3], the same view at any size: FP32 [H,W,3] in 0..255, not rounded."""
        height, width, _ = photo.shape
        down = _cubic(self.factors.shape[2], height)
        recoloured = np.empty(photo.shape, np.float32)
        for top in range(0, height, BAND):
            rows = slice(top, top + BAND)
            recoloured[rows] = _apply(self._enlarged(down[rows], width), photo[rows])
        return recoloured

    def _enlarged(self, down: Floats, width: int) -> Floats:
        """Rows of the factors at the photo's size, [3,4,rows,width], each the sum of a row of ``down`` [rows,h]."""
        used = np.flatnonzero(down.any(axis=0))
        near = slice(used[0], used[-1] + 1)
        # Twelve small products: for one large one OpenBLAS would start threads that mostly wait for each other.
        narrow = down[:, near] @ self.factors[:, :, near]
        flat = narrow.reshape(-1, narrow.shape[-1])
        return cv2.resize(flat, (width, len(flat)), interpolation=cv2.INTER_CUBIC).reshape(
            *narrow.shape[:3], width
        )


def _cubic(small: int, large: int) -> Floats:
    """[large,small]: the weights of the ``small`` pixels in each of the ``large`` ones of an enlarged picture."""
    return cv2.resize(np.eye(small, dtype=np.float32), (small, large), interpolation=cv2.INTER_CUBIC)


def _apply(factors: Floats, photo: Bytes) -> Floats:
    """``factors`` FP32 [3,4,H,W] times photo [H,W,3] → FP32 [H,W,3], clipped to 0..255."""
    channels = [channel.astype(np.float32) for channel in cv2.split(photo)]
    mixed = []
    for to in range(3):
        total = factors[to, 3].copy()
        for factor, channel in zip(factors[to, :3], channels, strict=True):
            total += factor * channel
        mixed.append(total)
    return np.clip(cv2.merge(mixed), 0.0, 255.0)


def learn_recolouring(photo: Bytes, result: Floats, detail: float) -> Recolouring:
    """The change of colours from ``photo`` UINT8 [h,w,3] to ``result`` FP32 [h,w,3] in 0..255, both at the network's
    size.

    ``detail`` 0..1 is the share that is made from the photo; 0 = the result's own pixels.
    """
    painted = _planes(result)
    factors, missed = _best_models(_planes(photo), painted)
    factors[:, 3] += missed * _certainty(missed)
    factors *= detail
    factors[:, 3] += (1.0 - detail) * painted
    return Recolouring(factors)


def finished_size(photo: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """(height, width) of a finished picture: the photo's, at most MOST_PIXELS, and at least ``fit.output``."""
    height, width = photo
    if height * width <= fit.output[0] * fit.output[1]:
        return fit.output
    scale = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))


def _planes(picture: Bytes | Floats) -> Floats:
    """[h,w,3] → FP32 [3,h,w]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)


def _best_models(guide: Floats, painted: Floats) -> tuple[Floats, Floats]:
    """The models from the photo [3,h,w] to the result [3,h,w], at the blur with the smallest error, and their error
    [3,h,w].

    A photo that is sharper or more blurred than the result explains it less well, so the search goes downhill.
    """

    @cache
    def tried(index: int) -> tuple[float, Floats, Floats]:
        seen = _blur(guide, BLURS[index])
        factors = _models(seen, painted)
        missed = painted - _painted(factors, seen)
        return float(np.square(missed).mean()), factors, missed

    best = LIKELY
    while True:
        around = range(max(0, best - 1), min(len(BLURS), best + 2))
        better = min(around, key=lambda index: tried(index)[0])
        if better == best:
            return tried(best)[1:]
        best = better


def _blur(planes: Floats, deviation: float) -> Floats:
    if deviation == 0.0:
        return planes
    return np.stack(
        [cv2.GaussianBlur(plane, (0, 0), deviation, borderType=cv2.BORDER_REFLECT) for plane in planes]
    )


def _mean(plane: Floats) -> Floats:
    """The mean of every pixel's neighbourhood."""
    return cv2.blur(plane, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REFLECT)


def _models(guide: Floats, painted: Floats) -> Floats:
    """Least squares from ``guide`` to ``painted`` [3,h,w] in every neighbourhood, ridge FLAT²: factors [3,4,h,w].

    A pixel takes the mean of the models of all neighbourhoods that it is in.
    """
    guide_mean = [_mean(plane) for plane in guide]
    covariance = {
        (i, j): _mean(guide[i] * guide[j]) - guide_mean[i] * guide_mean[j]
        for i in range(3)
        for j in range(i + 1)
    }
    for i in range(3):
        covariance[i, i] += FLAT**2
    factors = np.empty((3, 4, *guide.shape[1:]), np.float32)
    for to, plane in enumerate(painted):
        mean = _mean(plane)
        gains = solve(covariance, [_mean(guide[i] * plane) - guide_mean[i] * mean for i in range(3)])
        length = np.sqrt(sum(gain * gain for gain in gains))
        within = np.minimum(1.0, MOST_GAIN / np.maximum(length, MOST_GAIN))
        gains = [gain * within for gain in gains]
        added = mean - sum(gain * of for gain, of in zip(gains, guide_mean, strict=True))
        for index, values in enumerate([*gains, added]):
            factors[to, index] = _mean(values)
    return factors


def _painted(factors: Floats, guide: Floats) -> Floats:
    """Factors [3,4,h,w] times guide [3,h,w]."""
    return factors[:, 3] + sum(factors[:, i] * guide[i] for i in range(3))


def _certainty(missed: Floats) -> Floats:
    """[h,w] in 0..1 from the models' error [3,h,w]: a small one is the network's noise, a large one a thing that the
    photo does not show."""
    energy = np.square(missed).mean(axis=0)
    return energy / (energy + FAINT**2)
