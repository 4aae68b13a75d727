"""Prompts → token ids, framed and padded the way CLIP was trained.

A prompt has parts (the user's words, the style's), which are joined into one text. When it is longer than the text
encoder reads, every part keeps a share of the tokens, so that no part is lost because another is long.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

LENGTH = 77
ROOM = LENGTH - 2
"""Tokens for words; the other two begin and end the prompt."""

SEPARATOR = ","


@dataclass(frozen=True)
class Cut:
    """A part of a prompt that did not fit."""

    text: str
    """The end that was left out."""
    part: str
    """The whole part."""


class Prompts:
    """Encodes prompts with the release's tokenizer."""

    def __init__(self, tokenizer: Path, frame: tuple[int, int, int]) -> None:
        """``frame``: the ids that begin, end and pad a prompt. Raises ValueError when the file is unusable."""
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"cannot read {tokenizer}: {error}") from error
        self._begin, self._end, self._pad = frame

    def encode(self, *parts: str) -> tuple[NDArray[np.int64], list[Cut]]:
        """Token ids INT64 [77] of the parts, joined by commas, and the cuts of parts that did not fit.

        Parts that do not fit together share ROOM equally; what a short one does not need goes to the others. Then the
        longest comes last, so that the others stand near the beginning, where the network knows them from ordinary
        prompts. Words are kept whole, except in a prompt of one part, which is cut where diffusers cuts it, so that
        pictures can be compared.
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
    """The most tokens up to ``share`` that end with a whole word and no comma; ``share`` where words are very long."""
    if len(encoding) <= share:
        return len(encoding)
    keep = share
    while keep and encoding.word_ids[keep] == encoding.word_ids[keep - 1]:
        keep -= 1
    while keep and encoding.ids[keep - 1] in separator:
        keep -= 1
    return keep if 2 * keep > share else share
