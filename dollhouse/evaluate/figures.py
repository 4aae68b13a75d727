"""From answers to the dollhouse's figures of merit, by their names in results/dollhouse.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dollhouse import metrics
from dollhouse.evaluate import likeness
from dollhouse.evaluate.answers import Answers, StyledResult
from dollhouse.evaluate.perceived import Perceived
from dollhouse.render.rooms import STYLES
from restyle.pictures.quality import measure_quality

NameStyles = Callable[[NDArray[np.uint8]], list[str]]
"""The classifier: pictures UINT8 [B,H,W,3] → the style of each."""

Figures = dict[str, float]

COMMON = 20
"""Rooms per object: labels with fewer true objects than one in COMMON rooms are left out of detector_map50."""


def perception_figures(answers: Sequence[Answers]) -> Figures:
    """How well a release perceives the photos of all rooms."""
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


def restyling_figures(answers: Sequence[Answers], classifier: NameStyles) -> Figures:
    """How well a release restyles: means over all results; ``gain_over_mean`` is that of the worst style."""
    return over_styles({style: style_figures(answers, style, classifier) for style in STYLES})


def over_styles(styles: Mapping[str, Figures]) -> Figures:
    """:func:`restyling_figures` from each style's own."""
    names = next(iter(styles.values()))
    means = {name: _mean([each[name] for each in styles.values()]) for name in names}
    return {**means, "gain_over_mean": min(each["gain_over_mean"] for each in styles.values())}


def style_figures(answers: Sequence[Answers], style: str, classifier: NameStyles) -> Figures:
    """Means over the results in one style. ``grain`` has no gate; it is ``flat`` plus the texture of the truth."""
    rooms = [each.room for each in answers]
    results = [each.results[style] for each in answers]
    pairs = [(made.seen.picture, made.truth) for made in results]
    seen = [(made.seen, room) for made, room in zip(results, rooms, strict=True)]
    blotches = [likeness.blotches(*each, room.edges) for each, room in zip(pairs, rooms, strict=True)]
    named = classifier(np.stack([picture for picture, _ in pairs]))
    return {
        "psnr_truth": _mean([metrics.psnr(*each) for each in pairs]),
        "psnr_blurred": _mean([metrics.psnr_blurred(*each) for each in pairs]),
        "gain_over_mean": _mean([likeness.gain_over_mean(*each) for each in pairs]),
        "flat": _mean([flat for flat, _ in blotches]),
        "grain": _mean([grain for _, grain in blotches]),
        "sharp": _mean([likeness.sharp(*each) for each in pairs]),
        "edge_f1": _mean([metrics.edge_f1(each.picture, room.edges) for each, room in seen]),
        "style_accuracy": metrics.style_accuracy(named, [style] * len(named)),
        "depth_rank": _mean([metrics.depth_rank(each.depth, room.depth) for each, room in seen]),
    }


def changed_style_accuracy(answers: Sequence[Answers], classifier: NameStyles) -> float:
    """Style accuracy over the results whose requested style is not the photo's."""
    asked = [
        (made.seen.picture, style)
        for each in answers
        for style, made in each.results.items()
        if style != each.room.style
    ]
    return metrics.style_accuracy(
        classifier(np.stack([picture for picture, _ in asked])), [style for _, style in asked]
    )


def true_renders(answers: Sequence[Answers]) -> list[Answers]:
    """Answers whose results are the truth: the figures of a perfect restyling. Depth is that of the photo."""
    return _with_results(answers, lambda each, made: replace(each.photo, picture=made.truth))


def nothing_done(answers: Sequence[Answers]) -> list[Answers]:
    """Answers whose results are the unchanged photo."""
    return _with_results(answers, lambda each, made: each.photo)


def another_room(answers: Sequence[Answers]) -> list[Answers]:
    """Answers whose results are those of the next room in the same style: figures at chance level."""
    pairs = zip(answers, [*answers[1:], answers[0]], strict=True)
    return [
        replace(
            each,
            results={
                style: replace(made, seen=other.results[style].seen) for style, made in each.results.items()
            },
        )
        for each, other in pairs
    ]


CONTROLS = {"renders": true_renders, "nothing_done": nothing_done, "another_room": another_room}
"""What the figures are compared with, by name in the JSON."""


def _with_results(
    answers: Sequence[Answers], shown: Callable[[Answers, StyledResult], Perceived]
) -> list[Answers]:
    return [
        replace(
            each,
            results={style: replace(made, seen=shown(each, made)) for style, made in each.results.items()},
        )
        for each in answers
    ]


def score(photo: Perceived, result: Perceived) -> float:
    """The quality score that `restyle` gives a result of a photo."""
    quality = measure_quality(
        photo.picture, photo.edges, photo.depth, result.picture, result.edges, result.depth
    )
    return quality["score"]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
