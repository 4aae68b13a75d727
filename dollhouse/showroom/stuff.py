"""What styles are written in: a dressing (materials, things, light), short words for swatches, places in the room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dollhouse.render import fixtures, furniture
from dollhouse.render.palettes import Grade
from dollhouse.render.shapes import Thing
from dollhouse.render.swatches import Swatch, swatch

from . import lamps, walls

CEILING = 2.568
"""The room's height; it is 4.5 m wide (x) and 4.8 m deep (z), its window in the left wall and its door in the right."""
RUG = (2.15, 2.62)
"""x and z of the middle of the floor before the couch."""
TABLE_HEIGHT = 0.385
TOWARDS_COUCH = 2.3
"""Turned from the chair's corner towards the couch, in radians."""
HALF_TURN = float(np.pi)
QUARTER = HALF_TURN / 2


@dataclass(frozen=True)
class Dressing:
    """A style of the demo's room."""

    materials: Mapping[str, Swatch]
    """By slot. "back wall" and "window wall" differ from "wall" where they are given."""
    grade: Grade
    things: tuple[Thing, ...] = ()
    """In place, besides what the room has."""
    without: frozenset[str] = frozenset()
    """Labels of the room's own things that go; "shelf" takes its books along."""


def paint(colour: str, gloss: float = 0.05) -> Swatch:
    return swatch("plain", colour, gloss=gloss)


def cloth(colour: str) -> Swatch:
    return swatch("fabric", colour, scale=0.012)


def velvet(colour: str) -> Swatch:
    return swatch("fabric", colour, scale=0.02, gloss=0.25)


def timber(light: str, dark: str, gloss: float = 0.2) -> Swatch:
    return swatch("grain", light, dark, gloss=gloss)


def metallic(colour: str, gloss: float = 0.6) -> Swatch:
    return swatch("plain", colour, gloss=gloss, metal=True)


def glowing(colour: str, glow: float = 1.8) -> Swatch:
    return swatch("plain", colour, glow=glow)


def outside(high: str, low: str, hills: str) -> Swatch:
    """The view from the window."""
    return swatch("view", high, low, hills, glow=1.7)


def hung(thing: Thing, x: float = 2.2, z: float = 2.7) -> Thing:
    """From the ceiling, where the photo shows it whole."""
    return thing.at(x, z, 0.4, CEILING)


def corner(thing: Thing, x: float = 0.95, z: float = 3.15) -> Thing:
    """A chair left of the table that looks at the couch."""
    return thing.at(x, z, TOWARDS_COUCH)


def on_table(thing: Thing, x: float = 2.85, z: float = 2.2) -> Thing:
    return thing.at(x, z, 0.3, TABLE_HEIGHT)


def back(thing: Thing, x: float, y: float = 0.0, out: float = 0.0) -> Thing:
    """At the back wall, ``out`` metres before it."""
    return thing.at(x, 4.8 - out, HALF_TURN, y)


def on_couch(thing: Thing, z: float = 2.25, x: float = 4.06, y: float = 0.45) -> Thing:
    return thing.at(x, z, -QUARTER, y)


def over_seat(thing: Thing, z: float = 2.62) -> Thing:
    return thing.at(3.98, z, -QUARTER, 0.275)


def rug(width: float = 2.5, depth: float = 2.3, round_one: bool = False) -> Thing:
    """Before the couch."""
    return fixtures.rug(_drawn(), width, depth, round_one).at(*RUG)


def plant(height: float) -> Thing:
    """At the origin; the same leaves for the same height."""
    return furniture.plant(_drawn(), height)


def rafters(thick: float = 0.2, count: int = 4) -> Thing:
    """Beams below the whole ceiling."""
    return lamps.beams(count, 4.5, 4.5 / count, thick).at(2.25, 2.5, 0.0, CEILING)


def hearth(wide: float = 1.35) -> Thing:
    """In the place of the shelf."""
    return back(walls.fireplace(CEILING, wide), 1.35, 0.0, 0.19)


def _drawn() -> furniture.Rng:
    return np.random.Generator(np.random.PCG64(16))
