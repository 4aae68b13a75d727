"""Training pairs: a room with some look (source) and the same room restyled (target), the same pairs in every run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.looks import STYLES, Look, Mixed, Styled
from dollhouse.render.schemes import NO_WISH, ColourWish

MIXED = 2
SOURCES: tuple[Look, ...] = (*(Styled(style) for style in STYLES), *(Mixed(n) for n in range(MIXED)))
"""The looks of every room as a source; the first ones are the styles in the order of STYLES."""

PER_SOURCE = 2

WITH_PALETTE, WITH_WALLS, WITH_SOFA = 0.4, 0.15, 0.1
"""Shares of the targets with a wish for a palette, for walls or for a sofa; the others have the style's own colours."""


class Pair(NamedTuple):
    """How one target comes about."""

    source: int
    """Number in SOURCES."""
    style: str
    wish: ColourWish


def pairs_of(seed: int) -> tuple[Pair, ...]:
    """The pairs of the room of that seed, PER_SOURCE for every source."""
    choices = np.random.Generator(np.random.Philox(key=[seed, 71]))
    return tuple(
        Pair(source, STYLES[int(choices.integers(len(STYLES)))], random_wish(choices))
        for source in range(len(SOURCES))
        for _ in range(PER_SOURCE)
    )


def random_wish(choices: np.random.Generator) -> ColourWish:
    """Draw a wish for colours, of a palette, walls or a sofa, or none (shares: WITH_PALETTE, WITH_WALLS, WITH_SOFA)."""
    what = choices.random()
    if what < WITH_PALETTE:
        count = 1 + int(choices.random() < 0.45) + int(choices.random() < 0.2)
        drawn = choices.choice(len(NAMED_COLOURS), size=count, replace=False)
        return ColourWish(palette=tuple(NAMED_COLOURS[int(number)].names[0] for number in drawn))
    name = NAMED_COLOURS[int(choices.integers(len(NAMED_COLOURS)))].names[0]
    if what < WITH_PALETTE + WITH_WALLS:
        return ColourWish(walls=name)
    if what < WITH_PALETTE + WITH_WALLS + WITH_SOFA:
        return ColourWish(sofa=name)
    return NO_WISH
