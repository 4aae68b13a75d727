"""Palettes: colours in words, said in the prompt as the captions say them that networks are trained with."""

import re
from collections.abc import Sequence

Palette = tuple[str, ...]

WORDS = "colour palette of"


def choose_palette(seed: int, prompt: Sequence[str], palettes: Sequence[Palette]) -> Palette:
    """The palette for a request that asks for none: number ``seed`` modulo their number, so that all are equally likely
    for seeds that are drawn, and neighbouring seeds differ. () where a release has none.

    () also where a part of ``prompt`` before the last, which is the style's, names a palette or a colour of one: the
    user's words are not to be contradicted.
    """
    if not palettes or _names_colours(prompt[:-1], palettes):
        return ()
    return palettes[seed % len(palettes)]


def _names_colours(parts: Sequence[str], palettes: Sequence[Palette]) -> bool:
    words = {WORDS, *(colour for palette in palettes for colour in palette)}
    pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in words), re.IGNORECASE)
    return any(pattern.search(part) for part in parts)


def with_palette(prompt: tuple[str, ...], palette: Palette) -> tuple[str, ...]:
    """The parts of a prompt, and before the last one, the style's, the palette as a part of its own."""
    if not palette:
        return prompt
    return *prompt[:-1], f"{WORDS} {', '.join(palette)}", *prompt[-1:]
