"""Lamps, ceiling fans and beams. Unless a docstring says otherwise they hang from y = 0, the ceiling."""

from __future__ import annotations

import numpy as np

from dollhouse.render.shapes import Maker, Thing

from .rods import rod


def paper_lantern(width: float, height: float, drop: float) -> Thing:
    m = Maker()
    m.cylinder("cord", (0.014, drop, 0.014), (0, -drop, 0))
    m.ball("ceiling_lamp", (width, height, width), (0, -drop - height, 0), shadow=False)
    return m.thing("lamp", (width, drop + height, width))


def drum(width: float, height: float, drop: float) -> Thing:
    """A round shade that is open below."""
    m = Maker()
    m.cylinder("cord", (0.014, drop, 0.014), (0, -drop, 0))
    m.cylinder("ceiling_lamp", (width, height, width), (0, -drop - height, 0), shadow=False)
    return m.thing("lamp", (width, drop + height, width))


def bell(width: float, drop: float) -> Thing:
    """A woven or metal shade with its bulb below."""
    m = Maker()
    m.cylinder("cord", (0.016, drop, 0.016), (0, -drop, 0))
    m.cylinder("pendant", (width * 0.66, 0.28, width * 0.66), (0, -drop - 0.28, 0), taper=-0.5, shadow=False)
    m.ball("bulb", (0.12, 0.12, 0.12), (0, -drop - 0.33, 0), shadow=False)
    return m.thing("lamp", (width, drop + 0.33, width))


def chandelier(width: float, drop: float, candles: int = 6, crystals: bool = False) -> Thing:
    m, radius = Maker(), width / 2
    m.cylinder("metal", (0.03, drop, 0.03), (0, -drop, 0))
    m.ball("metal", (0.1, 0.16, 0.1), (0, -drop - 0.08, 0))
    for i in range(candles):
        angle = 2 * np.pi * i / candles
        tip = np.array([radius * np.sin(angle), -drop + 0.02, radius * np.cos(angle)])
        rod(m, "metal", np.array([0.0, -drop, 0.0]), tip, 0.022)
        m.cylinder("candle", (0.035, 0.1, 0.035), (tip[0], tip[1], tip[2]))
        m.ball("ceiling_lamp", (0.06, 0.1, 0.06), (tip[0], tip[1] + 0.09, tip[2]), shadow=False)
        if crystals:
            for share, low in ((1.0, 0.1), (0.66, 0.18), (0.33, 0.26)):
                m.ball(
                    "crystal", (0.05, 0.11, 0.05), (share * tip[0], -drop - low, share * tip[2]), shadow=False
                )
    return m.thing("lamp", (width, drop + 0.2, width))


def sputnik(drop: float) -> Thing:
    m, middle = Maker(), np.array([0.0, -drop, 0.0])
    m.cylinder("metal", (0.02, drop, 0.02), (0, -drop, 0))
    m.ball("metal", (0.14, 0.14, 0.14), (0, -drop - 0.07, 0))
    for rise in (-0.7, 0.0, 0.7):
        for i in range(5):
            angle = 2 * np.pi * i / 5 + rise
            tip = middle + 0.34 * np.array(
                [np.cos(rise) * np.sin(angle), np.sin(rise), np.cos(rise) * np.cos(angle)]
            )
            rod(m, "metal", middle, tip, 0.014)
            m.ball("ceiling_lamp", (0.075, 0.075, 0.075), (tip[0], tip[1] - 0.037, tip[2]), shadow=False)
    return m.thing("lamp", (0.75, drop + 0.4, 0.75))


def globes(drop: float) -> Thing:
    """Three balls at different heights."""
    m = Maker()
    for x, z, more, width in ((0.0, 0.0, 0.2, 0.3), (-0.28, 0.1, 0.0, 0.24), (0.24, 0.2, 0.05, 0.2)):
        m.cylinder("cord", (0.012, drop + more, 0.012), (x, -drop - more, z))
        m.ball("ceiling_lamp", (width, width, width), (x, -drop - more - width, z), shadow=False)
    return m.thing("lamp", (0.8, drop + 0.5, 0.5))


def fan(drop: float) -> Thing:
    m = Maker()
    m.cylinder("metal", (0.04, drop, 0.04), (0, -drop, 0))
    m.cylinder("metal", (0.2, 0.12, 0.2), (0, -drop - 0.1, 0))
    for i in range(5):
        angle = 2 * np.pi * i / 5 + 0.3
        m.box(
            "wood", (0.15, 0.015, 0.56), (0.38 * np.sin(angle), -drop - 0.05, 0.38 * np.cos(angle)), yaw=angle
        )
    m.ball("ceiling_lamp", (0.17, 0.12, 0.17), (0, -drop - 0.2, 0), shadow=False)
    return m.thing("lamp", (1.3, drop + 0.2, 1.3))


def lantern(drop: float) -> Thing:
    """A pierced brass lantern."""
    m = Maker()
    m.cylinder("metal", (0.014, drop, 0.014), (0, -drop, 0))
    m.cylinder("metal", (0.2, 0.14, 0.2), (0, -drop - 0.14, 0), taper=-0.7)
    m.ball("pendant", (0.36, 0.42, 0.36), (0, -drop - 0.52, 0), shadow=False)
    m.ball("metal", (0.1, 0.12, 0.1), (0, -drop - 0.6, 0))
    return m.thing("lamp", (0.36, drop + 0.6, 0.36))


def strip(length: float) -> Thing:
    """A line of light flush with the ceiling."""
    m = Maker()
    m.box("ceiling_lamp", (0.09, 0.03, length), (0, -0.03, 0))
    return m.thing("lamp", (0.09, 0.03, length))


def arc_lamp() -> Thing:
    """A floor lamp whose arm reaches over along +x."""
    m = Maker()
    m.cylinder("lamp_stand", (0.32, 0.06, 0.32), (0, 0, 0))
    last = np.array([0.0, 0.05, 0.0])
    for i in range(1, 9):
        angle = (np.pi / 2) * i / 8
        point = np.array([1.05 * (1 - np.cos(angle)), 0.05 + 1.75 * np.sin(angle), 0.0])
        rod(m, "lamp_stand", last, point, 0.03)
        last = point
    m.ball("lampshade", (0.34, 0.3, 0.34), (last[0], last[1] - 0.28, 0), shadow=False)
    return m.thing("lamp", (1.3, 1.85, 0.34))


def beams(count: int, span: float, pitch: float, thick: float = 0.16) -> Thing:
    """Beams along x below the ceiling."""
    m = Maker()
    for i in range(count):
        m.box("beam", (span, thick, thick * 0.9), (0, -thick, (i - (count - 1) / 2) * pitch))
    return m.thing("beam", (span, thick, count * pitch))
