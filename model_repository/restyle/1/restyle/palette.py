"""Palettes: colours in words, said in the prompt as the captions say them that networks are trained with."""

from collections.abc import Sequence

Palette = tuple[str, ...]

WORDS = "colour palette of"


def choose_palette(seed: int, prompt: Sequence[str], palettes: Sequence[Palette]) -> Palette:
    """The palette for a request that asks for none: number ``seed`` modulo their number, so that all are equally likely
    for seeds that are drawn, and neighbouring seeds differ. () where a release has none.

    () also where ``prompt`` says a palette itself, as that of a worker does which is older than this input.
    """
    if not palettes or any(WORDS in part.lower() for part in prompt):
        return ()
    return palettes[seed % len(palettes)]


def with_palette(prompt: tuple[str, ...], palette: Palette) -> tuple[str, ...]:
    """The parts of a prompt, and before the last one, the style's, the palette as a part of its own."""
    if not palette:
        return prompt
    return *prompt[:-1], f"{WORDS} {', '.join(palette)}", *prompt[-1:]
