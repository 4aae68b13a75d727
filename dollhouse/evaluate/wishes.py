"""Whether a release does what users wish for besides a style: their colours, and something else for another seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dollhouse.evaluate import likeness
from dollhouse.evaluate.answers import Kept, Picture, restyled
from dollhouse.evaluate.held_out import HeldOutRoom
from dollhouse.render.colours import NAMED_COLOURS
from dollhouse.render.rooms import STYLES, Wish
from measuring.service import Service

SEEDS_EACH = 4
VISIBLE = 1.0
"""ΔE by which a picture must come nearer to a palette: without a margin, a network that is all but deaf obeys too."""
TWO = 0.5
"""Share of the palettes that have two colours; the others have one."""


@dataclass(frozen=True)
class Wished:
    """One room in one style: in a palette that was asked for, and with several seeds and no palette."""

    palette: tuple[str, ...]
    obeyed: NDArray[np.uint8]
    """[H,W,3], with the first of the seeds."""
    by_seed: tuple[NDArray[np.uint8], ...]


def drawn_palette(seed: int, without: Sequence[str]) -> tuple[str, ...]:
    """One or two names of colours, the same for every run; none of ``without``."""
    choices = np.random.Generator(np.random.Philox(key=[seed, 72]))
    names = [entry.names[0] for entry in NAMED_COLOURS if entry.names[0] not in without]
    count = 1 + int(choices.random() < TWO)
    return tuple(names[int(number)] for number in choices.choice(len(names), size=count, replace=False))


async def ask(service: Service, room: HeldOutRoom, kept: Kept) -> tuple[Wished, Wished]:
    """What the release makes of a room, and what is true.

    A palette that is asked for has no colour of the one that the seed gives: otherwise there is nothing to obey.
    """
    style = STYLES[room.seed // len(STYLES) % len(STYLES)]
    seeds = range(room.seed, room.seed + SEEDS_EACH)
    by_seed = [await restyled(service, room, style, kept, seed) for seed in seeds]
    palette = drawn_palette(room.seed, by_seed[0][1])
    obeyed = await restyled(service, room, style, kept, palette=palette)
    truths = room.restyled([(style, Wish(colours)) for _, colours in ((None, palette), *by_seed)])
    return _wished(palette, obeyed, by_seed), Wished(palette, truths[0], tuple(truths[1:]))


def _wished(palette: tuple[str, ...], obeyed: Picture, by_seed: Sequence[Picture]) -> Wished:
    return Wished(palette, obeyed[0], tuple(picture for picture, _ in by_seed))


async def ask_all(
    service: Service,
    rooms: Iterator[HeldOutRoom],
    kept: Kept,
    report: Callable[[int], None] = lambda done: None,
) -> tuple[list[Wished], list[Wished]]:
    """:func:`ask` of every room: what was made, and the truth. ``report(done)`` counts rooms."""
    made, true = [], []
    for room in rooms:
        of_room = await ask(service, room, kept)
        made.append(of_room[0])
        true.append(of_room[1])
        report(len(made))
    return made, true


def wish_figures(wished: Sequence[Wished]) -> dict[str, float]:
    """``palette_obeyed``: share of rooms that are nearer by VISIBLE to the palette asked for than without asking.
    ``palette_gain``: by how much, in ΔE. ``seeds_differ``: how much the seeds' pictures differ, of 255.
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
