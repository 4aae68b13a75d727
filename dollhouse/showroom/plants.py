"""Plants and small things."""

from __future__ import annotations

import numpy as np

from dollhouse.render.shapes import Maker, Thing, turn_x, turn_y, turn_z

from .rods import rod


def cactus(height: float) -> Thing:
    m, thick = Maker(), 0.17
    m.cylinder("pot", (0.34, 0.32, 0.34), (0, 0, 0), taper=0.15)
    m.ball("cactus", (thick, height, thick), (0, 0.12, 0))
    for side, y, tall in ((-1, 0.52, 0.42), (1, 0.68, 0.36)):
        rod(m, "cactus", np.array([0.0, y, 0.0]), np.array([side * 0.2, y + 0.04, 0.0]), 0.09)
        m.ball("cactus", (0.11, tall, 0.11), (side * 0.21, y - 0.04, 0))
    return m.thing("potted plant", (0.5, height, 0.34))


def palm(height: float, leaves: int = 15) -> Thing:
    """Long drooping leaves from one stem."""
    m = Maker()
    m.cylinder("pot", (0.36, 0.36, 0.36), (0, 0, 0), taper=0.14)
    base = height * 0.42
    m.cylinder("stem", (0.06, base - 0.3, 0.06), (0, 0.32, 0))
    for i in range(leaves):
        angle, rise = 2.4 * i, (1.25, 0.75, 0.3)[i % 3]
        length = (height - base) * (1.0 if rise > 1 else 0.95)
        away = (
            np.array([np.sin(angle) * np.cos(rise), np.sin(rise), np.cos(angle) * np.cos(rise)])
            * length
            * 0.5
        )
        size = (0.17, 0.025, length)
        m.ball("leaf", size, (away[0], base + away[1], away[2]), turn=turn_y(angle) @ turn_x(-rise))
    return m.thing("potted plant", (0.9, height, 0.9), hollow=True)


def snake_plant(height: float) -> Thing:
    """Upright blades."""
    m = Maker()
    m.cylinder("pot", (0.3, 0.3, 0.3), (0, 0, 0), taper=0.1)
    for i in range(9):
        angle, lean = 2.4 * i, 0.12 + 0.02 * i
        tall = (height - 0.26) * (1.0 - 0.05 * i)
        turn = turn_y(angle) @ turn_x(lean) @ turn_z(0.0)
        at = (0.09 * np.sin(angle), 0.26, 0.09 * np.cos(angle))
        m.ball("leaf", (0.09, tall, 0.02), at, turn=turn)
    return m.thing("potted plant", (0.4, height, 0.4), hollow=True)


def bouquet(height: float = 0.42) -> Thing:
    m = Maker()
    m.cylinder("vase", (0.14, height * 0.45, 0.14), (0, 0, 0), taper=0.15)
    for i in range(11):
        angle, out = 2.4 * i, 0.035 + 0.012 * i
        y = height - 0.1 - 0.012 * i
        m.ball("leaf", (0.12, 0.06, 0.1), (out * np.sin(angle + 1), y - 0.08, out * np.cos(angle + 1)))
        m.ball("blossom", (0.1, 0.09, 0.1), (out * np.sin(angle), y, out * np.cos(angle)))
    return m.thing("vase", (0.3, height, 0.3))


def jar(width: float, height: float) -> Thing:
    m = Maker()
    m.ball("jar", (width, height * 0.86, width), (0, -0.03, 0))
    m.cylinder("jar", (width * 0.45, height * 0.3, width * 0.45), (0, height * 0.7, 0), taper=0.25)
    return m.thing("vase", (width, height, width))


def side_table(lamp: bool = True) -> Thing:
    """A small round table, with a lamp or a pile of books."""
    m, h = Maker(), 0.54
    m.cylinder("side_table", (0.46, 0.035, 0.46), (0, h - 0.035, 0))
    m.cylinder("side_table", (0.05, h - 0.05, 0.05), (0, 0.02, 0))
    m.cylinder("side_table", (0.3, 0.025, 0.3), (0, 0, 0))
    if lamp:
        m.ball("lamp_stand", (0.16, 0.24, 0.16), (0, h - 0.01, 0))
        m.cylinder("lampshade", (0.3, 0.26, 0.3), (0, h + 0.24, 0), taper=-0.25, shadow=False)
    else:
        m.box("cover", (0.26, 0.04, 0.2), (0, h, 0), yaw=0.3)
        m.box("cover", (0.22, 0.035, 0.17), (0, h + 0.04, 0), yaw=-0.1)
    return m.thing("side table", (0.46, h + 0.5, 0.46))
