"""Pictures made of a job's pictures: the photo beside its result, and a sheet of all results of one photo.

These functions block while they compute: call them in a thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestrator.photos.label import labelled

Pixels = NDArray[np.uint8]
"""RGB [H, W, 3]."""

SIDE = 1024
"""Pixels of the longer side of each of two pictures beside each other."""
CELL = 512
"""Pixels of the longer side of a picture on a sheet."""
_GAP = 12
_LABEL = 34
_TEXT = 22
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


def before_after(photo: Pixels, result: Pixels, *, badge: bool = False) -> Pixels:
    """The photo and its result side by side, each of them labelled, with a longer side of at most SIDE pixels; the
    result with the visible ``badge`` of pictures that AI has changed, if that is wanted."""
    return _grid([("Before", photo), ("After", result)], 2, SIDE, badge)


def contact_sheet(photo: Pixels, results: Sequence[tuple[str, Pixels]], *, badge: bool = False) -> Pixels:
    """The photo and its results (label, picture) as a grid that is about as wide as high, each with a longer side of at
    most CELL pixels; each of the results with the ``badge``, if that is wanted."""
    columns = math.ceil(math.sqrt(len(results) + 1))
    return _grid([("Original", photo), *results], columns, CELL, badge)


def _grid(pictures: Sequence[tuple[str, Pixels]], columns: int, side: int, badge: bool) -> Pixels:
    """The pictures with their labels below them, row by row, in cells of the first one's shape. The first one is the
    photo, which has no badge."""
    height, width = pictures[0][1].shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    rows = math.ceil(len(pictures) / columns)
    cell = size[0] + _GAP, size[1] + _LABEL + _GAP
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (label, picture) in enumerate(pictures):
        left, top = _GAP + number % columns * cell[0], _GAP + number // columns * cell[1]
        # Results have the photo's shape up to the rounding of their sides.
        fitted = ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.LANCZOS)
        # At the size of the cell: a badge that is scaled down cannot be read.
        shown = Image.fromarray(labelled(np.asarray(fitted))) if badge and number else fitted
        sheet.paste(shown, (left, top))
        text, font = _fitting(label, size[0])
        draw.text((left, top + size[1] + _LABEL / 2), text, _INK, font, anchor="lm")
    return np.asarray(sheet)


def _fitting(label: str, width: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """The label, cut where it is wider than its picture."""
    font = ImageFont.load_default(_TEXT)
    while len(label) > 1 and font.getlength(label) > width:
        label = label[:-2].rstrip() + "…"
    return label, font
