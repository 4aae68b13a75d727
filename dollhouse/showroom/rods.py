"""Rods between points and discs that stand upright."""

from __future__ import annotations

import numpy as np

from dollhouse.render.shapes import CYLINDER, Floats, Maker, Piece, turn_x, turn_y


def disc(m: Maker, slot: str, width: float, thick: float, at: tuple[float, float, float]) -> None:
    """A disc that faces +z, its middle at ``at``."""
    half = np.array([width / 2, thick / 2, width / 2])
    m.pieces.append(Piece(CYLINDER, np.array(at), half, turn_x(np.pi / 2), slot))


def rod(m: Maker, slot: str, start: Floats, end: Floats, thick: float) -> None:
    """A rod between two points."""
    way, middle = end - start, (start + end) / 2
    length = float(np.linalg.norm(way))
    turn = turn_y(float(np.arctan2(way[0], way[2]))) @ turn_x(float(np.arccos(way[1] / length)))
    m.pieces.append(Piece(CYLINDER, middle, np.array([thick / 2, length / 2, thick / 2]), turn, slot))
