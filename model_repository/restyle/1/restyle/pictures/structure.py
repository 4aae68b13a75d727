"""Structural drift, by kind: does the result show the same room, or one that somebody has rebuilt?

openings   windows and doors: each is where it was, none is new
lines      straight edges: found again in their place, still straight
camera     where it looks: how far the vanishing points have moved
planes     floor, ceiling and walls: where they meet, and how they lie in depth

Each is 0..1, 1 = as in the photo. The camera comes first: what a turn of it moves is moved back before the others are
measured, so that one fault lowers one kind. Windows and doors have their own kind, so their lines and their depth do
not count for the others. ``python -m benchmarks.drift`` plants such faults in rooms whose truth is known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from restyle.pictures.camera import find_motion
from restyle.pictures.images import Bytes
from restyle.pictures.openings import (
    Lines,
    as_before,
    common_view,
    openings_kept,
    openings_of,
    outside,
)
from restyle.pictures.planes import planes_kept
from restyle.pictures.segments import Match, Nearest, Points, find_points, match, small_size

KINDS = ("openings", "lines", "camera", "planes")

_TURN = 2.0
"""Degrees of the camera's turn that score 1/e. Faithful restyles have none: a turn that explains nothing is not
believed."""
_SURE = 0.3
"""Share of the result's segments that must lie on the photo's for the camera to be known at all."""

_STRAIGHT, _ACROSS = 3.0, 1.5
"""Degrees and pixels: a line found again with a smaller difference is straight and in its place."""
_ABOUT = 8
"""Points of the shortest segment whose slope says something: 8 are a tenth of the side."""
_LOST_SHARE, _LOST_POWER = 0.6, 4
"""The share of bent or moved segments at which ``lines`` is a half, and how steeply it falls there. Restyles that are
faithful have 0.1 to 0.4, because LSD cuts lines differently where textures change."""
_FEW = 0.5
"""Where less than this share of the photo's lines is found at all, the result has lost them."""


@dataclass(frozen=True)
class Sight:
    """A picture and what the networks see in it: ``picture`` UINT8 [H,W,3], ``depth`` UINT8 [H,W], and ``objects``
    [{label, score, box}], box in 0..1 of the picture."""

    picture: Bytes
    depth: Bytes
    objects: list[dict[str, Any]]


def measure_structure(photo: Sight, result: Sight) -> dict[str, float]:
    """KINDS, 0..1 each, and ``structure``, the lowest of them. ``openings`` is missing where the detector sees none.

    Both show the same frame at one size.
    """
    size = small_size(photo.picture.shape)
    before, after = find_points(photo.picture), find_points(result.picture)
    nearest = Nearest(before, size)
    motion, known = find_motion(nearest, after)
    after = motion.undo(after)
    forth, back = match(before, Nearest(after, size)), match(after, nearest)
    windows = (
        openings_of(photo.objects, size),
        as_before(openings_of(result.objects, size), motion),
    )
    free = [outside([*windows[0], *windows[1]], points) for points in (before, after)]
    view = common_view(motion, size)
    parts = {
        "openings": openings_kept(*windows, (Lines(before, forth.same), Lines(after, back.same)), view),
        "lines": lines_kept((before, after), (forth, back), free),
        "camera": float(np.exp(-((motion.degrees / _TURN) ** 2)) * min(1.0, known / _SURE)),
        "planes": planes_kept(
            (photo.depth, result.depth),
            (photo.objects, result.objects),
            motion,
            (before, after),
            (forth, back),
            size,
        ),
    }
    if not len(before) and not len(after):
        parts |= {"camera": 1.0, "lines": 1.0}
    found = {name: round(value, 4) for name, value in parts.items() if value is not None}
    return {**found, "structure": min(found.values())}


def lines_kept(points: tuple[Points, Points], matches: tuple[Match, Match], free: list[np.ndarray]) -> float:
    """0..1: the share of lines, of both pictures, that the other has in the same place and with the same slope."""
    near = straight = 0
    for each, found, own in zip(points, matches, free, strict=True):
        long = own & (each.lengths >= _ABOUT) & found.near
        near += int(long.sum())
        straight += int((long & (found.off <= _ACROSS) & (found.degrees <= _STRAIGHT)).sum())
    if not near:
        return 0.0
    bent = 1.0 - straight / near
    first, own = matches[0].near, free[0]
    there = float(first[own].mean()) if own.any() else 1.0
    return min(1.0, there / _FEW) / (1.0 + (bent / _LOST_SHARE) ** _LOST_POWER)
