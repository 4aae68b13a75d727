"""Looks: what a room's slots are made of, and how it is photographed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

from . import schemes
from .layout import Room
from .palettes import ALIASES, COMMON, GRADES, PALETTES, Grade, names_of
from .schemes import NO_WISH, ColourWish
from .swatches import Swatch

STYLES = ("modern", "scandinavian", "boho", "industrial", "minimalist")
"""The order of style numbers everywhere in the dollhouse; the names are those of orchestrator/domain/styles.toml."""


class Look(Protocol):
    """How a room looks: the material of every slot, and how the photo is graded. The same room always has the same
    answers."""

    def swatch(self, room: Room, slot: str, part: int) -> Swatch:
        """What a slot is made of; walls may differ by their part number."""
        ...

    def grade(self, room: Room) -> Grade: ...


@dataclass(frozen=True)
class Styled:
    """A room in one style: every slot is drawn from the style's materials for it."""

    style: str
    """A name of STYLES."""

    def swatch(self, room: Room, slot: str, part: int) -> Swatch:
        return _drawn(self.style, slot, room, part)

    def grade(self, room: Room) -> Grade:
        return GRADES[self.style]


@dataclass(frozen=True)
class Mixed:
    """A room in no one style: every kind of thing has a style of its own, drawn by ``number`` and the room."""

    number: int

    def swatch(self, room: Room, slot: str, part: int) -> Swatch:
        return _drawn(self._style(room, ALIASES.get(slot, slot)), slot, room, part)

    def grade(self, room: Room) -> Grade:
        return GRADES[self._style(room, "photograph")]

    def _style(self, room: Room, what: str) -> str:
        return STYLES[int(share(room.seed, f"mixed {self.number} {what}") * len(STYLES))]


@dataclass(frozen=True)
class Restyled:
    """The target of restyling a room whose photo has the look ``found``; see :mod:`.schemes`."""

    found: Look
    style: str
    wish: ColourWish = NO_WISH

    def swatch(self, room: Room, slot: str, part: int) -> Swatch:
        found = self.found.swatch(room, slot, part)
        return schemes.restyled_swatch(self.style, slot, room.room_type, found, self.wish)

    def grade(self, room: Room) -> Grade:
        return schemes.GRADES[self.style]


def share(seed: int, name: str) -> float:
    """A number 0 ≤ n < 1 that depends on both, the same on every machine."""
    return (crc32(f"{seed} {name}".encode()) & 0xFFFFFFFF) / 2**32


def _drawn(style: str, slot: str, room: Room, part: int) -> Swatch:
    """The swatch of a slot: from its own entry, else from its alias's."""
    palette = PALETTES[style]
    for name in names_of(slot, room.room_type):
        options = palette.get(name) or COMMON.get(name)
        if options:
            # One wood, one metal, one wall paint a room: the choice depends on the entry, not on the piece.
            feature = (
                name == "wall"
                and share(room.seed, "feature") * 4 // 1 + 2 == part
                and "feature wall" in palette
            )
            options = palette["feature wall"] if feature else options
            owner = style if name in palette else "any style"
            return options[int(share(room.seed, f"{owner} {name}") * len(options))]
    raise KeyError(f"style {style} has no material for {slot!r}")
