"""Captions of training pictures: the words that the service sends, in its order.

The service puts the user's words first, then "colour palette of …", then the style's prompt. The user's part is drawn
here from a few templates around the room type, or asks for the walls or the sofa that the target has; the palette too
is that of the target. A colour may have any of its names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.looks import STYLES
from dollhouse.render.schemes import ColourWish
from export.bundle import Weights
from export.sources.tokenizer import load_tokenizer

STYLE_FILE = Path(__file__).parents[2] / "orchestrator" / "domain" / "styles.toml"
"""Read as data: the orchestrator is not imported."""

LENGTH = 77

PALETTE_WORDS = "colour palette of"
"""How a caption begins to name a palette; `restyle` puts the same words into prompts."""

_NAMES = {entry.names[0]: entry.names for entry in NAMED_COLOURS}

_ADJECTIVES = ("cosy", "bright", "elegant", "warm", "calm", "simple", "beautiful", "new")
_IDLE = (
    "{room}",
    "a {adjective} {room}",
    "my {room}",
    "make it {adjective}",
    "photo of a {room}",
    "{adjective}",
)
_WALLS = ("{colour} walls", "walls in {colour}", "paint the walls {colour}", "with {colour} walls")
_SOFAS = ("{colour} sofa", "a {colour} sofa", "{colour} couch", "the sofa in {colour}")


@dataclass(frozen=True)
class StyleWords:
    prompt: str
    negative_prompt: str


def load_style_words(path: Path = STYLE_FILE) -> tuple[StyleWords, ...]:
    """Prompts for every name of STYLES, in that order. Raises KeyError for a style that the service does not have."""
    table = tomllib.loads(path.read_text())
    return tuple(StyleWords(table[name]["prompt"], table[name]["negative_prompt"]) for name in STYLES)


def caption(style: str, room_type: str, wish: ColourWish, choices: np.random.Generator) -> str:
    """The prompt of a target: words for the wish (sometimes idle words where there is none), then the style's
    prompt."""
    parts = []
    if wish.walls:
        parts.append(_drawn(_WALLS, choices).format(colour=_named(wish.walls, choices)))
    elif wish.sofa:
        parts.append(_drawn(_SOFAS, choices).format(colour=_named(wish.sofa, choices)))
    elif choices.random() < 0.3:
        parts.append(_drawn(_IDLE, choices).format(room=room_type, adjective=_drawn(_ADJECTIVES, choices)))
    if wish.palette:
        parts.append(f"{PALETTE_WORDS} {', '.join(_named(name, choices) for name in wish.palette)}")
    return ", ".join([*parts, style])


def plain_caption(style: str, wish: ColourWish) -> str:
    """A caption without random choices."""
    walls = [f"{wish.walls} walls"] if wish.walls else []
    sofa = [f"{wish.sofa} sofa"] if wish.sofa else []
    palette = [f"{PALETTE_WORDS} {', '.join(wish.palette)}"] if wish.palette else []
    return ", ".join([*walls, *sofa, *palette, style])


def _drawn(options: Sequence[str], choices: np.random.Generator) -> str:
    return options[int(choices.integers(len(options)))]


def _named(colour: str, choices: np.random.Generator) -> str:
    return _drawn(_NAMES[colour], choices)


def unconditional(words: Sequence[StyleWords], choices: np.random.Generator) -> str:
    """A text for guidance's unconditional half: empty, or the negative prompt of a random style."""
    return "" if choices.random() < 0.5 else words[int(choices.integers(len(words)))].negative_prompt


class Tokens:
    """Texts → token ids INT64 [B,77], framed, cut and padded as in ``restyle``."""

    def __init__(self, source: Weights) -> None:
        self._tokenizer = load_tokenizer(source)

    @property
    def vocabulary(self) -> int:
        return len(self._tokenizer)

    @property
    def framing(self) -> dict[str, int]:
        """Ids of the framing tokens, by the names of CLIPTextConfig."""
        tokenizer = self._tokenizer
        return {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }

    def __call__(self, texts: Sequence[str]) -> Tensor:
        ids = self._tokenizer(list(texts), padding="max_length", truncation=True, max_length=LENGTH)[
            "input_ids"
        ]
        return torch.tensor(ids)
