"""What stands or hangs at walls (y = 0 the floor, the wall at −z): hearths, books, arches, mirrors, panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dollhouse.render.shapes import Maker, Thing

from .rods import disc, rod


def fireplace(height: float, wide: float = 1.3, breast: bool = True) -> Thing:
    """A hearth with its fire and mantel, the chimney breast above up to ``height``."""
    m, depth = Maker(), 0.36
    m.box("hearth", (wide, 1.0, depth), (0, 0, 0))
    m.box("mantel", (wide + 0.2, 0.09, depth + 0.1), (0, 1.0, 0.03))
    if breast:
        m.box("chimney", (wide - 0.14, height - 1.09, depth - 0.06), (0, 1.09, -0.03))
    m.box("soot", (0.72, 0.66, 0.012), (0, 0.08, depth / 2 + 0.004))
    m.box("slab", (wide + 0.1, 0.05, 0.3), (0, 0, depth / 2 + 0.14))
    for x, tall in ((-0.16, 0.26), (0.0, 0.4), (0.15, 0.3)):
        m.ball("fire", (0.17, tall, 0.05), (x, 0.12, depth / 2 + 0.03), shadow=False)
    for x, yaw in ((-0.08, 0.15), (0.1, -0.2)):
        m.box("log", (0.5, 0.08, 0.09), (x, 0.09, depth / 2 + 0.05), yaw=yaw)
    return m.thing("fireplace", (wide, height, depth))


def bookcase(width: float, height: float, rows: int) -> Thing:
    """Full of books from end to end."""
    m, depth = Maker(), 0.3
    m.box("shelf", (width, height, 0.02), (0, 0, -depth / 2 + 0.01))
    count = max(1, round(width / 0.9))
    for i in range(count + 1):
        m.box("shelf", (0.045, height, depth), (-width / 2 + i * width / count, 0, 0))
    pitch = (height - 0.14) / rows
    for row in range(rows + 1):
        m.box("shelf", (width, 0.035, depth), (0, 0.06 + row * pitch, 0))
    for row in range(rows):
        for i in range(count):
            left, full = -width / 2 + 0.03 + i * width / count, width / count - 0.06
            share = (1.0, 0.82, 0.94)[(row + i) % 3]
            size = (full * share, pitch - 0.08, depth - 0.08)
            m.box("books", size, (left + size[0] / 2, 0.095 + row * pitch, 0))
    m.box("shelf", (width + 0.08, 0.08, depth + 0.04), (0, height, 0.0))
    return m.thing("shelf", (width, height, depth))


def arch(slot: str, width: float, height: float, rim: float = 0.07) -> Thing:
    """A round-headed mirror, niche or doorway with its rim."""
    m, straight = Maker(), height - width / 2
    m.box("arch_rim", (width + 2 * rim, straight, 0.03), (0, 0, 0.015))
    disc(m, "arch_rim", width + 2 * rim, 0.03, (0, straight, 0.015))
    m.box(slot, (width, straight, 0.012), (0, 0, 0.031))
    disc(m, slot, width, 0.012, (0, straight, 0.031))
    return m.thing("mirror", (width + 2 * rim, height + rim, 0.04))


def sunburst(width: float) -> Thing:
    """A round mirror with rays."""
    m = Maker()
    for i in range(24):
        angle, reach = 2 * np.pi * i / 24, width / 2 * (1.0 if i % 2 else 0.8)
        tip = np.array([reach * np.sin(angle), reach * np.cos(angle), 0.02])
        rod(m, "metal", np.array([0.0, 0.0, 0.02]), tip, 0.022)
    disc(m, "metal", width * 0.5, 0.03, (0, 0, 0.03))
    disc(m, "mirror", width * 0.42, 0.012, (0, 0, 0.046))
    return m.thing("mirror", (width, width, 0.05))


def oval_mirror(width: float, height: float) -> Thing:
    m = Maker()
    m.ball("picture_frame", (width, height, 0.05), (0, 0, 0.01))
    m.ball("mirror", (width - 0.12, height - 0.12, 0.06), (0, 0.06, 0.016))
    return m.thing("mirror", (width, height, 0.05))


def gallery_wall(sizes: Sequence[tuple[float, float, float, float]]) -> Thing:
    """Pictures by x and y of their bottom middle, width and height."""
    m = Maker()
    for x, y, w, h in sizes:
        m.box("picture_frame", (w, h, 0.03), (x, y, 0.015))
        m.box("picture", (w - 0.07, h - 0.07, 0.006), (x, y + 0.035, 0.03))
    return m.thing("picture", (2.0, 1.4, 0.04))


def panel(slot: str, width: float, height: float) -> Thing:
    """A flat piece on the wall: slats, a hanging, a green wall."""
    m = Maker()
    m.box(slot, (width, height, 0.05), (0, 0, 0.025))
    return m.thing("panel", (width, height, 0.05))
