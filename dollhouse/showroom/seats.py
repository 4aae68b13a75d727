"""Chairs (their backs at −z) and what lies on seats and floors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dollhouse.render.shapes import Maker, Thing

from .rods import rod


def armchair(width: float = 0.78, height: float = 0.86) -> Thing:
    """Upholstered, with arms."""
    m = Maker()
    m.legs("armchair_legs", width - 0.06, 0.72, 0.16, 0.05)
    m.box("armchair", (width, 0.2, 0.76), (0, 0.15, 0), soft=0.4)
    m.box("armchair", (width - 0.26, 0.14, 0.6), (0, 0.33, 0.07), soft=0.9)
    m.box("armchair", (width - 0.06, height - 0.3, 0.16), (0, 0.3, -0.31), soft=0.9, tilt=0.14)
    for side in (-1, 1):
        m.box("armchair", (0.14, 0.3, 0.72), (side * (width - 0.14) / 2, 0.3, 0.0), soft=0.8)
    m.box("pillow_a", (0.4, 0.36, 0.12), (0, 0.45, -0.17), soft=1.0, tilt=0.3)
    return m.thing("chair", (width, height, 0.8))


def wing_chair() -> Thing:
    m, w, h = Maker(), 0.76, 1.12
    m.legs("armchair_legs", w - 0.06, 0.7, 0.2, 0.05)
    m.box("armchair", (w, 0.16, 0.74), (0, 0.18, 0), soft=0.5)
    m.box("armchair", (w - 0.24, 0.14, 0.6), (0, 0.33, 0.06), soft=1.0)
    m.box("armchair", (w - 0.04, h - 0.3, 0.14), (0, 0.3, -0.31), soft=0.9, tilt=0.1)
    for side in (-1, 1):
        m.box("armchair", (0.12, 0.3, 0.7), (side * (w - 0.12) / 2, 0.32, 0.0), soft=0.8)
        m.box("armchair", (0.1, 0.46, 0.28), (side * (w - 0.1) / 2, 0.62, -0.22), soft=0.9)
        m.ball("armchair", (0.16, 0.16, 0.7), (side * (w - 0.12) / 2, 0.56, 0.0))
    m.box("pillow_b", (0.38, 0.34, 0.12), (0, 0.46, -0.16), soft=1.0, tilt=0.3)
    return m.thing("chair", (w, h, 0.78))


def lounge_chair(low: float = 0.0) -> Thing:
    """A light frame of wood with two cushions; ``low`` metres lower than usual."""
    m, w, seat = Maker(), 0.7, 0.34 - low
    for side in (-1, 1):
        x = side * w / 2
        rod(m, "armchair_legs", np.array([x, 0.0, 0.36]), np.array([x * 0.94, seat + 0.2, 0.3]), 0.045)
        rod(m, "armchair_legs", np.array([x, 0.0, -0.42]), np.array([x * 0.94, seat + 0.2, -0.24]), 0.045)
        m.box("armchair_legs", (0.06, 0.03, 0.74), (x * 0.94, seat + 0.2, 0.0))
    m.box("armchair_legs", (w - 0.06, 0.05, 0.62), (0, seat - 0.08, 0.02))
    m.box("armchair", (w - 0.1, 0.13, 0.62), (0, seat - 0.03, 0.04), soft=0.9)
    m.box("armchair", (w - 0.1, 0.52, 0.13), (0, seat + 0.06, -0.26), soft=0.9, tilt=0.3)
    return m.thing("chair", (w, seat + 0.55, 0.8))


def tubular_chair() -> Thing:
    """Bent steel tube with slung seat and back."""
    m, w = Maker(), 0.62
    for side in (-1, 1):
        x = side * w / 2
        m.box("steel", (0.03, 0.03, 0.7), (x, 0.0, 0.0))
        m.box("steel", (0.03, 0.6, 0.03), (x, 0.0, 0.34))
        m.box("steel", (0.03, 0.03, 0.68), (x, 0.58, 0.0))
        m.box("steel", (0.03, 0.5, 0.03), (x * 0.85, 0.34, -0.27), tilt=0.25)
        m.box("armchair", (0.05, 0.02, 0.34), (x, 0.61, 0.04))
    m.box("steel", (w, 0.03, 0.03), (0, 0.0, -0.34))
    m.box("armchair", (w - 0.1, 0.05, 0.56), (0, 0.36, 0.02), soft=0.4)
    m.box("armchair", (w - 0.1, 0.34, 0.05), (0, 0.5, -0.29), soft=0.4, tilt=0.25)
    return m.thing("chair", (w, 0.86, 0.72))


def round_chair() -> Thing:
    """A shell: rattan or velvet, round from every side."""
    m = Maker()
    m.cylinder("armchair_legs", (0.5, 0.14, 0.5), (0, 0, 0), taper=-0.15)
    m.cylinder("armchair", (0.74, 0.26, 0.74), (0, 0.13, 0), taper=0.08)
    m.ball("pillow_b", (0.66, 0.16, 0.62), (0, 0.33, 0.04))
    for i in range(7):
        angle = np.pi + (i - 3) * 0.4
        high = 0.52 - 0.05 * abs(i - 3)
        m.box(
            "armchair",
            (0.2, high, 0.08),
            (0.34 * np.sin(angle), 0.32, 0.34 * np.cos(angle)),
            soft=0.6,
            yaw=angle,
        )
    return m.thing("chair", (0.84, 0.85, 0.84))


def pouf(width: float = 0.52, height: float = 0.34) -> Thing:
    m = Maker()
    m.ball("pouf", (width, height * 1.25, width), (0, -0.04, 0))
    return m.thing("stool", (width, height, width))


def floor_cushion() -> Thing:
    m = Maker()
    m.box("pillow_b", (0.62, 0.14, 0.62), (0, 0, 0), soft=1.0)
    m.box("pillow_a", (0.56, 0.12, 0.56), (0.02, 0.13, 0.01), soft=1.0, yaw=0.2)
    return m.thing("stool", (0.64, 0.26, 0.64))


def stump(width: float = 0.36, height: float = 0.42) -> Thing:
    """A block of wood, stone or concrete to sit on or to put things on."""
    m = Maker()
    m.cylinder("stump", (width, height, width), (0, 0, 0), taper=-0.06)
    return m.thing("stool", (width, height, width))


def cushions(slots: Sequence[str], pitch: float) -> Thing:
    """A row of cushions along x that lean back."""
    m = Maker()
    for i, slot in enumerate(slots):
        x = (i - (len(slots) - 1) / 2) * pitch
        m.box(slot, (0.42, 0.4, 0.12), (x, 0, 0.02 * (i % 2)), soft=1.0, tilt=0.4, yaw=0.12 * (-1) ** i)
    return m.thing("pillow", (len(slots) * pitch, 0.4, 0.2))


def blanket(width: float, depth: float, height: float) -> Thing:
    """Over a seat or an arm."""
    m = Maker()
    m.box("throw", (width, height, depth), (0, 0, 0), soft=0.7)
    return m.thing("throw", (width, height, depth))


def hide(width: float) -> Thing:
    """A sheepskin or a cowhide on the floor."""
    m = Maker()
    m.ball("hide", (width, 0.05, width * 0.7), (0, -0.02, 0))
    m.ball("hide", (width * 0.6, 0.05, width * 0.95), (0.08, -0.02, 0.05))
    return m.thing("rug", (width, 0.03, width))
