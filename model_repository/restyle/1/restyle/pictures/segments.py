"""Straight segments of a picture, and where those of another picture lie beside them.

Positions are in pixels from the picture's middle, at SIDE along its long side, so that they can be turned like rays.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from restyle.pictures.images import Bytes, Floats, resize

SIDE = 256
SHORTEST = 0.045
"""Length of the shortest segment that counts, as a share of SIDE."""
STEP = 3.0
"""Pixels between two points of a segment."""
_BINS = 6
"""Directions are told apart by sixths of a half turn, each of which reaches half a sixth into its neighbours."""
_NEARBY, _ALIKE = 8.0, 25.0
"""Pixels and degrees: a line within these may be the same one, moved or bent."""
_SAME = 2.0
"""Pixels: points on one line lie no farther apart across it."""
_COARSE = 2
"""Pixels of a cell of the map that finds the nearest segment. Distances are then exact."""


@dataclass(frozen=True)
class Points:
    """Points on segments: ``at`` FP32 [N,2] (x, y), ``way`` FP32 [N,2], the unit vector along the segment, and ``of``
    INT [N], the number of their segment."""

    at: Floats
    way: Floats
    of: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    @property
    def lengths(self) -> np.ndarray:
        """INT [N]: how many points the segment of each has."""
        return np.bincount(self.of, minlength=1)[self.of]


def small_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a picture whose long side is SIDE."""
    scale = SIDE / max(shape[:2])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def find_points(picture: Bytes) -> Points:
    """The points of the straight segments (LSD, Grompone von Gioi et al. 2010) of a picture UINT8 [H,W,3]."""
    size = small_size(picture.shape)
    grey = cv2.cvtColor(np.ascontiguousarray(resize(picture, size)), cv2.COLOR_RGB2GRAY)
    # A detector for every call: it keeps state, and requests may come from several threads.
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    ends = np.zeros((0, 2, 2), np.float32) if found is None else found.reshape(-1, 2, 2)
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2], np.float32)
    return points_of(ends - middle)


def points_of(ends: Floats) -> Points:
    """Points along segments FP32 [S,2,2] that are long enough: begin and end, each (x, y)."""
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    long = length >= SHORTEST * SIDE
    ends, along, length = ends[long], along[long], length[long]
    counts = np.maximum(2, np.ceil(length / STEP)).astype(int)
    of = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    share = (np.arange(len(of)) - first + 0.5) / counts[of]
    at = ends[of, 0] + share[:, None] * along[of]
    return Points(at.astype(np.float32), (along / length[:, None])[of].astype(np.float32), of)


class Nearest:
    """Finds for any point the nearest one of ``points`` whose segment has about the same direction."""

    def __init__(self, points: Points, size: tuple[int, int]) -> None:
        """``size``: (height, width) of the picture, in pixels."""
        self.points, self._size = points, size
        rows, columns = (side // _COARSE + 1 for side in size)
        self._cells = np.full((_BINS, rows, columns), -1, np.int32)
        if len(points):
            row, column, inside = self._cell(points.at)
            place = _direction(points.way)
            for number in range(_BINS):
                apart = np.abs((place - number - 0.5 + _BINS / 2) % _BINS - _BINS / 2)
                self._fill(number, np.flatnonzero(inside & (apart <= 1.0)), row, column)

    def _fill(self, number: int, chosen: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
        if not len(chosen):
            return
        free = np.ones(self._cells.shape[1:], np.uint8)
        free[row[chosen], column[chosen]] = 0
        _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
        owner = np.zeros(labels.max() + 1, np.int32)
        owner[labels[row[chosen], column[chosen]]] = chosen
        self._cells[number] = owner[labels]

    def _cell(self, at: Floats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        height, width = self._size
        column = np.floor((at[:, 0] + width / 2) / _COARSE).astype(int)
        row = np.floor((at[:, 1] + height / 2) / _COARSE).astype(int)
        rows, columns = self._cells.shape[1:]
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return row.clip(0, rows - 1), column.clip(0, columns - 1), inside

    def __call__(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """For each of ``points`` the number of the nearest one, and whether there is one: INT [N], BOOL [N].

        There is none outside of the picture, or where no segment has the direction.
        """
        row, column, inside = self._cell(points.at)
        number = np.floor(_direction(points.way)).astype(int) % _BINS
        found = self._cells[number, row, column]
        return found.clip(0), inside & (found >= 0)


def _direction(way: Floats) -> np.ndarray:
    """0.._BINS for 0..half a turn."""
    return np.arctan2(way[:, 1], way[:, 0]) % np.pi * (_BINS / np.pi)


@dataclass(frozen=True)
class Match:
    """For each of some points the nearest one of another picture that has about its direction."""

    near: np.ndarray
    """BOOL [N]: whether there is one nearby; the other members mean something only then."""
    off: np.ndarray
    """FP [N]: pixels between the point and the other's line."""
    degrees: np.ndarray
    """FP [N]: between the two directions, 0 … 90."""
    same: np.ndarray
    """BOOL [N]: whether it lies on the other's line."""


def match(points: Points, nearest: Nearest) -> Match:
    """The points of one picture beside the segments of another."""
    others = nearest.points
    if not len(points) or not len(others):
        nothing = np.zeros(len(points))
        return Match(nothing > 0, nothing, nothing, nothing > 0)
    found, there = nearest(points)
    offset, way = points.at - others.at[found], others.way[found]
    off, apart = np.abs(across(offset, way)), np.linalg.norm(offset, axis=1)
    degrees = np.degrees(np.arcsin(np.clip(np.abs(across(points.way, way)), 0.0, 1.0)))
    near = there & (off < _NEARBY) & (apart < 1.5 * _NEARBY) & (degrees < _ALIKE)
    return Match(near, off, degrees, there & (off < _SAME) & (apart < 3 * _SAME))


def across(offset: Floats, way: Floats) -> Floats:
    """The part of offsets [N,2] at right angles to the directions [N,2]."""
    return offset[:, 1] * way[:, 0] - offset[:, 0] * way[:, 1]
