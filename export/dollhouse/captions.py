"""What a picture is called in training: the words that the service will send, in its order.

The service puts the user's words first, then "colour palette of …", then the style's prompt. The user's part is drawn
here from a few templates around the room type; the palette names colours that the picture really has.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.bundle import Weights
from export.tokenizer import load_tokenizer

from .looks import STYLES

STYLE_FILE = Path(__file__).parents[2] / "orchestrator" / "styles.toml"
"""Read as data: the island itself is not imported."""

LENGTH = 77

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (235, 234, 232),
    "cream": (232, 218, 190),
    "beige": (196, 172, 138),
    "brown": (116, 76, 48),
    "grey": (132, 132, 132),
    "black": (28, 28, 30),
    "red": (170, 48, 40),
    "orange": (206, 116, 52),
    "yellow": (214, 176, 70),
    "green": (92, 126, 78),
    "teal": (44, 124, 122),
    "blue": (84, 120, 170),
    "navy": (38, 50, 86),
    "purple": (120, 84, 132),
    "pink": (212, 156, 156),
}
"""Names that users give, and the sRGB in the middle of what they mean."""

_NAMES = tuple(COLOURS)

_ADJECTIVES = ("cosy", "bright", "elegant", "warm", "calm", "simple", "beautiful", "new")
_TEMPLATES = (
    "{room}",
    "a {adjective} {room}",
    "my {room}",
    "make it {adjective}",
    "photo of a {room}",
    "{adjective}",
)


@dataclass(frozen=True)
class StyleWords:
    prompt: str
    negative_prompt: str


def load_style_words(path: Path = STYLE_FILE) -> tuple[StyleWords, ...]:
    """Of every name of STYLES, in that order. Raises KeyError for a style that the service does not have."""
    table = tomllib.loads(path.read_text())
    return tuple(StyleWords(table[name]["prompt"], table[name]["negative_prompt"]) for name in STYLES)


def main_colours(picture: NDArray[np.uint8], count: int = 3) -> NDArray[np.uint8]:
    """Numbers into COLOURS of the ``count`` names that cover most of UINT8 [H,W,3], most first; in CIELAB."""
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB).reshape(-1, 1, 3)
    known = np.array([list(COLOURS.values())], np.float32) / 255.0
    nearest = np.square(lab - cv2.cvtColor(known, cv2.COLOR_RGB2LAB)).sum(-1).argmin(1)
    return np.argsort(-np.bincount(nearest, minlength=len(_NAMES)), kind="stable")[:count].astype(np.uint8)


def caption(style: str, room_type: str, colours: NDArray[np.uint8], choices: np.random.Generator) -> str:
    """The prompt of a picture: the style's words alone half of the time, else with words before them."""
    parts = []
    if choices.random() < 0.5:
        template = _TEMPLATES[choices.integers(len(_TEMPLATES))]
        adjective = _ADJECTIVES[choices.integers(len(_ADJECTIVES))]
        parts.append(template.format(room=room_type, adjective=adjective))
    if choices.random() < 0.3:
        named = colours[: choices.integers(1, len(colours) + 1)]
        parts.append(f"colour palette of {', '.join(_NAMES[number] for number in named)}")
    return ", ".join([*parts, style])


def unconditional(words: Sequence[StyleWords], choices: np.random.Generator) -> str:
    """What stands where guidance wants "anything": nothing, or what *some* style does not want."""
    return "" if choices.random() < 0.5 else words[int(choices.integers(len(words)))].negative_prompt


class Tokens:
    """Texts → INT64 [B,77], framed, cut and padded as ``restyle`` does it."""

    def __init__(self, source: Weights) -> None:
        self._tokenizer = load_tokenizer(source)

    @property
    def vocabulary(self) -> int:
        return len(self._tokenizer)

    @property
    def framing(self) -> dict[str, int]:
        """As CLIPTextConfig names the ids."""
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
