"""Held-out rooms: rendered here by their seeds, so that a benchmark needs nothing but the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dollhouse.data.dataset import SPLITS
from dollhouse.data.pairs import SOURCES
from dollhouse.metrics import Detections
from dollhouse.render.rooms import (
    LABELS,
    NO_WISH,
    ColourWish,
    Look,
    Room,
    Styled,
    View,
    VisibleObject,
    picture,
    restyle,
    sample_rooms,
    trace_view,
)

SEEDS = SPLITS["held_out"]
CHOOSING, MEASURED, SHOWN = SEEDS[:1000], SEEDS[1000:2000], SEEDS[2000:]
"""Seeds by purpose. No network learns from any of them. Settings (of networks, sampling, finishing, scores) are chosen
on CHOOSING only, figures are measured on MEASURED, and the gallery shows rooms of SHOWN."""


@dataclass(frozen=True)
class HeldOutRoom:
    """A room that no network has learnt from: its photo and its truths."""

    seed: int
    photo: NDArray[np.uint8]
    """[H,W,3]: the room as it is found."""
    depth: NDArray[np.float32]
    """[H,W], metres along the view axis."""
    edges: NDArray[np.uint8]
    """[H,W], 0 or 255: boundaries of things and creases, never textures."""
    objects: Detections
    room_type: str
    supersample: int = 1

    @property
    def found(self) -> Look:
        """Its look in the photo: SOURCES in turn, so neighbouring seeds have different ones."""
        return SOURCES[self.seed % len(SOURCES)]

    @property
    def style(self) -> str | None:
        """The style of the photo; None = a mixture of styles."""
        return self.found.style if isinstance(self.found, Styled) else None

    def render(self, style: str) -> NDArray[np.uint8]:
        """UINT8 [H,W,3]: the room restyled, in the style's own colours."""
        (truth,) = self.restyled([(style, NO_WISH)])
        return np.asarray(truth)

    def restyled(self, wanted: Sequence[tuple[str, ColourWish]]) -> NDArray[np.uint8]:
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
    """Render the rooms of ``seeds`` one at a time, each when it is asked for (about 0.2 s at 256²).

    ``size`` is the side or (height, width); ``supersample`` 1, 2 or 4, whose square is the number of rays per pixel.
    """
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
    return room, trace_view([room], size, supersample=supersample)


def _objects(seen: tuple[VisibleObject, ...]) -> Detections:
    return Detections(
        np.array([item.box for item in seen], np.float32).reshape(-1, 4),
        np.array([LABELS.index(item.label) for item in seen], np.int64),
        np.ones(len(seen), np.float32),
    )
