"""From answers to the dollhouse's figures of merit, under the names of issue and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from quality import measure_quality

from benchmarks.answers import Answers
from benchmarks.service import Seen
from export.dollhouse import hints, metrics
from export.dollhouse.rooms import STYLES

NameStyles = Callable[[NDArray[np.uint8]], list[str]]
"""The judge: pictures UINT8 [B,H,W,3] → the style of each."""

Figures = dict[str, float]

COMMON = 20
"""A label counts for detector_map50 when there is one true object of it per so many rooms, as in ten of 200."""


def seeing_figures(answers: Sequence[Answers]) -> Figures:
    """How well a release sees photos: of every room, in the style that it is photographed in."""
    rooms = [each.room for each in answers]
    types = [each.room_type == each.room.room_type for each in answers]
    return {
        "depth_absrel": _mean([metrics.depth_absrel(each.photo.depth, each.room.depth) for each in answers]),
        "detector_map50": metrics.detector_map50(
            [each.photo.objects for each in answers],
            [room.objects for room in rooms],
            least=max(1, len(rooms) // COMMON),
        ),
        "room_type_accuracy": _mean(types),
    }


def restyling_figures(answers: Sequence[Answers], judge: NameStyles) -> Figures:
    """How well it restyles: the mean over every result."""
    figures = [style_figures(answers, style, judge) for style in STYLES]
    return {name: _mean([each[name] for each in figures]) for name in figures[0]}


def style_figures(answers: Sequence[Answers], style: str, judge: NameStyles) -> Figures:
    """Of the results in one style.

    ``edge_f1`` forgives 2 pixels of 256 and finds edges as metrics.edge_f1 says; ``edge_f1_strict`` forgives one and
    finds them as the service's ``edges`` model does.
    """
    results = [each.results[style] for each in answers]
    rooms = [each.room for each in answers]
    named = judge(np.stack([seen.picture for seen in results]))
    pairs = list(zip(results, rooms, strict=True))
    return {
        "style_accuracy": metrics.style_accuracy(named, [style] * len(named)),
        "depth_rank": _mean([metrics.depth_rank(seen.depth, room.depth) for seen, room in pairs]),
        "edge_f1": _mean([metrics.edge_f1(seen.picture, room.edges) for seen, room in pairs]),
        "edge_f1_strict": _mean([hints.edge_f1(seen.edges, room.edges) for seen, room in pairs]),
        "quality_ranking": _mean([ranks(*triple) for triple in triples(answers, style)]),
    }


def changed_style_accuracy(answers: Sequence[Answers], judge: NameStyles) -> float:
    """Share of right styles among the results that ask for another style than the photo has."""
    asked = [
        (seen.picture, style)
        for each in answers
        for style, seen in each.results.items()
        if style != each.room.style
    ]
    return metrics.style_accuracy(
        judge(np.stack([picture for picture, _ in asked])), [style for _, style in asked]
    )


def render_figures(answers: Sequence[Answers], judge: NameStyles) -> Figures:
    """The same of the renders themselves: what a perfect restyling would get.

    Style and edges from the room in every style, depth from the photo.
    """
    rooms = [each.room for each in answers]
    named = [metrics.style_accuracy(judge(room.renders), STYLES) for room in rooms]
    renders = [(picture, room.edges) for room in rooms for picture in room.renders]
    return {
        "style_accuracy": _mean(named),
        "depth_rank": _mean([metrics.depth_rank(each.photo.depth, each.room.depth) for each in answers]),
        "edge_f1": _mean([metrics.edge_f1(*each) for each in renders]),
        "edge_f1_strict": _mean([hints.edge_f1(hints.canny(picture), edges) for picture, edges in renders]),
    }


def another_room_figures(answers: Sequence[Answers]) -> Figures:
    """What results get when they are compared with the truth of another room: no better than chance."""
    pairs = [
        (other.results[style], each.room) for each, other in _with_next(answers) for style in each.results
    ]
    return {
        "depth_rank": _mean([metrics.depth_rank(seen.depth, room.depth) for seen, room in pairs]),
        "edge_f1": _mean([metrics.edge_f1(seen.picture, room.edges) for seen, room in pairs]),
        "edge_f1_strict": _mean([hints.edge_f1(seen.edges, room.edges) for seen, room in pairs]),
    }


def triples(answers: Sequence[Answers], style: str) -> list[tuple[Seen, Seen, Seen, Seen]]:
    """Of every room: its photo, its result in ``style``, the next room's result, and noise."""
    return [
        (each.photo, each.results[style], other.results[style], each.noise)
        for each, other in _with_next(answers)
    ]


def _with_next(answers: Sequence[Answers]) -> list[tuple[Answers, Answers]]:
    """Every room and the one after it, the first after the last."""
    return list(zip(answers, [*answers[1:], answers[0]], strict=True))


def ranks(photo: Seen, restyled: Seen, other: Seen, noise: Seen) -> bool:
    """Whether `restyle` would score the room restyled above another room, and that above noise."""
    return score(photo, restyled) > score(photo, other) > score(photo, noise)


def score(photo: Seen, result: Seen) -> float:
    """The quality score that `restyle` gives a result of a photo."""
    quality = measure_quality(
        photo.picture, photo.edges, photo.depth, result.picture, result.edges, result.depth
    )
    return quality["score"]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
