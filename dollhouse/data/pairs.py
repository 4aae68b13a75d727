"""What restyling is learnt from: pairs of a room as found and the same room restyled, the same ones for every run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.looks import STYLES, Found, Look, Mixed
from dollhouse.render.schemes import NOTHING, Wish

MIXED = 2
SOURCES: tuple[Look, ...] = (*(Found(style) for style in STYLES), *(Mixed(n) for n in range(MIXED)))
"""How every room is found; the first ones are its styles in the order of STYLES."""

PER_SOURCE = 2

WITH_PALETTE, WITH_WALLS, WITH_SOFA = 0.4, 0.15, 0.1
"""Shares of the targets that a palette, walls or a sofa are wished for; the rest are the style's own."""


class Pair(NamedTuple):
    """One target."""

    source: int
    """Number in SOURCES."""
    style: str
    wish: Wish


def pairs_of(seed: int) -> tuple[Pair, ...]:
    """The targets of the room of that seed, PER_SOURCE for every source."""
    choices = np.random.Generator(np.random.Philox(key=[seed, 71]))
    return tuple(
        Pair(source, STYLES[int(choices.integers(len(STYLES)))], draw_wish(choices))
        for source in range(len(SOURCES))
        for _ in range(PER_SOURCE)
    )


def draw_wish(choices: np.random.Generator) -> Wish:
    """A random one, in the shares above."""
    what = choices.random()
    if what < WITH_PALETTE:
        count = 1 + int(choices.random() < 0.45) + int(choices.random() < 0.2)
        drawn = choices.choice(len(NAMED_COLOURS), size=count, replace=False)
        return Wish(palette=tuple(NAMED_COLOURS[int(number)].names[0] for number in drawn))
    name = NAMED_COLOURS[int(choices.integers(len(NAMED_COLOURS)))].names[0]
    if what < WITH_PALETTE + WITH_WALLS:
        return Wish(walls=name)
    if what < WITH_PALETTE + WITH_WALLS + WITH_SOFA:
        return Wish(sofa=name)
    return NOTHING
