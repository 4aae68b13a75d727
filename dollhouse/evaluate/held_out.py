"""Held-out rooms: rendered here by their seeds, so that a benchmark needs nothing but the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dollhouse.data.dataset import SPLITS
from dollhouse.data.pairs import SOURCES
from dollhouse.metrics import Found as Objects
from dollhouse.render.rooms import (
    LABELS,
    NOTHING,
    Found,
    Look,
    Room,
    Seen,
    View,
    Wish,
    look,
    picture,
    restyle,
    sample_rooms,
)

SEEDS = SPLITS["held_out"]
CHOOSING, MEASURED, SHOWN = SEEDS[:1000], SEEDS[1000:2000], SEEDS[2000:]
"""No network learns from any of them. Settings (of networks, sampling, finishing, scores) are chosen on the first ones
only, figures are measured on the second, and the gallery shows the third."""


@dataclass(frozen=True)
class HeldOutRoom:
    """A room that no network has learnt from, with its truths."""

    seed: int
    photo: NDArray[np.uint8]
    """[H,W,3]: the room as it is found."""
    depth: NDArray[np.float32]
    """[H,W], metres along the view axis."""
    edges: NDArray[np.uint8]
    """[H,W], 0 or 255: boundaries of things and creases, never textures."""
    objects: Objects
    room_type: str
    supersample: int = 1

    @property
    def found(self) -> Look:
        """How it is found: the sources of the training in turn, so neighbouring seeds have different ones."""
        return SOURCES[self.seed % len(SOURCES)]

    @property
    def style(self) -> str | None:
        """The one it is found in; None = its things are of several."""
        return self.found.style if isinstance(self.found, Found) else None

    def render(self, style: str) -> NDArray[np.uint8]:
        """UINT8 [H,W,3]: the room restyled, in the style's own colours."""
        (truth,) = self.restyled([(style, NOTHING)])
        return np.asarray(truth)

    def restyled(self, wanted: Sequence[tuple[str, Wish]]) -> NDArray[np.uint8]:
        """UINT8 [N,H,W,3]: what restyling this photo should make of it, for N styles and wishes.

        About 0.2 s at 256² and 0.05 s more for each: the view is traced again, since hundreds of them take gigabytes.
        """
        _, view = _view(self.seed, self.photo.shape[:2], self.supersample)
        return np.concatenate(
            [restyle(view, [self.found], [style], [wish]).numpy() for style, wish in wanted]
        )


def held_out_rooms(
    seeds: Iterable[int], size: int | tuple[int, int], supersample: int = 1
) -> Iterator[HeldOutRoom]:
    """One after the other, about 0.2 s each at 256². ``size`` and ``supersample`` as in ``rooms.look``."""
    for seed in seeds:
        room, view = _view(seed, (size, size) if isinstance(size, int) else size, supersample)
        (photo,) = picture(view, [SOURCES[seed % len(SOURCES)]]).numpy()
        (seen,) = view.objects
        yield HeldOutRoom(
            seed,
            photo,
            view.depth[0].numpy(),
            view.edges[0].numpy(),
            _objects(seen),
            room.room_type,
            supersample,
        )


def _view(seed: int, size: tuple[int, int], supersample: int) -> tuple[Room, View]:
    (room,) = sample_rooms([seed])
    return room, look([room], size, supersample=supersample)


def _objects(seen: tuple[Seen, ...]) -> Objects:
    return Objects(
        np.array([item.box for item in seen], np.float32).reshape(-1, 4),
        np.array([LABELS.index(item.label) for item in seen], np.int64),
        np.ones(len(seen), np.float32),
    )
