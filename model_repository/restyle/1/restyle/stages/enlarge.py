"""Enlarge: the network's own pixels to the photo's size, where they were not brought there by the photo's detail.

A release may have a graph for it, `upscaler`: a network that draws the detail which an enlarged picture lacks. It takes
squares of TILE pixels, whatever the picture's size, so that its memory is bounded and tiles of several jobs share a
batch. Without it, Lanczos' filter enlarges.
"""

import asyncio
from typing import Literal

import cv2
import numpy as np

from restyle.models import BrokenPicture, Models
from restyle.pictures.images import Floats, resize
from restyle.release import Release

UPSCALER = "upscaler"
TILE = 128
"""Pixels along a side of what the graph takes; export/contract.py says the same."""
MARGIN = 8
"""Pixels at a tile's borders that are drawn twice: those of the tile in whose middle they lie more are taken."""
AT_ONCE = 8
"""Tiles that are asked for together, so that they can share batches and memory stays bounded."""

By = Literal["upscaler", "lanczos"]


async def enlarge(
    pixels: Floats, size: tuple[int, int], release: Release, models: Models
) -> tuple[Floats, By | None]:
    """Pixels FP32 [h,w,3] in 0..255 at ``size`` (height, width), and what enlarged them; None = nothing had to. Raises
    ModelFailed."""
    if pixels.shape[0] * pixels.shape[1] >= size[0] * size[1]:
        return await asyncio.to_thread(resize, pixels, size), None
    if UPSCALER not in release.versions:
        return await asyncio.to_thread(_lanczos, pixels, size), "lanczos"
    drawn = await _drawn(pixels, models)
    larger = drawn.shape[0] * drawn.shape[1] > size[0] * size[1]
    return await asyncio.to_thread(resize if larger else _lanczos, drawn, size), "upscaler"


def _lanczos(pixels: Floats, size: tuple[int, int]) -> Floats:
    if pixels.shape[:2] == size:
        return pixels
    grown = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(np.clip(grown, 0.0, 255.0))  # it overshoots beside edges


async def _drawn(pixels: Floats, models: Models) -> Floats:
    """The picture as the graph enlarges it, by its own factor."""
    height, width, _ = pixels.shape
    framed = _framed(pixels)
    corners = [(top, left) for top in _starts(height) for left in _starts(width)]
    grown: Floats | None = None
    for first in range(0, len(corners), AT_ONCE):
        some = corners[first : first + AT_ONCE]
        tiles = await asyncio.gather(*(_tile(framed, corner, models) for corner in some))
        factor = tiles[0].shape[0] // TILE
        if grown is None:
            grown = np.empty((height * factor, width * factor, 3), np.float32)
        for (top, left), tile in zip(some, tiles, strict=True):
            _place(grown, tile, top, left, factor)
    assert grown is not None
    return grown


def _framed(pixels: Floats) -> Floats:
    """The picture with MARGIN reflected pixels around it, and at least TILE a side."""
    height, width, _ = pixels.shape
    below, right = (max(MARGIN, TILE - side - MARGIN) for side in (height, width))
    return cv2.copyMakeBorder(pixels, MARGIN, below, MARGIN, right, cv2.BORDER_REFLECT)


def _starts(side: int) -> list[int]:
    """Where the tiles' inner parts begin along a side; the last one ends where the picture does."""
    inner = TILE - 2 * MARGIN
    return [*range(0, max(1, side - inner), inner), *([side - inner] if side > inner else [])]


async def _tile(framed: Floats, corner: tuple[int, int], models: Models) -> Floats:
    """A tile enlarged: FP32 [kTILE,kTILE,3] in 0..255."""
    top, left = corner
    tile = framed[top : top + TILE, left : left + TILE]
    signal = np.ascontiguousarray(tile.transpose(2, 0, 1)[None] / 255.0, np.float32)
    (grown,) = await models(UPSCALER, ("enlarged",), image=signal)
    if not np.isfinite(grown).all():
        raise BrokenPicture(f"{UPSCALER} made no finite picture")
    return np.asarray(np.clip(grown[0].transpose(1, 2, 0) * 255.0, 0.0, 255.0))


def _place(grown: Floats, tile: Floats, top: int, left: int, factor: int) -> None:
    """Put the inner part of a tile where it belongs."""
    part = grown[
        top * factor : (top + TILE - 2 * MARGIN) * factor, left * factor : (left + TILE - 2 * MARGIN) * factor
    ]
    rows, columns, _ = part.shape
    begin = MARGIN * factor
    part[:] = tile[begin : begin + rows, begin : begin + columns]
