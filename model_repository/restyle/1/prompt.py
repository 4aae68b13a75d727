"""Prompts → token ids, framed and padded the way CLIP was trained."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

LENGTH = 77


class Prompts:
    """The release's tokenizer."""

    def __init__(self, folder: Path, tokens: dict[str, int]) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._begin, self._end, self._pad = tokens["begin"], tokens["end"], tokens["pad"]

    def encode(self, text: str) -> tuple[NDArray[np.int64], bool]:
        """Token ids INT64 [77], and whether words at the end of ``text`` did not fit and were left out."""
        words = self._tokenizer.encode(text, add_special_tokens=False).ids
        room = LENGTH - 2
        ids = [self._begin, *words[:room], self._end]
        return np.array(ids + [self._pad] * (LENGTH - len(ids)), np.int64), len(words) > room
