"""Does the quality score agree with the eye? Faults that a person sees, planted in faithful restyles.

    python -m dollhouse.evaluate.planted                        # 200 held-out rooms
    python -m dollhouse.evaluate.planted --split train          # rooms on which the score's numbers may be chosen

The photo is a room's render, the faithful restyle its true render in another style, as soft as a network leaves it.
Each fault is planted in the restyle in two strengths, mild and strong, and the models of a real Triton perceive every
picture. A figure ``score_<fault>`` is the share of rooms in which both strengths score below the faithful restyle.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dollhouse.data.dataset import SPLITS
from dollhouse.evaluate.figures import Figures, score
from dollhouse.evaluate.held_out import MEASURED, HeldOutRoom, held_out_rooms
from dollhouse.evaluate.perceived import perceive
from dollhouse.render.rooms import STYLES
from measuring.releases import find_release
from measuring.service import Service
from measuring.serving import asked

Picture = NDArray[np.uint8]
"""[H,W,3]. Lengths below are in pixels of a picture 256 wide, and grow with it."""

SOFT = 0.7
"""σ of the blur that makes a render as soft as the dollhouse's autoencoder does."""

FIRST = 900_000
"""Rooms of the train split from this seed on: no network has learnt from them."""


@dataclass(frozen=True)
class Restyle:
    """A faithful restyle, and what its faults are made of."""

    picture: Picture
    photo: Picture
    other: Picture
    """Another room, restyled in the same style."""
    choices: np.random.Generator


def blotches(made: Restyle, rms: float) -> Picture:
    """Smooth stains of a tenth of the side and less, twice as strong in light as in colour; ``rms`` of 255."""
    height, width = made.picture.shape[:2]
    stains = np.zeros(made.picture.shape, np.float32)
    for cells in (14, 28):
        coarse = made.choices.standard_normal((cells, cells, 3), np.float32)
        stains += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    stains += stains.mean(-1, keepdims=True)
    return _bytes(made.picture + stains * rms / stains.std())


def blur(made: Restyle, sigma: float) -> Picture:
    return _blurred(made.picture, sigma)


def haze(made: Restyle, share: float) -> Picture:
    """A veil, white or one of two greys, that hides a share of every pixel."""
    return _bytes((1.0 - share) * made.picture + share * made.choices.choice((250.0, 200.0, 150.0)))


def noise(made: Restyle, sigma: float) -> Picture:
    """Noise of its own in every pixel and channel; ``sigma`` of 255."""
    return _bytes(made.picture + sigma * made.choices.standard_normal(made.picture.shape, np.float32))


def wrong_room(made: Restyle, zoom: float | None) -> Picture:
    """The room from nearer by, so that nothing is where it was; None = another room."""
    if zoom is None:
        return made.other
    height, width = made.picture.shape[:2]
    middle = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.0, zoom)
    return np.asarray(cv2.warpAffine(made.picture, middle, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def nothing_done(made: Restyle, share: float) -> Picture:
    """The photo with a share (0..1) of the restyle blended in."""
    return _bytes((1.0 - share) * _blurred(made.photo, SOFT) + share * made.picture)


def burnt_out(made: Restyle, share: float) -> Picture:
    """Exposed until a share of the picture is white."""
    return _bytes(made.picture * (255.0 / max(1.0, np.quantile(_grey(made.picture), 1.0 - share))))


def crushed(made: Restyle, share: float) -> Picture:
    """Darkened until a share of the picture is black."""
    return _bytes(made.picture - np.quantile(_grey(made.picture), share).astype(np.float32))


FAULTS: Mapping[str, tuple[Callable[[Restyle], Picture], Callable[[Restyle], Picture]]] = {
    "blotches": (lambda made: blotches(made, 6.0), lambda made: blotches(made, 12.0)),
    "blur": (lambda made: blur(made, 1.3), lambda made: blur(made, 2.5)),
    "haze": (lambda made: haze(made, 0.25), lambda made: haze(made, 0.5)),
    "noise": (lambda made: noise(made, 8.0), lambda made: noise(made, 16.0)),
    "wrong_room": (lambda made: wrong_room(made, 1.15), lambda made: wrong_room(made, None)),
    "nothing_done": (lambda made: nothing_done(made, 0.1), lambda made: nothing_done(made, 0.0)),
    "burnt_out": (lambda made: burnt_out(made, 0.15), lambda made: burnt_out(made, 0.4)),
    "crushed": (lambda made: crushed(made, 0.15), lambda made: crushed(made, 0.4)),
}
"""By name: mild (visible when looked for) and strong (impossible to overlook)."""


def restyle_of(room: HeldOutRoom, other: HeldOutRoom) -> tuple[str, Restyle]:
    """A style other than the photo's (evenly spread over the seeds), and the room restyled in it."""
    styles = [style for style in STYLES if style != room.style]
    style = styles[room.seed // len(STYLES) % len(styles)]
    soft = [_blurred(each.render(style), SOFT) for each in (room, other)]
    return style, Restyle(soft[0], room.photo, soft[1], np.random.default_rng(room.seed))


def _blurred(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma * picture.shape[1] / 256.0), np.uint8)


def _grey(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _bytes(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)


@dataclass(frozen=True)
class Scores:
    """Quality scores of one room, each 0..1."""

    style: str
    """The style of the faithful restyle."""
    faithful: float
    faulty: Mapping[str, tuple[float, float]]
    """By FAULTS: mild, strong."""


async def score_room(service: Service, room: HeldOutRoom, other: HeldOutRoom) -> Scores:
    """`restyle`'s score of the restyled room without a fault and with each fault."""
    style, made = restyle_of(room, other)
    photo = await perceive(service, room.photo)

    async def scored(picture: Picture) -> float:
        return score(photo, await perceive(service, picture))

    faulty = {
        name: (await scored(mild(made)), await scored(strong(made)))
        for name, (mild, strong) in FAULTS.items()
    }
    return Scores(style, await scored(made.picture), faulty)


async def score_rooms(
    service: Service,
    rooms: Iterable[HeldOutRoom],
    jobs: int = 2,
    report: Callable[[int], None] = lambda done: None,
) -> list[Scores]:
    """:func:`score_room` of every room, the next one being the other and the last one's the first; ``jobs`` at a time.

    ``report(done)`` counts rooms.
    """
    found: list[Scores] = []
    pairs = _with_next(rooms)

    async def work() -> None:
        for room, other in pairs:
            found.append(await score_room(service, room, other))
            report(len(found))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(jobs):
            tasks.create_task(work())
    return found


def _with_next(rooms: Iterable[HeldOutRoom]) -> Iterator[tuple[HeldOutRoom, HeldOutRoom]]:
    """Every room and the one after it, the first after the last."""
    rest = iter(rooms)
    first = next(rest)
    yield from pairwise(chain([first], rest, [first]))


def score_figures(scores: Sequence[Scores]) -> Figures:
    """``score_<fault>``: the share of rooms in which both strengths of the fault score below the faithful restyle;
    ``score_order``: how often the strong fault scores below the mild one, of all rooms and faults."""
    found = {
        f"score_{name}": _share(max(each.faulty[name]) < each.faithful for each in scores) for name in FAULTS
    }
    orders = (strong < mild for each in scores for mild, strong in each.faulty.values())
    return {**found, "score_order": _share(orders)}


def _share(outcomes: Iterable[bool]) -> float:
    return float(np.mean(list(outcomes)))


def table(scores: Sequence[Scores]) -> Table:
    """Scores (percentiles) and the figures that follow from them."""
    made = Table("picture", "5 %", "median", "95 %", "below the faithful", box=None)
    figures = score_figures(scores)

    def add(name: str, values: Sequence[float], figure: str = "") -> None:
        made.add_row(name, *(f"{value:.3f}" for value in np.percentile(values, (5, 50, 95))), figure)

    add("faithful", [each.faithful for each in scores])
    for style in STYLES:
        if of_style := [each.faithful for each in scores if each.style == style]:
            add(f"  {style}", of_style)
    for name in FAULTS:
        for number, strength in enumerate(("mild", "strong")):
            figure = f"{figures[f'score_{name}']:.3f}" if number == 0 else ""
            add(f"{name}, {strength}", [each.faulty[name][number] for each in scores], figure)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.planted",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", default="dollhouse", help="a folder under releases/ (dollhouse)")
    parser.add_argument("--rooms", type=int, default=200, help="how many (200)")
    parser.add_argument("--split", choices=("train", "held_out"), default="held_out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    release = find_release(given.bundle)
    seeds = SPLITS["train"][FIRST:] if given.split == "train" else MEASURED
    rooms = held_out_rooms(seeds[: given.rooms], release.side)

    scores = asked(release, lambda service: score_rooms(service, rooms))
    console = Console()
    console.print(table(scores))
    console.print(f"a strong fault below the mild one: {score_figures(scores)['score_order']:.3f}")


if __name__ == "__main__":
    main()
