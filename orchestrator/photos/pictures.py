"""Converts stored JPEGs to arrays and back. These functions block while they compute: call them in a thread."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

MAX_SIDE = 2048
"""Pixels. Longer photos are reduced for the model, which works on far fewer pixels and accepts 64 MiB at most."""

THUMBNAIL_SIDE = 320

Finish = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Changes RGB uint8 [H, W, 3] before it is encoded."""

_QUALITY = 92
_THUMBNAIL_QUALITY = 82
_PNG_LEVEL = 4
"""How much work a file without loss is worth: more of it saved nothing. On a core of the build machine 2048×2048 pixels
with a camera's noise took 1.1 s and 6.7 MB."""


class BrokenPicture(Exception):
    """The bytes are not a JPEG that can be decoded."""


def decode(data: bytes, longest: int = MAX_SIDE) -> NDArray[np.uint8]:
    """A JPEG as RGB uint8 [H, W, 3], shrunk where a side is longer than ``longest``. Raises BrokenPicture."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BrokenPicture(str(error)) from error
    picture.thumbnail((longest, longest), Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(picture)


def decode_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """A mask's JPEG as uint8 [height, width]: 255 where it is light, 0 elsewhere. Raises BrokenPicture."""
    mask = Image.fromarray(decode(data)).convert("L").resize((width, height), Image.Resampling.BILINEAR)
    return np.where(np.asarray(mask) > 127, 255, 0).astype(np.uint8)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """RGB uint8 [H, W, 3] as a JPEG."""
    return _jpeg(Image.fromarray(image), _QUALITY)


def thumbnail(image: NDArray[np.uint8], finish: Finish | None = None) -> bytes:
    """A small JPEG of RGB uint8 [H, W, 3], longest side THUMBNAIL_SIDE; ``finish`` may draw on it."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    if finish is not None:
        picture = Image.fromarray(finish(np.asarray(picture)))
    return _jpeg(picture, _THUMBNAIL_QUALITY)


def small(image: NDArray[np.uint8], longest: int) -> bytes:
    """A JPEG of RGB uint8 [H, W, 3], for looking at, whose longest side has at most so many pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _jpeg(picture, _THUMBNAIL_QUALITY)


def lossless(image: NDArray[np.uint8]) -> bytes:
    """RGB uint8 [H, W, 3] as a PNG, in which every pixel is what it was."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=_PNG_LEVEL)
    return out.getvalue()


def png(image: NDArray[np.uint8]) -> bytes:
    """Grey uint8 [H, W] as a PNG of 8 bits."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
