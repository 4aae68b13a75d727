"""Prompts → token ids, framed and padded the way CLIP was trained."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

LENGTH = 77


class Prompts:
    """The release's tokenizer."""

    def __init__(self, tokenizer: Path, frame: tuple[int, int, int]) -> None:
        """``frame``: the ids that begin, end and pad a prompt. Raises ValueError when the file is unusable."""
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"cannot read {tokenizer}: {error}") from error
        self._begin, self._end, self._pad = frame

    def encode(self, text: str) -> tuple[NDArray[np.int64], bool]:
        """Token ids INT64 [77], and whether words at the end of ``text`` did not fit and were left out."""
        words = self._tokenizer.encode(text, add_special_tokens=False).ids
        room = LENGTH - 2
        ids = [self._begin, *words[:room], self._end]
        return np.array(ids + [self._pad] * (LENGTH - len(ids)), np.int64), len(words) > room
