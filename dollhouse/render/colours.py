"""Names of colours that users may give, and the sRGB values of the paint and cloth that they stand for."""

from __future__ import annotations

from typing import NamedTuple


class NamedColour(NamedTuple):
    """``names``: the first is the usual one, the others mean the same here."""

    colour: str
    """sRGB "#rrggbb"."""
    names: tuple[str, ...]


NAMED_COLOURS = (
    NamedColour("#f2f0ec", ("white", "ivory", "off-white")),
    NamedColour("#d3bd9b", ("beige", "cream", "sand")),
    NamedColour("#7a5238", ("brown", "chocolate", "walnut")),
    NamedColour("#9a9c9e", ("grey", "gray", "silver")),
    NamedColour("#3c3f43", ("charcoal", "black", "anthracite")),
    NamedColour("#a8433a", ("red", "burgundy", "crimson")),
    NamedColour("#c0704a", ("terracotta", "orange", "rust")),
    NamedColour("#d1a13c", ("mustard", "yellow", "ochre")),
    NamedColour("#9caf94", ("sage green", "sage", "mint")),
    NamedColour("#5f7f56", ("green", "forest green", "olive")),
    NamedColour("#2f7f80", ("teal", "turquoise", "petrol")),
    NamedColour("#7098bd", ("blue", "dusty blue", "light blue")),
    NamedColour("#2f4168", ("navy", "navy blue", "dark blue")),
    NamedColour("#9a86b2", ("purple", "lavender", "lilac")),
    NamedColour("#dcaea5", ("pink", "blush", "rose")),
)

_BY_NAME = {name: entry.colour for entry in NAMED_COLOURS for name in entry.names}


def colour_of(name: str) -> str:
    """ "#rrggbb" of a name. Raises ValueError for one that is not known."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"there is no colour {name!r}; there are {', '.join(_BY_NAME)}") from None


def rgb(colour: str) -> tuple[float, float, float]:
    """ "#rrggbb" as sRGB values 0..1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def linear(colour: str) -> tuple[float, float, float]:
    """ "#rrggbb" in sRGB to linear light, 0..1."""
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb(colour))
    return red, green, blue


def hexadecimal(values: tuple[float, float, float]) -> str:
    """ "#rrggbb" of sRGB values, clipped to 0..1."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, value))):02x}" for value in values)


def mixed(first: str, second: str, share: float) -> str:
    """``share`` (0..1) of the second colour, the rest of the first, in sRGB."""
    return hexadecimal(
        tuple(a + share * (b - a) for a, b in zip(rgb(first), rgb(second), strict=True))  # type: ignore[arg-type]
    )
