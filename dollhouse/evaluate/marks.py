"""Marks that a person gave the pictures in docs/gallery: marks.toml, written by hand.

::

    release = "dollhouse-2"       # whose pictures were looked at
    judgement = "…"               # some sentences for the card

    [rooms.3]                     # the third row of rooms.jpg
    boho = "good"
    modern = "fair: hazy walls"   # a mark, and the reason in a word or two

    [photos.hall]                 # photo-hall.jpg
    boho = "poor: blotches"
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MARKS = ("good", "fair", "poor")
"""good: the room in the style; fair: the same with visible faults; poor: the room or the style is lost."""

KINDS = {"rooms": "rendered rooms", "photos": "real photos"}
"""Tables of the file, and what the card calls them."""

FILE = Path(__file__).parents[2] / "docs" / "gallery" / "marks.toml"


class Mark(NamedTuple):
    """``kind``: one of KINDS; ``row``: a number or a photo's name; ``mark``: one of MARKS."""

    kind: str
    row: str
    style: str
    mark: str
    why: str


@dataclass(frozen=True)
class Marks:
    """Content of the file."""

    release: str
    judgement: str
    marks: tuple[Mark, ...]

    def counts(self, **fields: str) -> list[int]:
        """How many pictures have each of MARKS, among those with the given fields: ``counts(style="boho")``."""
        chosen = [
            each for each in self.marks if all(getattr(each, name) == value for name, value in fields.items())
        ]
        return [sum(each.mark == mark for each in chosen) for mark in MARKS]

    def faults(self) -> list[tuple[str, int]]:
        """Why pictures are not good, the most frequent reason first."""
        return Counter(each.why for each in self.marks if each.why and each.mark != MARKS[0]).most_common()


def read_marks(file: Path = FILE) -> Marks | None:
    """None when there is no file. Raises ValueError for a mark that is not one of MARKS."""
    if not file.is_file():
        return None
    document = tomllib.loads(file.read_text())
    return Marks(
        document["release"], str(document.get("judgement", "")).strip(), tuple(_marks(document, file))
    )


def _marks(document: dict[str, dict[str, dict[str, str]]], file: Path) -> Iterator[Mark]:
    for kind in KINDS:
        for row, styles in document.get(kind, {}).items():
            for style, text in styles.items():
                mark, _, why = text.partition(":")
                if mark not in MARKS:
                    raise ValueError(
                        f"{file.name}: {kind}.{row}.{style} is {text!r}, not one of {', '.join(MARKS)}"
                    )
                yield Mark(kind, row, style, mark, why.strip())
