"""Whether a release follows what users ask for besides a style: palettes, and another picture for another seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dollhouse.evaluate import likeness
from dollhouse.evaluate.answers import Picture, PictureCache, restyled
from dollhouse.evaluate.held_out import HeldOutRoom
from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.rooms import STYLES, ColourWish
from measuring.service import Service

SEEDS_EACH = 4
VISIBLE = 1.0
"""ΔE by which a picture must come nearer to a palette. Without a margin, a network that nearly ignores palettes
passes."""
TWO = 0.5
"""Share of the palettes that have two colours; the others have one."""


@dataclass(frozen=True)
class WishAnswers:
    """Pictures of one room in one style: one in a requested palette, others without one, with several seeds."""

    palette: tuple[str, ...]
    obeyed: NDArray[np.uint8]
    """[H,W,3], with the first of the seeds."""
    by_seed: tuple[NDArray[np.uint8], ...]


def drawn_palette(seed: int, without: Sequence[str]) -> tuple[str, ...]:
    """One or two names of colours, drawn by ``seed``; none of ``without``."""
    choices = np.random.Generator(np.random.Philox(key=[seed, 72]))
    names = [entry.names[0] for entry in NAMED_COLOURS if entry.names[0] not in without]
    count = 1 + int(choices.random() < TWO)
    return tuple(names[int(number)] for number in choices.choice(len(names), size=count, replace=False))


async def ask(service: Service, room: HeldOutRoom, cache: PictureCache) -> tuple[WishAnswers, WishAnswers]:
    """The release's pictures of a room, and the true renders.

    The requested palette shares no colour with the one that the seed chooses; otherwise following it would change
    nothing.
    """
    style = STYLES[room.seed // len(STYLES) % len(STYLES)]
    seeds = range(room.seed, room.seed + SEEDS_EACH)
    by_seed = [await restyled(service, room, style, cache, seed) for seed in seeds]
    palette = drawn_palette(room.seed, by_seed[0][1])
    obeyed = await restyled(service, room, style, cache, palette=palette)
    truths = room.restyled([(style, ColourWish(colours)) for _, colours in ((None, palette), *by_seed)])
    return _wished(palette, obeyed, by_seed), WishAnswers(palette, truths[0], tuple(truths[1:]))


def _wished(palette: tuple[str, ...], obeyed: Picture, by_seed: Sequence[Picture]) -> WishAnswers:
    return WishAnswers(palette, obeyed[0], tuple(picture for picture, _ in by_seed))


async def ask_all(
    service: Service,
    rooms: Iterator[HeldOutRoom],
    cache: PictureCache,
    report: Callable[[int], None] = lambda done: None,
) -> tuple[list[WishAnswers], list[WishAnswers]]:
    """The answers for every room, as two lists: the release's pictures, and true renders of the same requests.

    ``report(done)`` is called after each room.
    """
    made, true = [], []
    for room in rooms:
        of_room = await ask(service, room, cache)
        made.append(of_room[0])
        true.append(of_room[1])
        report(len(made))
    return made, true


def wish_figures(wished: Sequence[WishAnswers]) -> dict[str, float]:
    """``palette_obeyed``: share of rooms that a requested palette brings nearer to it by VISIBLE or more.
    ``palette_gain``: by how much, in ΔE. ``seeds_differ``: mean difference of the seeds' pictures, of 255.
    """
    gains = [
        likeness.colour_distance(each.by_seed[0], each.palette)
        - likeness.colour_distance(each.obeyed, each.palette)
        for each in wished
    ]
    return {
        "palette_obeyed": float(np.mean([gain >= VISIBLE for gain in gains])),
        "palette_gain": float(np.mean(gains)),
        "seeds_differ": float(np.mean([likeness.variety(each.by_seed) for each in wished])),
    }
