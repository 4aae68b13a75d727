"""What belongs to the house: windows, doors, kitchen and bathroom pieces, what hangs on walls and lies on floors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .furniture import Rng, between
from .shapes import CYLINDER, Maker, Piece, Thing, turn_z

COUNTER_HEIGHT, COUNTER_DEPTH = 0.9, 0.6


@dataclass(frozen=True)
class Niche:
    """An opening sunk into a wall: a window or a door. Metres; ``u`` runs along the wall (x or z), ``v`` upwards."""

    label: str
    wall: int
    """0 front, 1 back, 2 left, 3 right."""
    u: tuple[float, float]
    v: tuple[float, float]
    depth: float
    frame: Thing
    """Trim and bars, already in place."""


def frame(label: str, w: float, h: float, depth: float, bars: tuple[int, int]) -> Thing:
    """Trim around an opening of w × h whose bottom middle is the origin; ``bars`` divide its pane (upright, level)."""
    m, slot, trim = Maker(), f"{label}_frame", 0.07
    for x in (-(w + trim) / 2, (w + trim) / 2):
        m.box(slot, (trim, h, 0.03), (x, 0, 0.015))
    m.box(slot, (w + 2 * trim, trim, 0.03), (0, h, 0.015))
    if label == "door":
        m.ball("knob", (0.055, 0.055, 0.055), (-w / 2 + 0.08, 0.98, -depth + 0.04))
        return m.thing(label, (w + 2 * trim, h + trim, 0.03))
    m.box("sill", (w + 2 * trim + 0.04, 0.035, 0.1), (0, -0.035, 0.05))
    inner = -depth + 0.02
    for x in (-w / 2 + 0.02, w / 2 - 0.02):
        m.box(slot, (0.04, h, 0.04), (x, 0, inner))
    for y in (0.0, h - 0.04):
        m.box(slot, (w, 0.04, 0.04), (0, y, inner))
    for i in range(bars[0]):
        m.box(slot, (0.035, h, 0.035), (-w / 2 + w * (i + 1) / (bars[0] + 1), 0, inner))
    for i in range(bars[1]):
        m.box(slot, (w, 0.035, 0.035), (0, h * (i + 1) / (bars[1] + 1), inner))
    return m.thing(label, (w + 2 * trim + 0.04, h + trim, 0.1))


def curtains(rng: Rng, w: float, top: float) -> Thing:
    """A floor-length pair beside an opening of width w; ``top`` is the rod's height, y = 0 the floor."""
    m, wide = Maker(), between(rng, 0.3, 0.42)
    for side in (-1, 1):
        m.box("curtain", (wide, top - 0.04, 0.06), (side * (w / 2 + wide / 2 - 0.04), 0.03, 0.14), soft=0.3)
    half = np.array([0.012, w / 2 + wide + 0.05, 0.012])
    m.pieces.append(Piece(CYLINDER, np.array([0.0, top, 0.14]), half, turn_z(np.pi / 2), "metal"))
    return m.thing("curtain", (w + 2 * wide, top, 0.18))


def picture(rng: Rng, w: float, h: float) -> Thing:
    m, rim = Maker(), between(rng, 0.02, 0.04)
    m.box("picture_frame", (w, h, 0.03), (0, 0, 0.015))
    m.box("picture", (w - 2 * rim, h - 2 * rim, 0.006), (0, rim, 0.03))
    return m.thing("picture", (w, h, 0.04))


def mirror(rng: Rng, w: float, h: float, round_one: bool) -> Thing:
    m = Maker()
    if round_one:
        m.ball("picture_frame", (w, w, 0.03), (0, 0, 0.012))
        m.ball("mirror", (w - 0.05, w - 0.05, 0.032), (0, 0.025, 0.016))
    else:
        m.box("picture_frame", (w, h, 0.025), (0, 0, 0.0125))
        m.box("mirror", (w - 0.05, h - 0.05, 0.006), (0, 0.025, 0.026))
    return m.thing("mirror", (w, w if round_one else h, 0.04))


def clock(rng: Rng) -> Thing:
    m, w = Maker(), between(rng, 0.28, 0.4)
    m.ball("clock", (w, w, 0.05), (0, 0, 0.012))
    return m.thing("clock", (w, w, 0.04))


def towel(rng: Rng) -> Thing:
    m = Maker()
    m.box("metal", (0.56, 0.02, 0.02), (0, 0.62, 0.06))
    m.box("towel", (0.42, 0.62, 0.045), (0, 0.02, 0.06), soft=0.8)
    return m.thing("towel", (0.56, 0.65, 0.1))


def rug(rng: Rng, w: float, d: float, round_one: bool = False) -> Thing:
    m = Maker()
    if round_one:
        m.cylinder("rug", (w, 0.012, w), (0, 0, 0))
    else:
        m.box("rug", (w, 0.012, d), (0, 0, 0))
    return m.thing("rug", (w, 0.012, w if round_one else d))


def fridge(rng: Rng) -> Thing:
    m, w, h = Maker(), between(rng, 0.62, 0.8), between(rng, 1.7, 1.95)
    split = h * between(rng, 0.32, 0.42)
    m.box("metal", (w - 0.03, 0.05, 0.55), (0, 0, 0))
    m.box("fridge", (w, h - 0.05, 0.62), (0, 0.05, -0.03))
    m.box("fridge", (w, split - 0.065, 0.04), (0, 0.055, 0.305), soft=0.3)
    m.box("fridge", (w, h - split - 0.01, 0.04), (0, split, 0.305), soft=0.3)
    for y, size in ((split - 0.38, 0.32), (split + 0.06, 0.42)):
        m.box("handle", (0.025, size, 0.03), (-w / 2 + 0.07, y, 0.34))
    return m.thing("refrigerator", (w, h, 0.7))


def oven(rng: Rng) -> Thing:
    """A built-in oven with its hob, one counter module wide."""
    m, w = Maker(), 0.6
    m.box("cabinet", (w, 0.1, COUNTER_DEPTH - 0.06), (0, 0, -0.03))
    m.box("oven", (w, 0.78, COUNTER_DEPTH - 0.02), (0, 0.1, -0.01))
    m.box("oven_door", (w - 0.06, 0.46, 0.012), (0, 0.16, COUNTER_DEPTH / 2 - 0.015))
    m.box("handle", (w - 0.12, 0.025, 0.03), (0, 0.64, COUNTER_DEPTH / 2 + 0.005))
    for i in range(4):
        m.ball("handle", (0.045, 0.045, 0.03), (-0.2 + 0.133 * i, 0.75, COUNTER_DEPTH / 2 - 0.01))
    m.box("hob", (w, 0.02, COUNTER_DEPTH - 0.04), (0, 0.88, -0.02))
    for x in (-0.14, 0.14):
        for z in (-0.15, 0.11):
            m.cylinder("burner", (0.17, 0.008, 0.17), (x, 0.9, z))
    return m.thing("oven", (w, 0.91, COUNTER_DEPTH))


def counter(width: float) -> Thing:
    m, top = Maker(), 0.04
    m.box("plinth", (width, 0.09, COUNTER_DEPTH - 0.08), (0, 0, -0.04))
    m.box("cabinet", (width, COUNTER_HEIGHT - top - 0.09, COUNTER_DEPTH - 0.03), (0, 0.09, -0.015))
    m.box("countertop", (width, top, COUNTER_DEPTH), (0, COUNTER_HEIGHT - top, 0))
    return m.thing("counter", (width, COUNTER_HEIGHT, COUNTER_DEPTH))


def kitchen_sink() -> list[Thing]:
    """The cabinet below and the apron sink on it, 0.7 m wide."""
    m, w = Maker(), 0.7
    m.box("plinth", (w, 0.09, COUNTER_DEPTH - 0.08), (0, 0, -0.04))
    m.box("cabinet", (w, 0.56, COUNTER_DEPTH - 0.03), (0, 0.09, -0.015))
    cabinet = m.thing("counter", (w, 0.65, COUNTER_DEPTH))
    m = Maker()
    _basin(m, "basin", w, 0.26, COUNTER_DEPTH, 0.65, 0.05)
    _tap(m, 0.91, -COUNTER_DEPTH / 2 + 0.045, 0.14)
    return [cabinet, m.thing("sink", (w, 1.04, COUNTER_DEPTH))]


def upper_cabinet(width: float) -> Thing:
    m = Maker()
    m.box("cabinet", (width, 0.65, 0.34), (0, 0, 0.17))
    return m.thing("cabinet", (width, 0.65, 0.34))


def hood() -> Thing:
    m = Maker()
    m.box("hood", (0.6, 0.1, 0.45), (0, 0, 0.225))
    m.box("hood", (0.26, 0.62, 0.24), (0, 0.1, 0.12))
    return m.thing("hood", (0.6, 0.72, 0.45))


def vanity(rng: Rng) -> list[Thing]:
    """A washstand and the vessel sink on it."""
    m, w, d, h = Maker(), between(rng, 0.7, 1.1), 0.5, 0.74
    m.legs("metal", w - 0.04, d - 0.04, 0.16, 0.035)
    m.box("cabinet", (w, h - 0.2, d - 0.02), (0, 0.16, -0.01))
    m.box("countertop", (w, 0.04, d), (0, h - 0.04, 0))
    stand = m.thing("cabinet", (w, h, d))
    m = Maker()
    _basin(m, "ceramic", 0.48, 0.13, 0.34, h, 0.025, z=0.05)
    _tap(m, h, -0.18, 0.27)
    return [stand, m.thing("sink", (0.5, h + 0.27, 0.45))]


def _basin(m: Maker, slot: str, w: float, h: float, d: float, y: float, wall: float, z: float = 0.0) -> None:
    m.box(slot, (w, 0.05, d), (0, y, z))
    for x in (-(w - wall) / 2, (w - wall) / 2):
        m.box(slot, (wall, h, d), (x, y, z), soft=0.4)
    for back in (-(d - wall) / 2, (d - wall) / 2):
        m.box(slot, (w, h, wall), (0, y, z + back), soft=0.4)


def _tap(m: Maker, y: float, z: float, h: float) -> None:
    m.cylinder("metal_bright", (0.03, h, 0.03), (0, y, z))
    m.box("metal_bright", (0.026, 0.026, 0.17), (0, y + h - 0.026, z + 0.075))


def toilet(rng: Rng) -> Thing:
    m = Maker()
    m.box("ceramic", (0.38, 0.42, 0.17), (0, 0.38, -0.26), soft=0.5)
    m.box("ceramic", (0.41, 0.035, 0.19), (0, 0.8, -0.26), soft=0.5)
    m.cylinder("ceramic", (0.27, 0.37, 0.44), (0, 0, 0.06), taper=0.22)
    m.cylinder("ceramic", (0.38, 0.045, 0.5), (0, 0.37, 0.08))
    m.cylinder("ceramic", (0.37, 0.025, 0.48), (0, 0.42, 0.08))
    m.ball("metal_bright", (0.05, 0.02, 0.05), (0, 0.832, -0.26))
    return m.thing("toilet", (0.42, 0.84, 0.72))


def bathtub(rng: Rng) -> Thing:
    m, w, h, d = Maker(), between(rng, 1.5, 1.7), between(rng, 0.52, 0.6), between(rng, 0.7, 0.8)
    m.box("tub", (w, 0.22, d), (0, 0, 0))
    for x in (-(w - 0.07) / 2, (w - 0.07) / 2):
        m.box("tub", (0.07, h, d), (x, 0, 0), soft=0.4)
    for z in (-(d - 0.07) / 2, (d - 0.07) / 2):
        m.box("tub", (w, h, 0.07), (0, 0, z), soft=0.4)
    _tap(m, h, -d / 2 + 0.035, 0.16)
    return m.thing("bathtub", (w, h + 0.16, d))


def stool(rng: Rng) -> Thing:
    m, h = Maker(), between(rng, 0.42, 0.5)
    m.legs("chair_legs", 0.34, 0.34, h - 0.03, 0.03)
    m.cylinder("chair", (0.36, 0.04, 0.36), (0, h - 0.04, 0))
    return m.thing("stool", (0.36, h, 0.36))
