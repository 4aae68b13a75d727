"""Words for colours → OKLab, and back: what a palette means where a picture is measured by it.

A word is a name of the table, ``#rrggbb``, or such a one after words that change it: ``light dusty sage``.
"""

import re
from functools import cache

import numpy as np

from restyle.pictures.images import Floats
from restyle.pictures.oklab import to_oklab

NAMED: dict[str, str] = {
    "white": "f2f0ec", "ivory": "f2efe2", "off-white": "f1ede4", "snow": "fafafa", "chalk": "f0eee8",
    "cream": "efe3cb", "eggshell": "eee6d5", "linen": "e9dfcf", "pearl": "e8e4da", "alabaster": "edeae0",
    "beige": "d3bd9b", "sand": "d6c3a0", "taupe": "8d7f71", "greige": "b5aa9c", "stone": "b3aca1",
    "oatmeal": "d9ccb6", "biscuit": "d8bf97", "champagne": "ecd9b4", "tan": "c19a6b", "camel": "b98a56",
    "khaki": "a59a6d", "caramel": "a9682e", "honey": "d39a3b", "cognac": "8e4a26", "bronze": "86663c",
    "brown": "7a5238", "chocolate": "4d3024", "coffee": "5b4030", "espresso": "3a2820", "mocha": "7d6051",
    "walnut": "5f4331", "oak": "b98f61", "pine": "d3ac77", "teak": "9a6b42", "mahogany": "5b2c23",
    "birch": "e0c9a0", "maple": "d9b483", "cherry": "8a3f2b", "wood": "a67c52", "rattan": "c39b66",
    "grey": "9a9c9e", "gray": "9a9c9e", "silver": "b9bcc0", "ash": "b4b2ac", "slate": "66727d",
    "concrete": "a4a29d", "steel": "7e878e", "pewter": "8a8d8f", "graphite": "4a4d51", "smoke": "8b8c8d",
    "charcoal": "3c3f43", "anthracite": "383d42", "black": "1f1f21", "onyx": "26262a", "ebony": "2d2926",
    "red": "a8433a", "crimson": "a3243b", "scarlet": "c5302b", "burgundy": "6d2231", "wine": "672c39",
    "maroon": "6a2b2a", "ruby": "9b1b3e", "brick": "9c4a3a", "rust": "a34e2a", "copper": "b06a43",
    "terracotta": "c0704a", "clay": "b1735a", "orange": "d57a35", "tangerine": "e2853a", "apricot": "ebb184",
    "peach": "efc0a2", "coral": "e27d67", "salmon": "e3937f", "amber": "d5962c", "mustard": "d1a13c",
    "ochre": "c18a32", "gold": "c9a24b", "brass": "b5975a", "yellow": "e3c14a", "lemon": "ecdc6d",
    "butter": "f0e0a4", "saffron": "e0a52b", "lime": "a9c23f", "olive": "75763f", "moss": "757b4b",
    "sage": "9caf94", "sage green": "9caf94", "green": "5f7f56", "forest green": "33563c", "forest": "33563c",
    "emerald": "1f7a56", "jade": "4c9a78", "mint": "b5d8c1", "mint green": "b5d8c1", "eucalyptus": "8fa69a",
    "hunter green": "35563f", "bottle green": "1f4a3a", "olive green": "75763f", "teal": "2f7f80",
    "turquoise": "4bb3ac", "petrol": "20606b", "aqua": "7fc7c4", "cyan": "53b8c9", "blue": "4a78a8",
    "sky blue": "9cc3de", "sky": "9cc3de", "light blue": "a9c6dd", "dusty blue": "7f9ab5", "powder blue": "b6cddb",
    "baby blue": "b5d3e8", "duck egg": "c3d7d3", "denim": "4b6587", "cobalt": "2b52a0", "royal blue": "35549f",
    "sapphire": "24467c", "navy": "2f4168", "navy blue": "2f4168", "dark blue": "2f4168", "midnight": "232b45",
    "indigo": "43407c", "purple": "75579a", "violet": "7c5ba6", "lavender": "b7a9d0", "lilac": "bfa6cb",
    "mauve": "a98597", "plum": "673c5c", "aubergine": "45293f", "eggplant": "45293f", "magenta": "b13a7e",
    "fuchsia": "c33c86", "pink": "dcaea5", "blush": "e6c7bd", "rose": "cf9a94", "dusty rose": "c49c95",
    "dusty pink": "d2aaa3", "hot pink": "d64f8c", "raspberry": "a52d55",
}  # fmt: skip
"""sRGB "rrggbb" of paint, cloth and wood that are sold under the name, not of light: "red" is no #ff0000."""

_CHANGES: dict[str, tuple[float, float, float]] = {
    "light": (0.10, 0.85, 0.0), "lighter": (0.10, 0.85, 0.0), "pale": (0.13, 0.6, 0.0), "pastel": (0.15, 0.65, 0.0),
    "soft": (0.05, 0.75, 0.0), "dark": (-0.16, 0.95, 0.0), "darker": (-0.16, 0.95, 0.0), "deep": (-0.12, 1.1, 0.0),
    "rich": (-0.06, 1.2, 0.0), "muted": (0.0, 0.6, 0.0), "dusty": (0.02, 0.6, 0.0), "faded": (0.06, 0.55, 0.0),
    "bright": (0.06, 1.3, 0.0), "vivid": (0.02, 1.4, 0.0), "bold": (-0.02, 1.3, 0.0), "warm": (0.0, 1.0, 0.012),
    "cool": (0.0, 1.0, -0.012), "natural": (0.0, 1.0, 0.0), "medium": (0.0, 1.0, 0.0), "matte": (0.0, 0.95, 0.0),
    "burnt": (-0.08, 1.05, 0.0),
}  # fmt: skip
"""Word → what is added to the lightness, the factor of the chroma, and what is added to b, which is warmth."""

_HEX = re.compile(r"#?([0-9a-f]{6})|#([0-9a-f]{3})")
_SUFFIXES = ("wood", "tones", "tone", "colour", "color", "coloured", "colored")


@cache
def colour_of(word: str) -> tuple[float, float, float] | None:
    """OKLab of a word; None for one that is not known."""
    text = " ".join(word.lower().replace("-", " ").split())
    text = text.replace("off white", "off-white")
    if found := _HEX.fullmatch(text):
        digits = found[1] or "".join(2 * digit for digit in found[2])
        return _lab(digits)
    if text in NAMED:
        return _lab(NAMED[text])
    first, _, rest = text.partition(" ")
    if rest and first in _CHANGES and (base := colour_of(rest)) is not None:
        return _changed(base, *_CHANGES[first])
    rest, _, last = text.rpartition(" ")
    return colour_of(rest) if rest and last in _SUFFIXES else None


def name_of(lab: Floats) -> str:
    """The name of the table that is nearest to a colour, OKLab [3]."""
    names, table = _table()
    return names[int(np.square(table - lab).sum(-1).argmin())]


@cache
def _table() -> tuple[tuple[str, ...], Floats]:
    return tuple(NAMED), np.array([_lab(digits) for digits in NAMED.values()], np.float32)


def _lab(digits: str) -> tuple[float, float, float]:
    lightness, a, b = map(float, to_oklab(np.array(list(bytes.fromhex(digits)), np.float32)))
    return lightness, a, b


def _changed(
    lab: tuple[float, float, float], lighter: float, chroma: float, warmer: float
) -> tuple[float, float, float]:
    lightness, a, b = lab
    return min(0.98, max(0.1, lightness + lighter)), a * chroma, b * chroma + warmer
