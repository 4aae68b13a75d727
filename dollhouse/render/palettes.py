"""The five styles as swatches, after the words of orchestrator/domain/styles.toml: what each slot may be made of."""

from __future__ import annotations

from typing import NamedTuple

from .calm_palettes import MINIMALIST, MODERN, SCANDINAVIAN
from .rich_palettes import BOHO, INDUSTRIAL
from .swatches import Swatch, fabric, metal, plain, swatch

ALIASES = {
    "kitchen wall": "wall",
    "bathroom wall": "wall",
    "kitchen floor": "floor",
    "bathroom floor": "floor",
    "reveal": "trim",
    "door_frame": "trim",
    "window_frame": "trim",
    "sill": "trim",
    "legs": "wood",
    "table_legs": "legs",
    "chair_legs": "legs",
    "tabletop": "wood",
    "chair": "wood",
    "bed": "wood",
    "headboard": "bed",
    "doors": "drawers",
    "cabinet": "drawers",
    "shelf": "wood",
    "stem": "wood",
    "lamp_stand": "metal",
    "knob": "metal",
    "handle": "metal",
    "cord": "black",
    "pendant": "lampshade",
    "tv_body": "black",
    "hob": "black",
    "plinth": "black",
    "burner": "black",
    "oven_door": "dark_glass",
    "screen": "dark_glass",
    "laptop": "metal_bright",
    "metal_bright": "steel",
    "hood": "fridge",
    "fridge": "steel",
    "oven": "steel",
    "basin": "steel",
    "tub": "ceramic",
    "cover": "pillow_a",
    "towel": "throw",
    "picture_frame": "metal",
    "pillow_b": "pillow_a",
    "duvet": "sheet",
}
"""A slot without an entry in a style takes the material of this one."""


def names_of(slot: str, room_type: str) -> list[str]:
    """The slot and whose material it takes instead, the most special first: wet rooms ask for tiles."""
    names = [slot]
    if slot in ("wall", "floor") and room_type in ("kitchen", "bathroom"):
        names.insert(0, f"{room_type} {slot}")
    while ALIASES.get(names[-1]):
        names.append(ALIASES[names[-1]])
    return names


COMMON: dict[str, list[Swatch]] = {
    "view": [
        swatch("view", "#8fb8de", "#dce8ef", "#5d7a4a", glow=1.7),
        swatch("view", "#9cc1e4", "#e9edec", "#77875c", glow=1.7),
        swatch("view", "#a9c4da", "#ece6dc", "#7d7f83", glow=1.7),
    ],
    "black": plain("#1d1d1f", gloss=0.3),
    "dark_glass": [swatch("screen", "#10141a", gloss=0.6)],
    "steel": metal("#b9bcc0"),
    "ceramic": plain("#f4f4f2", gloss=0.6),
    "mirror": [swatch("plain", "#c3ccd0", gloss=1.0, metal=True)],
    "bulb": [swatch("plain", "#fff2cf", glow=6.0)],
    "ceiling_lamp": [swatch("plain", "#fff6e4", glow=2.2)],
    "soil": plain("#3a2d22"),
    "leaf": [swatch("leaf", "#2f5d33", "#6f9a4c"), swatch("leaf", "#37663f", "#86a860")],
    "clock": [swatch("clock", "#f4f1ea", "#26241f", "#26241f")],
    "sheet": fabric("#f1efea"),
    "ceiling": plain("#f6f5f2"),
    "countertop": [swatch("marble", "#e9e7e3", "#b9b6b1", gloss=0.5)],
}
"""The same in every style unless the style has its own."""

PALETTES = {
    "modern": MODERN,
    "scandinavian": SCANDINAVIAN,
    "boho": BOHO,
    "industrial": INDUSTRIAL,
    "minimalist": MINIMALIST,
}


class Grade(NamedTuple):
    """How a style is photographed."""

    exposure: float
    """Mean linear level before the tone curve."""
    warmth: float
    """−0.1 bluish … 0.1 amber."""
    saturation: float
    lamps: float
    contrast: float


GRADES = {
    "modern": Grade(0.20, -0.03, 1.05, 1.0, 0.5),
    "scandinavian": Grade(0.34, 0.012, 1.0, 0.9, 0.3),
    "boho": Grade(0.19, 0.03, 1.0, 1.6, 0.4),
    "industrial": Grade(0.115, 0.015, 1.0, 2.2, 0.5),
    "minimalist": Grade(0.44, 0.0, 0.9, 0.4, 0.2),
}
