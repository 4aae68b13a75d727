"""The pieces that rooms are made of: boxes, upright tapered cylinders and ellipsoids, in metres.

World axes: x right, y up, z away from the front wall. A thing is built around the middle of its footprint, y = 0 on the
floor, its front towards +z, and then turned about the vertical and moved to its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BOX, CYLINDER, BALL = "box", "cylinder", "ball"


@dataclass(frozen=True)
class Piece:
    """The unit box, cylinder or ball, stretched by ``half`` [3], turned by ``turn`` [3,3], moved to ``center`` [3]."""

    shape: str
    center: Floats
    half: Floats
    turn: Floats
    slot: str
    """What it is made of, a name that every style knows (materials.py)."""
    soft: float = 0.0
    """0 sharp … 1 upholstered: how far shading rounds the edges. The shape itself stays exact."""
    taper: float = 0.0
    """For a cylinder: its radius is (1 + taper · y) of ``half``, y from −1 at the bottom to 1 at the top."""
    shadow: bool = True

    def corners(self) -> Floats:
        """The eight corners of the turned bounding box, [8,3]."""
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
        wide = np.array([1 + abs(self.taper), 1.0, 1 + abs(self.taper)])
        return np.asarray(self.center + (signs * self.half * wide) @ self.turn.T)

    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest x, y, z."""
        if self.shape == BALL:
            reach = np.sqrt(((self.turn * self.half) ** 2).sum(axis=1))
            return self.center - reach, self.center + reach
        corners = self.corners()
        return corners.min(axis=0), corners.max(axis=0)


@dataclass(frozen=True)
class Thing:
    """An object as a person names it: a sofa with its cushions, a plant with its pot.

    ``label`` is COCO's name where COCO has one. ``size`` is (width, height, depth) before turning.
    """

    label: str
    size: tuple[float, float, float]
    pieces: tuple[Piece, ...]
    hollow: bool = False
    """A thicket such as a plant: only its outline counts as structure."""

    def at(self, x: float, z: float, yaw: float = 0.0, y: float = 0.0) -> Thing:
        """The same thing turned by ``yaw`` (radians; π/2 turns its front from +z to +x) and standing at (x, y, z)."""
        spin = turn_y(yaw)
        move = np.array([x, y, z])
        moved = (replace(p, center=spin @ p.center + move, turn=spin @ p.turn) for p in self.pieces)
        return replace(self, pieces=tuple(moved))


@dataclass
class Maker:
    """Collects the pieces of one thing. Sizes are full extents; ``at`` is the middle of the bottom face."""

    pieces: list[Piece] = field(default_factory=list)

    def box(
        self,
        slot: str,
        size: tuple[float, float, float],
        at: tuple[float, float, float],
        *,
        soft: float = 0.0,
        yaw: float = 0.0,
        tilt: float = 0.0,
    ) -> None:
        """Add a box of the full extents ``size`` that stands with the middle of its bottom face at ``at``, in metres.

        ``tilt`` leans its top backwards, ``yaw`` then turns it about the vertical axis, both in radians. ``slot`` says
        what it is made of, ``soft`` how round its edges look.
        """
        self._add(BOX, slot, size, at, soft=soft, turn=turn_y(yaw) @ turn_x(-tilt))

    def cylinder(
        self,
        slot: str,
        size: tuple[float, float, float],
        at: tuple[float, float, float],
        *,
        taper: float = 0.0,
        soft: float = 0.0,
        shadow: bool = True,
    ) -> None:
        self._add(CYLINDER, slot, size, at, soft=soft, taper=taper, shadow=shadow)

    def ball(
        self,
        slot: str,
        size: tuple[float, float, float],
        at: tuple[float, float, float],
        *,
        turn: Floats | None = None,
        shadow: bool = True,
    ) -> None:
        self._add(BALL, slot, size, at, turn=turn, shadow=shadow)

    def _add(
        self,
        shape: str,
        slot: str,
        size: tuple[float, float, float],
        at: tuple[float, float, float],
        *,
        soft: float = 0.0,
        taper: float = 0.0,
        turn: Floats | None = None,
        shadow: bool = True,
    ) -> None:
        half = np.array(size) / 2
        center = np.array([at[0], at[1] + half[1], at[2]])
        rotation = np.eye(3) if turn is None else turn
        self.pieces.append(Piece(shape, center, half, rotation, slot, soft, taper, shadow))

    def legs(self, slot: str, w: float, d: float, height: float, thick: float = 0.05, y: float = 0.0) -> None:
        """Four legs inside a w × d footprint."""
        for x in (-w / 2 + thick, w / 2 - thick):
            for z in (-d / 2 + thick, d / 2 - thick):
                self.box(slot, (thick, height, thick), (x, y, z))

    def thing(self, label: str, size: tuple[float, float, float], *, hollow: bool = False) -> Thing:
        return Thing(label, size, tuple(self.pieces), hollow)


def turn_y(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def turn_x(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def turn_z(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
