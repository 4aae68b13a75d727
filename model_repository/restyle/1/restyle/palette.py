"""Palettes: colours in words, put into the prompt in the words of the captions that the networks were trained with."""

from collections.abc import Sequence

Palette = tuple[str, ...]

WORDS = "colour palette of"


def choose_palette(seed: int, prompt: Sequence[str], palettes: Sequence[Palette]) -> Palette:
    """The palette for a request that names none: the one at ``seed`` modulo their number. So all are equally likely
    for drawn seeds, and neighbouring seeds differ. () when the release has none.

    () also when ``prompt`` names a palette itself, as prompts of workers do that are older than the input `palette`.
    """
    if not palettes or any(WORDS in part.lower() for part in prompt):
        return ()
    return palettes[seed % len(palettes)]


def with_palette(prompt: tuple[str, ...], palette: Palette) -> tuple[str, ...]:
    """The parts of a prompt with the palette as one more, before the last one, which is the style's."""
    if not palette:
        return prompt
    return *prompt[:-1], f"{WORDS} {', '.join(palette)}", *prompt[-1:]
