"""Prompts → token ids, framed and padded the way CLIP was trained.

A prompt comes in parts (the user's words, the style's), which are read as one text. When that is longer than the text
encoder reads, every part keeps its share, so that no part is lost because another is long.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

LENGTH = 77
ROOM = LENGTH - 2
"""Tokens that words may take: two are the frame's."""

SEPARATOR = ","


@dataclass(frozen=True)
class Cut:
    """The end of a part that was left out."""

    text: str
    part: str
    """The whole part."""


class Prompts:
    """The release's tokenizer."""

    def __init__(self, tokenizer: Path, frame: tuple[int, int, int]) -> None:
        """``frame``: the ids that begin, end and pad a prompt. Raises ValueError when the file is unusable."""
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"cannot read {tokenizer}: {error}") from error
        self._begin, self._end, self._pad = frame

    def encode(self, *parts: str) -> tuple[NDArray[np.int64], list[Cut]]:
        """Token ids INT64 [77] of the parts, separated by commas, and what did not fit and was left out.

        Parts that do not fit together share the room equally; what a short one leaves is for the others. The longest
        comes last then, and the others stay near the beginning, where a network knows them from ordinary prompts. Words
        are kept whole, except in a prompt of one part, which is cut where diffusers cuts it, so that pictures can be
        compared.
        """
        parts = tuple(part.strip() for part in parts if part.strip())
        whole = self._tokens(f"{SEPARATOR} ".join(parts))
        if len(whole) <= ROOM:
            return self._framed(whole.ids), []
        separator = self._tokens(SEPARATOR).ids
        by_length = sorted(((part, self._tokens(part)) for part in parts), key=lambda pair: len(pair[1]))
        room = ROOM - len(separator) * (len(parts) - 1)
        ids: list[int] = []
        cuts: list[Cut] = []
        for place, (part, encoding) in enumerate(by_length):
            share = min(len(encoding), room // (len(parts) - place))
            room -= share
            keep = share if len(parts) == 1 else _whole_words(encoding, share, separator)
            if keep < len(encoding):
                cuts.append(Cut(part[encoding.offsets[keep][0] :], part))
            ids += [*(separator if ids else []), *encoding.ids[:keep]]
        return self._framed(ids), cuts

    def _tokens(self, text: str) -> Encoding:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _framed(self, words: list[int]) -> NDArray[np.int64]:
        ids = [self._begin, *words, self._end]
        return np.array(ids + [self._pad] * (LENGTH - len(ids)), np.int64)


def _whole_words(encoding: Encoding, share: int, separator: list[int]) -> int:
    """How many tokens, at most ``share``, end with a word and without a comma; ``share`` where words are very long."""
    if len(encoding) <= share:
        return len(encoding)
    keep = share
    while keep and encoding.word_ids[keep] == encoding.word_ids[keep - 1]:
        keep -= 1
    while keep and encoding.ids[keep - 1] in separator:
        keep -= 1
    return keep if 2 * keep > share else share
