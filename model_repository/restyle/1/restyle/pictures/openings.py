"""Windows and doors, as the detector sees them in the photo and in the result: are they all still where they were?

A detector may miss in the result what it saw in the photo, only because of a new style. So a window or door is lost
only where its own straight lines, those of its frame and its bars, are gone too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from restyle.pictures.camera import Motion
from restyle.pictures.images import Floats
from restyle.pictures.segments import SIDE, Points

LABELS = ("window", "door")
SURE, NEW = 0.25, 0.6
"""The least score of a window or door of the photo that must be kept, and of one of the result that must be old."""
_FULLY = 0.375
"""Score of one whose loss counts in full."""
_MOVED, _SAME = 0.35, 0.65
"""Intersection over union of two boxes of another window, and of the same one. The detector's own boxes of a window in
two styles agree to 0.75 and more."""
_GONE, _FOUND = 0.2, 0.5
"""Share of an opening's lines that are found again: chance alone finds as many as _GONE."""
_LINES = 0.9
"""What lines prove at most, where the detector sees nothing."""
_FEWEST = 6
"""Points on lines without which they prove nothing."""
_FRAME = 0.02
"""Width of a frame around the box, as a share of SIDE."""
_IN_VIEW = 0.5
"""Share of a box that both cameras must see for it to count."""


@dataclass(frozen=True)
class Opening:
    """A window or a door. ``box``: FP64 [4] x0, y0, x1, y1 in pixels from the picture's middle; see segments."""

    label: str
    score: float
    box: Floats


def openings_of(objects: list[dict[str, Any]], size: tuple[int, int]) -> list[Opening]:
    """Those of the objects [{label, score, box}] of a picture that is ``size`` (height, width) pixels large."""
    height, width = size
    return [
        Opening(
            each["label"],
            each["score"],
            (np.array(each["box"]) - 0.5) * np.array([width, height, width, height]),
        )
        for each in objects
        if each["label"] in LABELS
    ]


@dataclass(frozen=True)
class Lines:
    """The points of a picture's segments, and which of them the other picture has too: BOOL [N]."""

    points: Points
    found: np.ndarray

    def kept_in(self, box: Floats) -> float:
        """0..1: 1 = the lines in a box and on its frame are there in the other picture."""
        reach = _FRAME * SIDE
        inside = ((self.points.at >= box[:2] - reach) & (self.points.at <= box[2:] + reach)).all(1)
        if inside.sum() < _FEWEST:
            return 0.0
        return _LINES * _between(float(self.found[inside].mean()), _GONE, _FOUND)


def openings_kept(
    photo: list[Opening], result: list[Opening], lines: tuple[Lines, Lines], view: Floats
) -> float | None:
    """0..1: 1 = every window and door is where it was, and there is no new one; lower for each that is not, by how sure
    it is. None where neither picture shows one.

    Everything is in the photo's frame, as its camera would have seen it: openings and ``lines`` of the photo and the
    result; ``view`` FP64 [4] is the rectangle that both show.
    """
    before, after = _seen(photo, view), _seen(result, view)
    kept, counted = 1.0, 0
    for these, those, own, least in (
        (before, after, lines[0], SURE),
        (after, before, lines[1], NEW),
    ):
        for each in these:
            if each.score >= least:
                counted += 1
                overlap = max((_overlap(each.box, other.box) for other in those), default=0.0)
                same = max(_between(overlap, _MOVED, _SAME), own.kept_in(each.box))
                kept *= 1.0 - min(1.0, each.score / _FULLY) * (1.0 - same)
    return kept if counted else None


def as_before(openings: list[Opening], motion: Motion) -> list[Opening]:
    """The result's openings, where the photo's camera would have seen them."""
    return [Opening(each.label, each.score, _back(each.box, motion)) for each in openings]


def common_view(motion: Motion, size: tuple[int, int]) -> Floats:
    """The rectangle of the photo, of ``size`` (height, width) in pixels, that the result shows too."""
    height, width = size
    x0, y0, x1, y1 = -width / 2, -height / 2, width / 2, height / 2
    left, top, right, bottom = motion.back(np.array([(x0, 0.0), (0.0, y0), (x1, 0.0), (0.0, y1)]))
    return np.array([max(x0, left[0]), max(y0, top[1]), min(x1, right[0]), min(y1, bottom[1])])


def outside(openings: list[Opening], points: Points) -> np.ndarray:
    """BOOL [N]: which points lie in none of the openings, nor on their frames."""
    free = np.ones(len(points), bool)
    reach = _FRAME * SIDE
    for each in openings:
        free &= ~((points.at >= each.box[:2] - reach) & (points.at <= each.box[2:] + reach)).all(1)
    return free


def _between(value: float, low: float, high: float) -> float:
    """0 at ``low`` and below, 1 at ``high`` and above."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _back(box: Floats, motion: Motion) -> Floats:
    """The rectangle around a box of the result, in the photo's frame."""
    x0, y0, x1, y1 = box
    corners = motion.back(np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)]))
    return np.concatenate([corners.min(0), corners.max(0)])


def _seen(openings: list[Opening], view: Floats) -> list[Opening]:
    """The part of each that lies in the view, of those that mostly do."""
    found = []
    for each in openings:
        box = np.concatenate([np.maximum(each.box[:2], view[:2]), np.minimum(each.box[2:], view[2:])])
        if _area(box) >= _IN_VIEW * _area(each.box) > 0:
            found.append(Opening(each.label, each.score, box))
    return found


def _overlap(first: Floats, second: Floats) -> float:
    """Intersection over union."""
    both = _area(np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]))
    return both / (_area(first) + _area(second) - both + 1e-9)


def _area(box: Floats) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))
