"""The targets of restyling: one colour for every slot of a style, changed by the colours that the user asks for.

A target that depends on chance cannot be predicted: two renders of one room in one style with randomly drawn materials
agree at 20 dB only, and a network that learns from them paints their mean, which is fog. So a style always gives a slot
the same colour. Patterns, grain, gloss and light stay those of the photo, in the new colours: they can be seen in it,
and so they come out sharp. Plants, books, pictures, screens and the view outside do not change at all.
"""

from __future__ import annotations

from typing import NamedTuple

from .colours import colour_of, linear, mixed, rgb
from .palettes import Grade, names_of
from .swatches import Swatch

Scheme = dict[str, str]
"""sRGB "#rrggbb" by slot; a slot without an entry takes the colour of its alias."""

KEPT = frozenset(
    (
        *("books", "bulb", "burner", "clock", "dark_glass", "hob", "leaf"),
        *("mirror", "oven_door", "picture", "screen", "soil", "view"),
    )
)
"""Slots that stay as they are in every style."""

COMMON: Scheme = {
    "black": "#232325",
    "ceramic": "#f1f0ed",
    "steel": "#b4b7ba",
    "bulb": "#fff2cf",
    "ceiling_lamp": "#fff4e0",
    "stem": "#6a5237",
}

SCHEMES: dict[str, Scheme] = {
    "modern": {
        "wall": "#c9cdd1",
        "ceiling": "#eff0f0",
        "floor": "#6d5444",
        "kitchen floor": "#8b8f93",
        "bathroom floor": "#8b8f93",
        "trim": "#eceeef",
        "window_frame": "#3a3f45",
        "door": "#dfe2e4",
        "wood": "#4b372c",
        "legs": "#aeb2b6",
        "drawers": "#e6e8e9",
        "sofa": "#56636f",
        "pillow_a": "#d9a53a",
        "pillow_b": "#e2e3e4",
        "chair": "#353b42",
        "bed": "#4d535a",
        "headboard": "#4d535a",
        "sheet": "#ecedee",
        "duvet": "#c2c9cf",
        "throw": "#2b5d6b",
        "rug": "#929ca5",
        "curtain": "#87929c",
        "metal": "#b4b8bc",
        "lampshade": "#f4f1ea",
        "pendant": "#3a3f45",
        "picture_frame": "#1d1f22",
        "pot": "#343a41",
        "vase": "#1f6f8c",
        "countertop": "#cfd1d3",
        "cover": "#c2c9cf",
        "towel": "#2b5d6b",
    },
    "scandinavian": {
        "wall": "#e9e5db",
        "ceiling": "#f2efe8",
        "floor": "#d1ab78",
        "kitchen floor": "#cdb48d",
        "bathroom floor": "#c9c2b2",
        "trim": "#f3f1ea",
        "door": "#ece5d7",
        "wood": "#d8b47f",
        "legs": "#d8b47f",
        "drawers": "#ece6d9",
        "sofa": "#aeb3ad",
        "pillow_a": "#98b09a",
        "pillow_b": "#efe7d8",
        "chair": "#d8b47f",
        "bed": "#d8b47f",
        "headboard": "#d8b47f",
        "sheet": "#f1eee7",
        "duvet": "#e6e0d3",
        "throw": "#b9c2b4",
        "rug": "#dccfb8",
        "curtain": "#ebe4d4",
        "metal": "#3f3d3a",
        "lampshade": "#f7efdd",
        "pendant": "#efe9dd",
        "picture_frame": "#d8b47f",
        "pot": "#e6ddcf",
        "vase": "#a9b8ae",
        "countertop": "#d6b280",
        "fridge": "#ebe8e1",
        "cover": "#dcd5c7",
        "towel": "#b9c2b4",
    },
    "boho": {
        "wall": "#d9bc98",
        "ceiling": "#efe0c6",
        "floor": "#93623f",
        "kitchen floor": "#a06c4b",
        "bathroom floor": "#a06c4b",
        "trim": "#8a5a35",
        "door": "#2f7a7c",
        "wood": "#93592f",
        "drawers": "#b07a3f",
        "sofa": "#a9583f",
        "pillow_a": "#d9a03a",
        "pillow_b": "#efe0c2",
        "chair": "#c48f50",
        "bed": "#b07a46",
        "headboard": "#c99a5c",
        "sheet": "#f0e4cd",
        "duvet": "#e2c79a",
        "throw": "#c4602f",
        "rug": "#9c4b38",
        "curtain": "#d19a64",
        "metal": "#b98c42",
        "lampshade": "#f3cf8e",
        "pendant": "#d9a860",
        "picture_frame": "#8a5a35",
        "pot": "#bd6a43",
        "vase": "#2f8086",
        "countertop": "#8b5531",
        "fridge": "#cdbf9c",
        "cover": "#b2543a",
        "towel": "#c4602f",
    },
    "industrial": {
        "wall": "#8a8681",
        "ceiling": "#716f6b",
        "floor": "#5d473a",
        "kitchen floor": "#6f6a64",
        "bathroom floor": "#6f6a64",
        "trim": "#2b2c2e",
        "reveal": "#82807b",
        "door": "#3b3d40",
        "wood": "#5e3f2a",
        "legs": "#232425",
        "drawers": "#3f4346",
        "sofa": "#7c4624",
        "pillow_a": "#4e5154",
        "pillow_b": "#85725a",
        "chair": "#3a3c3e",
        "bed": "#2b2c2e",
        "headboard": "#5e3f2a",
        "sheet": "#bdbab4",
        "duvet": "#606467",
        "throw": "#7a3f22",
        "rug": "#57534e",
        "curtain": "#4f4d4a",
        "metal": "#2a2b2d",
        "metal_bright": "#a9793f",
        "lampshade": "#ffc67c",
        "pendant": "#1e1f20",
        "ceiling_lamp": "#ffd39a",
        "picture_frame": "#232425",
        "pot": "#5e5c59",
        "vase": "#8c6235",
        "countertop": "#75736f",
        "steel": "#8c8f93",
        "cover": "#606467",
        "towel": "#7a3f22",
    },
    "minimalist": {
        "wall": "#e3e1dd",
        "ceiling": "#efeeeb",
        "floor": "#bdb6ac",
        "trim": "#e0ded9",
        "door": "#d8d5cf",
        "wood": "#cbbba2",
        "legs": "#8f8a82",
        "drawers": "#dad7d1",
        "sofa": "#c3bdb3",
        "pillow_a": "#a8a197",
        "pillow_b": "#e4e1db",
        "chair": "#cfcac1",
        "bed": "#c8c2b8",
        "headboard": "#c8c2b8",
        "sheet": "#eeece8",
        "duvet": "#dedad3",
        "throw": "#b3aca1",
        "rug": "#d3cec5",
        "curtain": "#e2dfda",
        "black": "#3a3a3a",
        "metal": "#74706a",
        "lampshade": "#f8f5ef",
        "pendant": "#dad7d1",
        "picture_frame": "#8f8a82",
        "pot": "#cfcac2",
        "vase": "#aca59b",
        "countertop": "#dedbd6",
        "fridge": "#d6d4d0",
        "cover": "#d8d4cd",
        "towel": "#cfcac1",
    },
}

BRICK = {"industrial": "#93503c"}
"""Walls of brick may stay so where they are a mark of the style; elsewhere they are painted."""

GRADES = {
    "modern": Grade(0.20, -0.012, 1.0, 1.0, 0.5),
    "scandinavian": Grade(0.27, 0.012, 1.0, 0.9, 0.3),
    "boho": Grade(0.20, 0.015, 0.92, 1.3, 0.35),
    "industrial": Grade(0.125, 0.012, 1.0, 1.8, 0.45),
    "minimalist": Grade(0.32, 0.0, 0.9, 0.6, 0.25),
}
"""Brighter, scandinavian and minimalist walls burn out, and with them the room's edges."""

WALL_SHARE = {"modern": 0.6, "scandinavian": 0.5, "boho": 0.65, "industrial": 0.6, "minimalist": 0.45}
"""How much of a palette's first colour is in the walls."""
WISHED_WALL_SHARE = 0.9
"""The same when the user asks for walls of a colour."""

WALLS = frozenset(("wall",))
TEXTILES = frozenset(("sofa", "rug", "curtain", "duvet", "throw", "pillow_a", "cover", "towel"))
FRONTS = frozenset(("drawers", "door"))

PATTERN_CONTRAST = 0.8
"""Exponent on the brightness of a pattern's further colours relative to its first."""
LEAST_RATIO, MOST_RATIO = 0.4, 1.8


class ColourWish(NamedTuple):
    """Colours that the user asks for besides the style, by their names in ``colours.NAMED_COLOURS``."""

    palette: tuple[str, ...] = ()
    """The first colour is for walls, the second (or the only one) for textiles, the third for fronts and doors."""
    walls: str | None = None
    """As in "sage green walls"; takes precedence over the palette."""
    sofa: str | None = None


NO_WISH = ColourWish()


def restyled_swatch(style: str, slot: str, room_type: str, found: Swatch, wish: ColourWish) -> Swatch:
    """``found`` in the style's colours: pattern, scale, gloss, glow and metal stay. Raises ValueError for a wish whose
    colours are not known."""
    names = names_of(slot, room_type)
    if not KEPT.isdisjoint(names):
        return found
    brick = BRICK.get(style) if found.pattern == "brick" else None
    return found._replace(
        colours=_like(found.colours, _wished(style, names, brick or _base(style, names), wish))
    )


def wished_colour(style: str, slot: str, room_type: str, wish: ColourWish) -> str:
    """ "#rrggbb" of a slot that is not kept; raises as above."""
    names = names_of(slot, room_type)
    return _wished(style, names, _base(style, names), wish)


def _base(style: str, names: list[str]) -> str:
    for name in names:
        for scheme in (SCHEMES[style], COMMON):
            if colour := scheme.get(name):
                return colour
    raise KeyError(f"style {style} has no colour for {names[0]!r}")


def _wished(style: str, names: list[str], base: str, wish: ColourWish) -> str:
    if not WALLS.isdisjoint(names):
        if wish.walls:
            return mixed(base, colour_of(wish.walls), WISHED_WALL_SHARE)
        return mixed(base, colour_of(wish.palette[0]), WALL_SHARE[style]) if wish.palette else base
    if wish.sofa and "sofa" in names:
        return colour_of(wish.sofa)
    if wish.palette and not TEXTILES.isdisjoint(names):
        return colour_of(wish.palette[min(1, len(wish.palette) - 1)])
    if len(wish.palette) > 2 and not FRONTS.isdisjoint(names):
        return colour_of(wish.palette[2])
    return base


def _like(found: tuple[str, str, str], base: str) -> tuple[str, str, str]:
    """``base`` first, then colours as much brighter or darker as the found ones are than their first."""
    first = _luminance(found[0])
    ratios = [(_luminance(colour) + 0.02) / (first + 0.02) for colour in found]
    return tuple(
        _scaled(base, min(MOST_RATIO, max(LEAST_RATIO, ratio**PATTERN_CONTRAST))) for ratio in ratios
    )  # type: ignore[return-value]


def _luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _scaled(colour: str, ratio: float) -> str:
    """The colour with ``ratio`` times its linear light, about: beyond white it fades to white instead of clipping."""
    factor = ratio ** (1 / 2.2)
    if factor <= 1.0:
        return mixed("#000000", colour, factor)
    brightest = max(rgb(colour))
    return mixed(colour, "#ffffff", min(1.0, brightest * (factor - 1.0) / max(1e-3, 1.0 - brightest + 0.25)))
