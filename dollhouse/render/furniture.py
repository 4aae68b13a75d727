"""Furniture of the dry rooms. Every function draws its sizes from the generator and returns a Thing at the origin."""

from __future__ import annotations

import numpy as np

from .shapes import Maker, Thing, turn_x, turn_y

Rng = np.random.Generator


def between(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def sofa(rng: Rng, seats: int | None = None) -> Thing:
    """A couch of one (an armchair, COCO's "chair") to three seats."""
    seats = int(rng.integers(2, 4)) if seats is None else seats
    arm = between(rng, 0.13, 0.22)
    w, d = seats * between(rng, 0.6, 0.7) + 2 * arm, between(rng, 0.82, 0.95)
    back, arm_height = between(rng, 0.72, 0.88), between(rng, 0.55, 0.64)
    m = Maker()
    m.legs("legs", w - 0.1, d - 0.1, 0.12)
    m.box("sofa", (w, 0.16, d), (0, 0.11, 0), soft=0.3)
    m.box("sofa", (w - 2 * arm, back - 0.27, 0.2), (0, 0.27, -d / 2 + 0.1), soft=0.6)
    for side in (-1, 1):
        m.box("sofa", (arm, arm_height - 0.26, d), (side * (w - arm) / 2, 0.26, 0), soft=0.7)
    seat = (w - 2 * arm) / seats
    for i in range(seats):
        x = -w / 2 + arm + seat * (i + 0.5)
        m.box("sofa", (seat - 0.012, 0.17, d - 0.2), (x, 0.27, 0.11), soft=0.8)
        m.box("sofa", (seat - 0.02, back - 0.46, 0.17), (x, 0.45, -d / 2 + 0.27), soft=0.9, tilt=0.18)
    for side in (-1, 1) if seats > 1 else (0,):
        x = side * (w / 2 - arm - 0.22)
        slot = "pillow_a" if side < 0 else "pillow_b"
        m.box(slot, (0.4, 0.38, 0.11), (x, 0.44, -d / 2 + 0.42), soft=1.0, tilt=0.4, yaw=-0.2 * side)
    return m.thing("couch" if seats > 1 else "chair", (w, back, d))


def coffee_table(rng: Rng) -> Thing:
    m, h = Maker(), between(rng, 0.36, 0.45)
    if rng.random() < 0.4:
        w = d = between(rng, 0.7, 0.95)
        m.cylinder("tabletop", (w, 0.045, w), (0, h - 0.045, 0))
        m.cylinder("table_legs", (0.12, h - 0.05, 0.12), (0, 0, 0))
        m.cylinder("table_legs", (w * 0.55, 0.03, w * 0.55), (0, 0, 0))
    else:
        w, d = between(rng, 0.85, 1.2), between(rng, 0.5, 0.65)
        m.box("tabletop", (w, 0.045, d), (0, h - 0.045, 0))
        m.legs("table_legs", w - 0.04, d - 0.04, h - 0.045)
        if rng.random() < 0.5:
            m.box("tabletop", (w - 0.1, 0.025, d - 0.1), (0, 0.14, 0))
    return m.thing("coffee table", (w, h, d))


def dining_table(rng: Rng, round_top: bool) -> Thing:
    m, h = Maker(), between(rng, 0.73, 0.77)
    if round_top:
        w = d = between(rng, 1.0, 1.3)
        m.cylinder("tabletop", (w, 0.04, w), (0, h - 0.04, 0))
        m.cylinder("table_legs", (0.11, h - 0.05, 0.11), (0, 0, 0))
        m.cylinder("table_legs", (0.6, 0.04, 0.6), (0, 0, 0), taper=-0.2)
    else:
        w, d = between(rng, 1.4, 2.1), between(rng, 0.8, 0.95)
        m.box("tabletop", (w, 0.045, d), (0, h - 0.045, 0))
        m.box("table_legs", (w - 0.2, 0.08, d - 0.2), (0, h - 0.125, 0))
        m.legs("table_legs", w - 0.06, d - 0.06, h - 0.045, 0.065)
    return m.thing("dining table", (w, h, d))


def chair(rng: Rng) -> Thing:
    """A dining chair; its back is at −z."""
    m, w, d, h = Maker(), 0.44, 0.46, between(rng, 0.8, 0.94)
    m.legs("chair_legs", w, d, 0.44, 0.036)
    m.box("chair", (w, 0.055, d), (0, 0.43, 0), soft=0.5)
    for x in (-w / 2 + 0.025, w / 2 - 0.025):
        m.box("chair_legs", (0.035, h - 0.48, 0.035), (x, 0.48, -d / 2 + 0.02))
    if rng.random() < 0.5:
        m.box("chair", (w - 0.05, 0.3, 0.03), (0, h - 0.3, -d / 2 + 0.02), soft=0.4)
    else:
        for i in range(3):
            m.box("chair", (w - 0.05, 0.06, 0.022), (0, h - 0.07 - 0.12 * i, -d / 2 + 0.02), soft=0.3)
    return m.thing("chair", (w, h, d))


def office_chair(rng: Rng) -> Thing:
    m = Maker()
    for i in range(3):
        m.box("metal", (0.58, 0.035, 0.045), (0, 0.03, 0), yaw=i * np.pi / 3)
    m.cylinder("metal", (0.05, 0.38, 0.05), (0, 0.06, 0))
    m.box("chair", (0.48, 0.08, 0.48), (0, 0.43, 0), soft=0.8)
    m.box("chair", (0.44, between(rng, 0.45, 0.6), 0.07), (0, 0.55, -0.24), soft=0.8, tilt=0.1)
    m.box("metal", (0.06, 0.3, 0.03), (0, 0.4, -0.25))
    return m.thing("chair", (0.6, 1.1, 0.6))


def bed(rng: Rng) -> Thing:
    """Its headboard is at −z."""
    w, d, head = between(rng, 1.2, 1.8), 2.08, between(rng, 0.85, 1.2)
    m = Maker()
    m.legs("legs", w, d, 0.14, 0.07)
    m.box("bed", (w, 0.2, d), (0, 0.13, 0))
    m.box("headboard", (w + 0.08, head - 0.1, 0.08), (0, 0.1, -d / 2 + 0.02), soft=0.25)
    m.box("sheet", (w - 0.06, 0.2, d - 0.1), (0, 0.3, 0.03), soft=0.8)
    m.box("duvet", (w + 0.02, 0.22, d * 0.66), (0, 0.32, d * 0.17), soft=0.9)
    m.box("throw", (w + 0.05, 0.235, d * 0.24), (0, 0.318, d * 0.33), soft=0.9)
    count = 2 if w > 1.35 else 1
    for i in range(count):
        x = (i - (count - 1) / 2) * w * 0.46
        m.box("sheet", (min(0.66, w * 0.42), 0.4, 0.15), (x, 0.46, -d / 2 + 0.2), soft=1.0, tilt=0.5)
        slot = "pillow_a" if i == 0 else "pillow_b"
        m.box(slot, (0.44, 0.36, 0.12), (x * 0.9, 0.47, -d / 2 + 0.42), soft=1.0, tilt=0.6)
    return m.thing("bed", (w + 0.08, head, d + 0.04))


def nightstand(rng: Rng) -> Thing:
    m, w, d, h = Maker(), between(rng, 0.42, 0.55), 0.4, between(rng, 0.45, 0.55)
    m.legs("legs", w, d, 0.13, 0.04)
    m.box("drawers", (w, h - 0.13, d), (0, 0.13, 0))
    return m.thing("nightstand", (w, h, d))


def sideboard(rng: Rng, height: float | None = None) -> Thing:
    m, w, d = Maker(), between(rng, 1.2, 1.8), 0.42
    h = between(rng, 0.7, 0.85) if height is None else height
    m.legs("legs", w - 0.1, d - 0.04, 0.15, 0.045)
    m.box("drawers", (w, h - 0.15, d), (0, 0.15, 0))
    return m.thing("sideboard", (w, h, d))


def wardrobe(rng: Rng) -> Thing:
    m, w, d, h = Maker(), between(rng, 1.0, 1.7), 0.58, between(rng, 1.95, 2.2)
    m.box("legs", (w - 0.04, 0.08, d - 0.05), (0, 0, 0))
    m.box("doors", (w, h - 0.08, d), (0, 0.08, 0))
    return m.thing("wardrobe", (w, h, d))


def shelf(rng: Rng) -> list[Thing]:
    """A bookcase and the rows of books in it, one thing a row."""
    w, d, h = between(rng, 0.75, 1.25), 0.32, between(rng, 1.5, 2.1)
    m, rows = Maker(), int(rng.integers(4, 6))
    for x in (-w / 2 + 0.015, w / 2 - 0.015):
        m.box("shelf", (0.03, h, d), (x, 0, 0))
    if rng.random() < 0.6:
        m.box("shelf", (w - 0.06, h - 0.05, 0.015), (0, 0.02, -d / 2 + 0.01))
    pitch = (h - 0.08) / rows
    books = []
    for row in range(rows + 1):
        y = 0.04 + row * pitch
        m.box("shelf", (w - 0.06, 0.028, d - 0.01), (0, y, 0))
        if row < rows and rng.random() < 0.85:
            books.append(_books(rng, w - 0.1, pitch - 0.06, d, y + 0.03))
    return [m.thing("shelf", (w, h, d)), *books]


def _books(rng: Rng, width: float, height: float, depth: float, y: float) -> Thing:
    m, x = Maker(), -width / 2
    end = x + width * between(rng, 0.5, 1.0)
    while x < end - 0.08:
        w = min(between(rng, 0.1, 0.26), end - x)
        h = min(between(rng, 0.2, 0.3), height)
        m.box("books", (w - 0.004, h, depth - 0.1), (x + w / 2, y, 0.0))
        x += w
    return m.thing("book", (width, height, depth))


def floor_lamp(rng: Rng) -> Thing:
    m, h = Maker(), between(rng, 1.45, 1.75)
    m.cylinder("lamp_stand", (0.3, 0.03, 0.3), (0, 0, 0))
    m.cylinder("lamp_stand", (0.03, h - 0.3, 0.03), (0, 0.03, 0))
    m.cylinder("lampshade", (0.34, 0.3, 0.34), (0, h - 0.3, 0), taper=-0.25, shadow=False)
    return m.thing("lamp", (0.45, h, 0.45))


def table_lamp(rng: Rng) -> Thing:
    m, h = Maker(), between(rng, 0.38, 0.5)
    m.cylinder("lamp_stand", (0.14, 0.02, 0.14), (0, 0, 0))
    if rng.random() < 0.5:
        m.ball("lamp_stand", (0.15, h - 0.2, 0.15), (0, 0.015, 0))
    else:
        m.cylinder("lamp_stand", (0.03, h - 0.2, 0.03), (0, 0.02, 0))
    m.cylinder("lampshade", (0.22, 0.2, 0.22), (0, h - 0.2, 0), taper=-0.2, shadow=False)
    return m.thing("lamp", (0.27, h, 0.27))


def pendant(rng: Rng, drop: float) -> Thing:
    """A lamp that hangs ``drop`` metres from the ceiling; y = 0 is the ceiling."""
    m, w = Maker(), between(rng, 0.32, 0.5)
    m.cylinder("cord", (0.014, drop - 0.2, 0.014), (0, 0.2 - drop, 0))
    m.cylinder("pendant", (w * 0.7, 0.2, w * 0.7), (0, -drop, 0), taper=-0.45, shadow=False)
    m.ball("bulb", (0.1, 0.1, 0.1), (0, -drop - 0.045, 0), shadow=False)
    m.cylinder("cord", (0.1, 0.025, 0.1), (0, -0.025, 0))
    return m.thing("lamp", (w, drop, w))


def ceiling_lamp(rng: Rng) -> Thing:
    """Flush with the ceiling; y = 0 is the ceiling."""
    m, w = Maker(), between(rng, 0.3, 0.45)
    m.cylinder("metal", (w * 0.5, 0.02, w * 0.5), (0, -0.02, 0))
    m.cylinder("ceiling_lamp", (w, 0.08, w), (0, -0.1, 0), taper=0.12, shadow=False)
    return m.thing("lamp", (w, 0.1, w))


def plant(rng: Rng, height: float | None = None) -> Thing:
    """A potted plant: arching leaves around a middle, or a crown on a stem."""
    h = between(rng, 0.7, 1.5) if height is None else height
    pot, wide = min(0.34 * h, 0.36), min(0.36 * h + 0.08, 0.5)
    m, tall = Maker(), h > 0.6 and rng.random() < 0.5
    m.cylinder("pot", (wide * 0.68, pot, wide * 0.68), (0, 0, 0), taper=0.16)
    m.cylinder("soil", (wide * 0.66, 0.012, wide * 0.66), (0, pot - 0.006, 0))
    base = pot + (h - pot) * (0.35 if tall else 0.0)
    if tall:
        m.cylinder("stem", (0.035, base - pot + 0.1, 0.035), (0, pot, 0))
    count, reach = int(rng.integers(11, 16)), (h - base)
    for i in range(count):
        angle = 2.4 * i + between(rng, -0.3, 0.3)
        rise = between(rng, 0.35, 1.35) if i else 1.5
        length = (
            reach * between(rng, 0.6, 0.78) if rise > 0.9 else min(reach, wide * 1.2) * between(rng, 0.6, 0.8)
        )
        away = np.array([np.sin(angle) * np.cos(rise), np.sin(rise), np.cos(angle) * np.cos(rise)])
        middle = away * length * 0.62
        size = (length * between(rng, 0.3, 0.42), length * 0.07, length)
        at = (middle[0], base + middle[1] - size[1] / 2, middle[2])
        m.ball("leaf", size, at, turn=turn_y(angle) @ turn_x(-rise + 0.25))
    reached = np.abs([bound for piece in m.pieces for bound in piece.bounds()]).max(axis=0)
    return m.thing("potted plant", (2 * reached[0], h, 2 * reached[2]), hollow=True)


def vase(rng: Rng) -> Thing:
    m, h = Maker(), between(rng, 0.16, 0.3)
    m.ball("vase", (h * 0.62, h * 0.75, h * 0.62), (0, -0.01, 0))
    m.cylinder("vase", (h * 0.24, h * 0.38, h * 0.24), (0, h * 0.62, 0), taper=0.2)
    return m.thing("vase", (h * 0.6, h, h * 0.6))


def book_stack(rng: Rng) -> Thing:
    m, y = Maker(), 0.0
    for _ in range(int(rng.integers(2, 4))):
        h = between(rng, 0.025, 0.045)
        m.box("cover", (0.26, h, 0.19), (0, y, 0), yaw=between(rng, -0.25, 0.25))
        y += h
    return m.thing("book", (0.28, y, 0.24))


def television(rng: Rng) -> Thing:
    m, w = Maker(), between(rng, 0.95, 1.35)
    h = w * 0.57
    m.box("tv_body", (w * 0.3, 0.02, 0.18), (0, 0, 0))
    m.box("tv_body", (0.08, 0.08, 0.03), (0, 0.02, 0))
    m.box("tv_body", (w, h, 0.045), (0, 0.07, 0))
    m.box("screen", (w - 0.03, h - 0.03, 0.004), (0, 0.085, 0.0225))
    return m.thing("tv", (w, h + 0.07, 0.2))


def laptop(rng: Rng) -> Thing:
    m = Maker()
    m.box("laptop", (0.34, 0.016, 0.24), (0, 0, 0))
    m.box("laptop", (0.34, 0.23, 0.012), (0, 0.01, -0.15), tilt=0.3)
    m.box("screen", (0.32, 0.21, 0.004), (0, 0.02, -0.14), tilt=0.3)
    return m.thing("laptop", (0.36, 0.25, 0.34))


def desk(rng: Rng) -> Thing:
    m, w, d, h = Maker(), between(rng, 1.2, 1.6), between(rng, 0.62, 0.72), 0.74
    m.box("tabletop", (w, 0.04, d), (0, h - 0.04, 0))
    m.legs("table_legs", w - 0.04, d - 0.04, h - 0.04)
    if rng.random() < 0.6:
        m.box("drawers", (0.38, 0.5, d - 0.12), (w / 2 - 0.3, h - 0.54, 0))
    return m.thing("desk", (w, h, d))
