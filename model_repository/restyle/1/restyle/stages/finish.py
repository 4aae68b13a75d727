"""Finish: move the network's picture towards the colours that were asked for, give it the photo's own detail, and put
back the pixels that are kept.

Every attempt is finished in the bucket's frame, where it is measured; the best one again at the size that is delivered.
"""

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restyle.models import Models
from restyle.pictures.grading import palette_distance, picture_distance, towards_palette, towards_picture
from restyle.pictures.images import (
    Bytes,
    Floats,
    from_bucket,
    inside,
    paste_kept,
    resize,
    to_bucket,
    to_bytes,
)
from restyle.pictures.recolouring import Recolouring, finished_size, learn_recolouring
from restyle.release import Release
from restyle.request import Request
from restyle.stages.enlarge import By, enlarge
from restyle.stages.see import SeenPhoto


@dataclass(frozen=True)
class FinishedPicture:
    """A finished picture in the bucket's frame."""

    pixels: Floats
    """FP32 [H,W,3] in 0..255, without the kept pixels: those are put back at the photo's size."""
    recolouring: Recolouring | None
    """The change of the photo's colours that gives ``pixels``; None where they are the network's own."""
    shown: Bytes
    """UINT8 [H,W,3]: the picture as it will be delivered, kept pixels included."""
    kept: Bytes | None
    """The mask UINT8 [h,w] of the part of the bucket that is photo: > 127 is kept; None without a mask."""
    palette_distance: float | None
    reference_distance: float | None
    """See :class:`restyle.events.Result`; of what is not kept."""


async def finish(request: Request, seen: SeenPhoto, pixels: Floats) -> FinishedPicture:
    """Finish the network's ``pixels``, FP32 [H,W,3] in 0..255, in the bucket's frame."""
    mask = None
    if request.keep_mask is not None:
        mask = await asyncio.to_thread(to_bucket, request.keep_mask, seen.fit)
    pixels = await asyncio.to_thread(_graded, request, pixels, None if mask is None else mask <= 127)
    recolouring = None
    if request.detail > 0:
        recolouring = await asyncio.to_thread(learn_recolouring, seen.photo, pixels, request.detail)
        pixels = await asyncio.to_thread(recolouring.of, seen.photo)
    shown, kept = pixels, None
    if mask is not None:
        shown = await asyncio.to_thread(paste_kept, pixels, seen.photo, mask)
        kept = inside(mask, seen.fit)
    whole = to_bytes(shown)
    distances = await asyncio.to_thread(_distances, request, inside(whole, seen.fit), kept)
    return FinishedPicture(pixels, recolouring, whole, kept, *distances)


def _graded(request: Request, pixels: Floats, free: NDArray[np.bool_] | None) -> Floats:
    """The network's pixels, moved towards the colours that were asked for, as far as was asked for."""
    if request.reference is not None and request.reference_strength > 0:
        pixels = towards_picture(pixels, free, request.reference, request.reference_strength)
    if request.colours is not None and request.palette_strength > 0:
        pixels = towards_palette(pixels, request.colours, request.palette_strength)
    return pixels


def _distances(request: Request, picture: Bytes, kept: Bytes | None) -> tuple[float | None, float | None]:
    """To the palette and to the reference."""
    free = None if kept is None else kept <= 127
    return (
        None if request.colours is None else palette_distance(picture, free, request.colours),
        None if request.reference is None else picture_distance(picture, free, request.reference),
    )


async def deliver(
    request: Request, seen: SeenPhoto, picture: FinishedPicture, release: Release, models: Models
) -> tuple[Floats, By | None]:
    """The picture in the photo's frame, FP32 [H,W,3] in 0..255: at the photo's size where it was recoloured or that
    size was asked for, else at the bucket's area; and what enlarged it. Raises ModelFailed."""
    size, enlarged_by = finished_size(request.image.shape[:2], seen.fit), None
    if picture.recolouring is not None:
        pixels = await asyncio.to_thread(_recoloured, request, seen, picture.recolouring, size)
    elif request.size == "photo":
        pixels, enlarged_by = await enlarge(inside(picture.pixels, seen.fit), size, release, models)
    else:
        pixels = await asyncio.to_thread(from_bucket, picture.pixels, seen.fit)
    if request.keep_mask is not None:
        pixels = await asyncio.to_thread(paste_kept, pixels, request.image, request.keep_mask)
    return pixels, enlarged_by


def _recoloured(request: Request, seen: SeenPhoto, recolouring: Recolouring, size: tuple[int, int]) -> Floats:
    return recolouring.inside(seen.fit).of(resize(request.image, size))
