"""A swatch: a pattern in up to three colours."""

from __future__ import annotations

from typing import NamedTuple


class Swatch(NamedTuple):
    """``colours`` are sRGB "#rrggbb"; ``scale`` is the pattern's own length in metres; gloss and glow 0..1 and up."""

    pattern: str
    colours: tuple[str, str, str]
    scale: float = 1.0
    gloss: float = 0.0
    glow: float = 0.0
    metal: bool = False


def swatch(
    pattern: str,
    *colours: str,
    scale: float = 1.0,
    gloss: float = 0.0,
    glow: float = 0.0,
    metal: bool = False,
) -> Swatch:
    """A swatch whose missing colours repeat the last one given."""
    three = (*colours, colours[-1], colours[-1])[:3]
    return Swatch(pattern, (three[0], three[1], three[2]), scale, gloss, glow, metal)


def plain(*colours: str, gloss: float = 0.05) -> list[Swatch]:
    """One plain paint to choose for each colour."""
    return [swatch("plain", colour, gloss=gloss) for colour in colours]


def metal(*colours: str, gloss: float = 0.6) -> list[Swatch]:
    return [swatch("plain", colour, gloss=gloss, metal=True) for colour in colours]


def fabric(*colours: str, scale: float = 0.012) -> list[Swatch]:
    return [swatch("fabric", colour, scale=scale) for colour in colours]
