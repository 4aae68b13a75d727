"""Held-out rooms: rendered here by their seeds, so that a benchmark needs nothing but the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.dollhouse.data import SPLITS
from export.dollhouse.metrics import Found
from export.dollhouse.rooms import LABELS, STYLES, Seen, develop, look, sample_rooms

SEEDS = SPLITS["held_out"]


@dataclass(frozen=True)
class HeldOutRoom:
    """A room that no network has learnt from, with its truths."""

    seed: int
    renders: NDArray[np.uint8]
    """[5,H,W,3]: the room in each of STYLES."""
    depth: NDArray[np.float32]
    """[H,W], metres along the view axis."""
    edges: NDArray[np.uint8]
    """[H,W], 0 or 255: boundaries of things and creases, never textures."""
    objects: Found
    room_type: str

    @property
    def style(self) -> str:
        """The one it is photographed in; neighbouring seeds have different ones."""
        return STYLES[self.seed % len(STYLES)]

    @property
    def photo(self) -> NDArray[np.uint8]:
        """UINT8 [H,W,3]."""
        return self.render(self.style)

    def render(self, style: str) -> NDArray[np.uint8]:
        """UINT8 [H,W,3]: how the room really looks in a style."""
        render: NDArray[np.uint8] = self.renders[STYLES.index(style)]
        return render


def held_out_rooms(
    seeds: Iterable[int], size: int | tuple[int, int], supersample: int = 1
) -> Iterator[HeldOutRoom]:
    """One after the other, about 0.2 s each at 256². ``size`` and ``supersample`` as in ``rooms.look``."""
    for seed in seeds:
        (room,) = sample_rooms([seed])
        view = look([room], size, supersample=supersample)
        renders = np.concatenate([develop(view, [style]).numpy() for style in STYLES])
        (seen,) = view.objects
        yield HeldOutRoom(
            seed, renders, view.depth[0].numpy(), view.edges[0].numpy(), _objects(seen), room.room_type
        )


def _objects(seen: tuple[Seen, ...]) -> Found:
    return Found(
        np.array([item.box for item in seen], np.float32).reshape(-1, 4),
        np.array([LABELS.index(item.label) for item in seen], np.int64),
        np.ones(len(seen), np.float32),
    )
