"""Geometry and colour: photo → bucket → result, previews, masks.

Photos are fitted to a few shapes, the buckets, so that photos of all shapes can share a batch. A result has the photo's
aspect again, at the bucket's area.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_STRETCH = 1.12
"""The largest stretch of a photo to fill a bucket; one that would need more is padded."""

FEATHER = 0.01
"""Width of the seam around kept pixels, as a share of the long side."""

LINE_SHARE = 0.35
"""A pixel belongs to a line that covers a larger share of it. Below a half: see edges_from_bucket."""

PREVIEW_SIDE = 256
PREVIEW_BYTES = 20_000
PREVIEW_QUALITIES = (80, 50, 20)
"""JPEG qualities, tried in turn until the preview is small enough; the first steps are noise, which packs badly."""


@dataclass(frozen=True)
class Fit:
    """How a photo lies in its bucket. Sizes are (height, width)."""

    bucket: tuple[int, int]
    inner: tuple[int, int]
    """The part of the bucket that is photo; the rest is reflection."""
    offset: tuple[int, int]
    """Top and left of the inner part."""
    output: tuple[int, int]
    """The photo's aspect at the bucket's area."""


def fit_photo(height: int, width: int, buckets: list[tuple[int, int]]) -> Fit:
    """The bucket of nearest aspect, filled by a stretch of at most MAX_STRETCH or else padded."""
    aspect = width / height
    bucket = min(buckets, key=lambda size: abs(np.log(size[1] / size[0] / aspect)))
    rows, columns = bucket
    bend = columns / rows / aspect
    if max(bend, 1 / bend) <= MAX_STRETCH:
        inner = bucket
    else:
        scale = min(rows / height, columns / width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    offset = ((rows - inner[0]) // 2, (columns - inner[1]) // 2)
    area = rows * columns
    output = (max(1, round((area / aspect) ** 0.5)), max(1, round((area * aspect) ** 0.5)))
    return Fit(bucket, inner, offset, output)


def resize(picture: NDArray, size: tuple[int, int]) -> NDArray:
    """Any picture to (height, width): by area where it shrinks, cubic where it grows."""
    if picture.shape[:2] == size:
        return picture
    shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, (size[1], size[0]), interpolation=method)


def to_bucket(picture: NDArray, fit: Fit) -> NDArray:
    """A photo or a mask in the photo's frame → the bucket's frame, reflected at the sides where it does not reach."""
    inner = resize(picture, fit.inner)
    if fit.inner == fit.bucket:
        return inner
    top, left = fit.offset
    bottom, right = fit.bucket[0] - fit.inner[0] - top, fit.bucket[1] - fit.inner[1] - left
    return cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REFLECT)


def inside(picture: NDArray, fit: Fit) -> NDArray:
    """The part of the bucket that is photo."""
    top, left = fit.offset
    return picture[top : top + fit.inner[0], left : left + fit.inner[1]]


def from_bucket(picture: NDArray, fit: Fit) -> NDArray:
    """Crop the padding of the bucket away and scale to the result's size, ``fit.output``."""
    return resize(inside(picture, fit), fit.output)


def edges_from_bucket(edges: Bytes, fit: Fit) -> Bytes:
    """Edges, 0 or 255, from the bucket's frame to the result's: still 0 or 255, and without gaps in thin lines."""
    # Nearest would drop thin lines where the frame shrinks; one that falls between two pixels fills half of each.
    return cv2.threshold(from_bucket(edges, fit), LINE_SHARE * 255, 255, cv2.THRESH_BINARY)[1]


def to_signal(image: Bytes) -> Floats:
    """UINT8 [H,W,3] → FP32 [1,3,H,W] in −1..1, the range of the VAE."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1.0)


def to_pixels(signal: Floats) -> Floats:
    """FP32 [1,3,H,W], about −1..1 → FP32 [H,W,3] in 0..255, clipped, not rounded."""
    return np.clip(signal[0].transpose(1, 2, 0) * 127.5 + 127.5, 0.0, 255.0)


def to_bytes(pixels: Floats) -> Bytes:
    """FP32 in 0..255 → UINT8, rounded."""
    rounded = np.rint(pixels)
    return np.clip(rounded, 0, 255, out=rounded).astype(np.uint8)


def linear_pixels(x0: Floats, matrix: Floats) -> Floats:
    """Latents [1,C,h,w] → FP32 [h,w,3] in 0..255, through the linear ``matrix`` [C+1,3] in place of a network."""
    rgb = np.einsum("chw,cr->hwr", x0[0], matrix[:-1]) + matrix[-1]
    return np.clip(rgb * 127.5 + 127.5, 0, 255).astype(np.float32)


def preview_jpeg(pixels: Floats, fit: Fit) -> bytes:
    """A small JPEG (≤ 20 KB) of a bucket's ``pixels``, FP32 [h,w,3] in 0..255, which may be as coarse as latents."""
    pixels = from_bucket(resize(pixels, fit.bucket), fit)
    scale = min(1.0, PREVIEW_SIDE / max(pixels.shape[:2]))
    small = resize(pixels, (max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))))
    bgr = cv2.cvtColor(to_bytes(small), cv2.COLOR_RGB2BGR)
    for quality in PREVIEW_QUALITIES:
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(encoded) <= PREVIEW_BYTES:
            break
    return encoded.tobytes()


def latent_mask(mask: Bytes, fit: Fit, factor: int) -> Floats:
    """A keep mask in the photo's frame → its share of every latent cell, FP32 [1,1,h,w] in 0..1."""
    kept = to_bucket(_binary(mask), fit)
    cells = resize(kept, (fit.bucket[0] // factor, fit.bucket[1] // factor))
    return (cells.astype(np.float32) / 255.0)[None, None]


def _binary(mask: Bytes) -> Bytes:
    """0 or 255, by the rule that pixels > 127 are kept."""
    return cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]


def paste_kept(pixels: Floats, photo: Bytes, mask: Bytes) -> Floats:
    """Put the photo's pixels back where ``mask`` > 127, exactly; the seam is softened outside the mask only.

    ``pixels`` is the result, [H,W,3]; ``photo`` and ``mask`` may have another size of the same frame.
    """
    size = pixels.shape[:2]
    photo = resize(photo, size)
    # Any share of a pixel keeps it, so that a thin line survives a smaller picture.
    kept = resize(_binary(mask), size) > 0
    reach = max(1.0, FEATHER * max(size))
    distance = cv2.distanceTransform((~kept).astype(np.uint8), cv2.DIST_L2, 5) if kept.any() else np.inf
    weight = np.clip(1.0 - distance / (reach + 1.0), 0.0, 1.0) * np.ones(size, np.float32)
    pasted = np.array(pixels, np.float32)
    for row in np.flatnonzero(weight.any(axis=1)):  # one at a time: a finished picture is large
        share = weight[row, :, None]
        pasted[row] += share * (photo[row] - pasted[row])
        pasted[row, kept[row]] = photo[row, kept[row]]
    return pasted
