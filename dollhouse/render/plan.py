"""Places in a room: which rectangles of floor and walls are still free."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .fixtures import Niche, frame
from .furniture import Rng, between
from .shapes import Thing

FRONT, BACK, LEFT, RIGHT = range(4)
YAW = {FRONT: 0.0, BACK: float(np.pi), LEFT: float(np.pi / 2), RIGHT: float(-np.pi / 2)}
"""How a thing turns to stand with its back to a wall."""
OPPOSITE = {FRONT: BACK, BACK: FRONT, LEFT: RIGHT, RIGHT: LEFT}
IN_VIEW = 1.4
"""Metres of the side walls, counted from the front wall, that the camera rarely sees: left empty where possible."""

Rect = tuple[float, float, float, float]
"""(low, high) of the first axis, then of the second."""


@dataclass
class Plan:
    """A room being furnished: width, height and depth in metres, what stands in it and which places are taken."""

    size: tuple[float, float, float]
    rng: Rng
    things: list[Thing] = field(default_factory=list)
    niches: list[Niche] = field(default_factory=list)
    floor: list[Rect] = field(default_factory=list)
    walls: dict[int, list[Rect]] = field(default_factory=lambda: {wall: [] for wall in YAW})

    ledges: list[tuple[Rect, float]] = field(default_factory=list)
    """Floor below window sills, and the sills' height: taller things may not stand there."""

    def length(self, wall: int) -> float:
        return self.size[0] if wall in (FRONT, BACK) else self.size[2]

    def spot(self, wall: int, u: float, out: float) -> tuple[float, float]:
        """(x, z) of the point ``u`` along a wall and ``out`` metres away from it."""
        w, _, d = self.size
        return {FRONT: (u, out), BACK: (u, d - out), LEFT: (out, u), RIGHT: (w - out, u)}[wall]

    def free_floor(self, rect: Rect) -> bool:
        if rect[0] < 0 or rect[1] > self.size[0] or rect[2] < 0 or rect[3] > self.size[2]:
            return False
        return not any(_meet(rect, taken) for taken in self.floor)

    def against(
        self,
        wall: int,
        thing: Thing,
        u: float | None = None,
        *,
        gap: float = 0.02,
        margin: float = 0.04,
        extra: tuple[Thing, ...] = (),
        tries: int = 12,
    ) -> float | None:
        """Stands a thing (and ``extra`` parts that share its origin) with its back to a wall.

        At ``u`` along it, or at random; returns the place taken, None when there is none.
        """
        w, h, d = thing.size
        h = max([h, *(part.size[1] for part in extra)])
        low, high = w / 2 + margin, self.length(wall) - w / 2 - margin
        if wall in (LEFT, RIGHT):
            low = max(low, min(IN_VIEW + w / 2 + (0.9 if h > 1.3 else 0.0), high))
        for _ in range(tries if u is None else 1):
            if high < low:
                return None
            along = between(self.rng, low, high) if u is None else u
            if u is None and self.rng.random() < 0.3:
                along = low if self.rng.random() < 0.5 else high
            rect = self._footprint(wall, along, w, d, gap)
            upright = (along - w / 2, along + w / 2, 0.0, h)
            under = any(_meet(rect, ledge) and h > bottom for ledge, bottom in self.ledges)
            if under or not self.free_floor(rect) or any(_meet(upright, t) for t in self.walls[wall]):
                continue
            self.walls[wall].append(upright)
            self.floor.append(rect)
            x, z = self.spot(wall, along, d / 2 + gap)
            self.things += [part.at(x, z, YAW[wall]) for part in (thing, *extra)]
            return along
        return None

    def _footprint(self, wall: int, u: float, w: float, d: float, gap: float) -> Rect:
        (x0, z0), (x1, z1) = self.spot(wall, u - w / 2, gap), self.spot(wall, u + w / 2, gap + d)
        return min(x0, x1), max(x0, x1), min(z0, z1), max(z0, z1)

    def stand(self, thing: Thing, x: float, z: float, yaw: float = 0.0) -> bool:
        """Stands a thing free in the room if its footprint (a bounding rectangle) is free."""
        c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
        half_x, half_z = (
            (c * thing.size[0] + s * thing.size[2]) / 2,
            (s * thing.size[0] + c * thing.size[2]) / 2,
        )
        rect = (x - half_x, x + half_x, z - half_z, z + half_z)
        if not self.free_floor(rect):
            return False
        self.floor.append(rect)
        self.things.append(thing.at(x, z, yaw))
        return True

    def hang(self, wall: int, thing: Thing, y: float, u: float | None = None, *, space: float = 0.08) -> bool:
        """Hangs a thing on a wall with its bottom at y, at ``u`` or somewhere free."""
        w, h, _ = thing.size
        low, high = w / 2 + 0.1, self.length(wall) - w / 2 - 0.1
        for _ in range(10 if u is None else 1):
            if high < low or y + h > self.size[1] - 0.1:
                return False
            along = between(self.rng, low, high) if u is None else u
            rect = (along - w / 2 - space, along + w / 2 + space, y - space, y + h + space)
            if rect[0] < 0 or rect[1] > self.length(wall) or any(_meet(rect, t) for t in self.walls[wall]):
                continue
            self.walls[wall].append(rect)
            x, z = self.spot(wall, along, 0.0)
            self.things.append(thing.at(x, z, YAW[wall], y))
            return True
        return False

    def lay(self, rug: Thing, x: float, z: float, yaw: float = 0.0) -> None:
        """A rug takes no place from furniture, is moved to end before the walls, and left out where it is too large."""
        w, _, d = rug.size if abs(np.cos(yaw)) > 0.5 else rug.size[::-1]
        x = float(np.clip(x, w / 2 + 0.05, max(self.size[0] - w / 2 - 0.05, w / 2 + 0.05)))
        z = float(np.clip(z, d / 2 + 0.05, max(self.size[2] - d / 2 - 0.05, d / 2 + 0.05)))
        if w < self.size[0] - 0.1 and d < self.size[2] - 0.1:
            self.things.append(rug.at(x, z, yaw))

    def open(
        self, label: str, wall: int, u: float, w: float, v: float, h: float, bars: tuple[int, int]
    ) -> bool:
        """Opens a window or a door; a door keeps the floor before it free."""
        rect = (u - w / 2 - 0.1, u + w / 2 + 0.1, v - 0.05, v + h + 0.1)
        if (
            rect[0] < 0.05
            or rect[1] > self.length(wall) - 0.05
            or any(_meet(rect, t) for t in self.walls[wall])
        ):
            return False
        depth = 0.06 if label == "door" else 0.14
        x, z = self.spot(wall, u, 0.0)
        trim = frame(label, w, h, depth, bars).at(x, z, YAW[wall], v)
        self.niches.append(Niche(label, wall, (u - w / 2, u + w / 2), (v, v + h), depth, trim))
        self.walls[wall].append(rect)
        if label == "door":
            self.floor.append(self._footprint(wall, u, w + 0.1, 0.75, 0.0))
        else:
            self.ledges.append((self._footprint(wall, u, w + 0.2, 0.12, 0.0), v - 0.06))
        return True

    def put(self, thing: Thing, wall: int, u: float, out: float, y: float) -> None:
        """Puts a small thing at height y, ``u`` along a wall and ``out`` from it (the caller knows that it fits)."""
        x, z = self.spot(wall, u, out)
        self.things.append(thing.at(x, z, YAW[wall], y))

    def drape(self, wall: int, u: float, pair: Thing) -> None:
        """Hangs curtains around a window if both their strips of wall are free."""
        w, top, d = pair.size
        strips = [(u - w / 2, u - w / 2 + 0.4, 0.0, top), (u + w / 2 - 0.4, u + w / 2, 0.0, top)]
        others = [t for t in self.walls[wall] if not t[0] < u < t[1]]
        outside = strips[0][0] < 0.02 or strips[1][1] > self.length(wall) - 0.02
        if outside or top > self.size[1] - 0.05 or any(_meet(a, b) for a in strips for b in others):
            return
        self.walls[wall] += strips
        self.floor += [self._footprint(wall, (a + b) / 2, b - a, d + 0.02, 0.0) for a, b, _, _ in strips]
        self.put(pair, wall, u, 0.0, 0.0)


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
