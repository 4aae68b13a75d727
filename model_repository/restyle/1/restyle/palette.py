"""Palettes: colours in words, put into the prompt in the words of the captions that the networks were trained with."""

from collections.abc import Sequence

import numpy as np

from restyle.colours import colour_of, name_of
from restyle.pictures.grading import main_colours
from restyle.pictures.images import Bytes, Floats

Palette = tuple[str, ...]

WORDS = "colour palette of"

FROM_PICTURE = 4
"""How many of a reference picture's colours are named."""


def choose_palette(seed: int, prompt: Sequence[str], palettes: Sequence[Palette]) -> Palette:
    """The palette for a request that names none: the one at ``seed`` modulo their number. So neighbouring seeds differ.
    () when the release has none.

    () also when ``prompt`` names a palette itself, as prompts of workers do that are older than the input `palette`.
    """
    if not palettes or any(WORDS in part.lower() for part in prompt):
        return ()
    return palettes[seed % len(palettes)]


def with_palette(prompt: tuple[str, ...], palette: Palette) -> tuple[str, ...]:
    """The parts of a prompt with the palette as one more, before the last one, which is the style's."""
    if not palette:
        return prompt
    return *prompt[:-1], f"{WORDS} {', '.join(map(_spoken, palette))}", *prompt[-1:]


def _spoken(word: str) -> str:
    """A colour as text encoders know it: ``#9caf94`` by its nearest name."""
    known = colour_of(word)
    is_name = any(letter in word.lower() for letter in "ghijklmnopqrstuvwxyz")
    return word if is_name or known is None else name_of(np.array(known, np.float32))


def palette_of(reference: Bytes) -> Palette:
    """The names of the main colours of a picture UINT8 [H,W,3], each once."""
    return tuple(dict.fromkeys(name_of(colour) for colour in main_colours(reference, FROM_PICTURE)))


def measured(palette: Palette) -> Floats | None:
    """The colours of a palette that are known, OKLab [N,3]; None where none is."""
    known = [lab for word in palette if (lab := colour_of(word)) is not None]
    return np.array(known, np.float32) if known else None
