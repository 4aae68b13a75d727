"""Puts a style's materials and furnishings into the demo's room and photographs it.

python -m dollhouse.showroom.dressing --style japandi --out japandi.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from dollhouse.render.layout import Room
from dollhouse.render.looks import STYLES as LEARNT
from dollhouse.render.looks import Look, Styled
from dollhouse.render.palettes import COMMON, Grade, names_of
from dollhouse.render.rooms import picture, sample_rooms, trace_view
from dollhouse.render.scene import FIRST_WALL
from dollhouse.render.swatches import Swatch, swatch

from . import bold, calm, far, flowers, old, patterns
from .stuff import Dressing, glowing, paint

__all__ = ["DRESSINGS", "SEED", "dressed", "patterns", "photograph"]

SEED = 1000340
"""The demo's room (stack/demo.py)."""
DRESSINGS = {
    name: each for group in (calm, bold, old, flowers, far) for name, each in group.DRESSINGS.items()
}

ALIASES = {
    "armchair": "sofa",
    "armchair_legs": "legs",
    "arch_rim": "trim",
    "beam": "wood",
    "blossom": "pillow_a",
    "cactus": "leaf",
    "chimney": "hearth",
    "hearth": "wall",
    "hide": "rug",
    "jar": "vase",
    "log": "wood",
    "mantel": "wood",
    "niche": "wall",
    "pouf": "throw",
    "side_table": "wood",
    "slab": "hearth",
    "stump": "wood",
}
"""A slot of this package's things without an entry in a dressing takes the material of this one."""

SHARED = {
    "candle": paint("#efe6d2"),
    "crystal": swatch("plain", "#eef3f8", gloss=0.9, glow=0.6),
    "fire": glowing("#ff9a3a", 2.6),
    "soot": paint("#17130f"),
}
"""The same in every dressing unless it has its own."""
MUTED = 0.86
"""Of a dressing's saturation: as much colour as the pictures have that a release made of the same room."""
WALLS = {FIRST_WALL + 1: "back wall", FIRST_WALL + 2: "window wall"}


@dataclass(frozen=True)
class Dressed:
    """The look of a dressing."""

    dressing: Dressing

    def swatch(self, room: Room, slot: str, part: int) -> Swatch:
        for name in _names(slot, part, room.room_type):
            found = self.dressing.materials.get(name) or SHARED.get(name)
            if found is None and name in COMMON:
                found = COMMON[name][0]
            if found is not None:
                return found
        raise KeyError(f"there is no material for {slot!r}")

    def grade(self, room: Room) -> Grade:
        grade = self.dressing.grade
        return grade._replace(saturation=grade.saturation * MUTED)


def _names(slot: str, part: int, room_type: str) -> list[str]:
    """The slot and whose material it takes instead, the most special first."""
    names = [WALLS[part], slot] if slot == "wall" and part in WALLS else [slot]
    while names[-1] in ALIASES:
        names.append(ALIASES[names[-1]])
    return [*names[:-1], *names_of(names[-1], room_type)]


def dressed(style: str) -> tuple[Room, Look]:
    """The demo's room with the things of a style, and its look. Raises KeyError for a style that has none here."""
    room = sample_rooms([SEED])[0]
    if style in LEARNT:
        return room, Styled(style)
    dressing = DRESSINGS[style]
    gone = dressing.without | ({"book"} if "shelf" in dressing.without else frozenset())
    kept = tuple(thing for thing in room.things if thing.label not in gone)
    return replace(room, things=(*kept, *dressing.things)), Dressed(dressing)


def photograph(style: str, width: int = 320, height: int = 240, smooth: int = 2) -> Image.Image:
    """An RGB picture, the same on every call, with ``smooth``² rays a pixel; errors as in ``dressed`` and
    ``trace_view``."""
    room, look = dressed(style)
    made = picture(trace_view([room], (height, width), supersample=smooth), [look])
    return Image.fromarray(made[0].numpy())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.showroom.dressing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = (*LEARNT, *DRESSINGS)
    parser.add_argument("--style", choices=names, required=True)
    parser.add_argument("--width", type=int, default=640, help="in pixels, a multiple of 8 (640)")
    parser.add_argument("--height", type=int, default=480, help="(480)")
    parser.add_argument("--out", type=Path, required=True, help="a .jpg or .png file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    photograph(given.style, given.width, given.height).save(given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
