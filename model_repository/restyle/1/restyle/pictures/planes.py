"""Floor, ceiling and walls: how they lie in depth, and the lines where they meet.

On a plane, inverse depth is linear in the picture, so its slope tells planes apart: that of a floor points down, that
of a wall to its side. Where a wall has moved, a strip of the picture belongs to another plane than before. A depth
network is not sure of slopes, and a restyle alone changes them, so a place counts only as far as straight lines around
it are missing in one of the pictures too.
"""

from typing import Any

import cv2
import numpy as np

from restyle.pictures.camera import STILL, Motion
from restyle.pictures.images import Bytes, Floats, resize
from restyle.pictures.segments import Match, Points

_CELL = 4
"""Pixels along a cell in which slopes are compared, of pictures as large as in segments."""
_SMOOTH = 1.0
"""σ, in cells, of the blur before slopes are taken."""
_LEVEL = 0.012
"""Slope, in shares of the depth's range for each cell, below which two planes are both level."""
_AROUND = 7
"""Cells along the square around a place in which lines count."""
_SOME = 2.0
"""Points on lines that are taken to be found wherever there are few."""
_LONG = 8
"""Points of the shortest segment that counts."""
_ALONE = 0.1
"""How much of a difference in depth counts where all lines are found."""
_WORST = 0.98
"""The quantile that stands for the picture: a wall that has moved changes a strip of it."""
_HALF, _POWER = 0.3, 6
"""The difference at which the measure is a half, and how steeply it falls there."""
_LEAST = 0.02
"""Share of the picture that must show floor or walls for them to be measured."""
_SEEN = 0.3
"""Objects with a lower score hide nothing."""
_FLAT = ("rug",)
"""Objects that lie in the plane that they cover."""


def planes_kept(
    depths: tuple[Bytes, Bytes],
    objects: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    motion: Motion,
    points: tuple[Points, Points],
    matches: tuple[Match, Match],
    size: tuple[int, int],
) -> float | None:
    """0..1: 1 = floor, ceiling and walls are where they were. None where furniture hides them.

    Of the photo and the result: depths UINT8 [H,W], objects [{label, score, box}], points of segments (as the photo's
    camera would have seen them) and what the other picture has of those. ``size``: see segments.
    """
    cells = (-(-size[0] // _CELL), -(-size[1] // _CELL))
    before, after = (resize(depth, cells).astype(np.float32) / 255.0 for depth in depths)
    free = _free(objects[0], cells)
    after_free = _free(objects[1], cells)
    if motion is not STILL:
        after, after_free = _as_before(after, after_free, motion, cells)
    free &= after_free
    if free.mean() < _LEAST:
        return None
    slopes = [_slopes(depth) for depth in (before, after)]
    steep = [np.linalg.norm(slope, axis=-1) for slope in slopes]
    # The range of a depth map is that of its picture, so only ratios of slopes can be compared.
    ratio = np.clip(np.median(steep[0][free]) / max(1e-6, np.median(steep[1][free])), 0.5, 2.0)
    differ = np.linalg.norm(slopes[0] - ratio * slopes[1], axis=-1) / (steep[0] + ratio * steep[1] + _LEVEL)
    lost = differ * (_ALONE + (1.0 - _ALONE) * _lines_lost(points, matches, cells))
    return float(1.0 / (1.0 + (np.quantile(lost[free], _WORST) / _HALF) ** _POWER))


def _free(objects: list[dict[str, Any]], cells: tuple[int, int]) -> np.ndarray:
    """BOOL [rows, columns]: where no object hides the planes."""
    free = np.ones(cells, bool)
    for each in objects:
        if each["score"] >= _SEEN and each["label"] not in _FLAT:
            x0, y0, x1, y1 = each["box"]
            rows = slice(max(0, round((y0 - 0.015) * cells[0])), max(0, round((y1 + 0.015) * cells[0])))
            columns = slice(max(0, round((x0 - 0.015) * cells[1])), max(0, round((x1 + 0.015) * cells[1])))
            free[rows, columns] = False
    return free


def _as_before(
    depth: Floats, free: np.ndarray, motion: Motion, cells: tuple[int, int]
) -> tuple[Floats, np.ndarray]:
    """The result's depth, and where it is free, as the photo's camera would have seen them; what it had in view and the
    result has not is not free."""
    rows, columns = cells
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    places = (np.stack([x, y], -1).reshape(-1, 2) - middle) * _CELL
    seen = (motion.forth(places) / _CELL + middle).reshape(rows, columns, 2).astype(np.float32)
    moved = cv2.remap(depth, seen[..., 0], seen[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    open_ = cv2.remap(free.astype(np.uint8), seen[..., 0], seen[..., 1], cv2.INTER_NEAREST) > 0
    # Blurred slopes reach two cells over the rim.
    inside = ((seen >= 2) & (seen <= np.array([columns - 3, rows - 3]))).all(-1)
    return moved, open_ & inside


def _slopes(depth: Floats) -> Floats:
    """[rows, columns, 2]: how inverse depth rises from one cell to the next, to the right and downwards."""
    smooth = cv2.GaussianBlur(depth, (0, 0), _SMOOTH)
    return np.stack([cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=3) / 8.0 for way in ((1, 0), (0, 1))], -1)


def _lines_lost(
    points: tuple[Points, Points], matches: tuple[Match, Match], cells: tuple[int, int]
) -> Floats:
    """0..1 [rows, columns]: the share of the lines around each place that the other picture lacks."""
    lost, every = np.zeros(cells, np.float32), np.zeros(cells, np.float32)
    for each, found in zip(points, matches, strict=True):
        long = each.lengths >= _LONG
        column, row = np.floor(each.at / _CELL + np.array([cells[1], cells[0]]) / 2).astype(int).T
        column, row = column.clip(0, cells[1] - 1), row.clip(0, cells[0] - 1)
        np.add.at(every, (row[long], column[long]), 1.0)
        np.add.at(lost, (row[long & ~found.same], column[long & ~found.same]), 1.0)
    lost, every = (cv2.blur(drawn, (_AROUND, _AROUND)) * _AROUND**2 for drawn in (lost, every))
    return lost / (every + _SOME)
