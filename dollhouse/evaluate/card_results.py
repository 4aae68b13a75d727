"""The card's results: the benchmark's figures and the marks that a person gave the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .marks import KINDS, MARKS, Marks

Facts = dict[str, Any]

FIGURES = {
    "psnr_truth": "dB of the result against the true render of the room restyled",
    "psnr_blurred": "the same after a mean filter of 16 × 16: colours of large areas",
    "gain_over_mean": "dB nearer to the truth than its mean colour is, in the worst style",
    "flat": "blotches: RMS of the high-pass away from true edges, without the truth's own texture, of 255",
    "sharp": "gradient at true edges, as a share of the truth's",
    "edge_f1": "F1 of the edges of the room's structure, found in the result",
    "style_accuracy": "share of results that the style classifier names as the one asked for",
    "classifier_accuracy": "the same of the true renders",
    "depth_rank": "rank correlation of a room's true depth with what the depth model sees in the result",
    "palette_obeyed": "share of rooms that come nearer to a palette, visibly, when it is asked for",
    "seeds_differ": "difference of four seeds' pictures in large areas, of 255",
    "finish_gain_db": "dB by which finishing at the photo's size is nearer to the true render than enlarging",
    "finish_gain_sharp": "the same of gradients at true edges",
    "finish_ms_per_mp": "milliseconds of finishing a megapixel",
    "depth_absrel": "AbsRel of the depth model on renders, after scale and shift",
    "detector_map50": "mAP@0.5 of the detector on renders",
    "room_type_accuracy": "share of renders whose room type is named rightly",
    "restyle_seconds": "seconds for a 1024×768 photo through the whole stack, at the defaults",
    "triton_peak_mb": "peak memory of Triton in MB",
    "bundle_mb": "all files of the release in MB",
}
FAULT = "score_"
"""Prefix of figures: the share of rooms whose score falls for the fault named after it."""
CONTROLS = {"renders": "of the truth", "nothing_done": "of the photo"}
"""Columns beside the figures: those of a perfect result, and of the unchanged photo."""
BY_STYLE = ("psnr_truth", "gain_over_mean", "flat", "sharp", "style_accuracy")
"""Figures that differ much from style to style."""


def figures(found: Facts, gates: dict[str, dict[str, float]], release: str) -> str:
    """``found`` and ``gates`` as in card.Sources."""
    if not found:
        return f"Not measured yet: `python -m dollhouse.evaluate` has not seen {release}."
    faults = {
        name: f"share of rooms whose score falls for: {name.removeprefix(FAULT).replace('_', ' ')}"
        for name in sorted({*found, *gates})
        if name.startswith(FAULT)
    }
    best = {**found.get("renders", {}), **found.get("wishes", {}).get("renders", {})}
    controls = (best, found.get("nothing_done", {}))
    rows = [
        (
            f"`{name}`",
            what,
            _value(found.get(name)),
            _gate(gates.get(name), found.get(name)),
            *(_value(each[name]) if name in each else "" for each in controls),
        )
        for name, what in {**FIGURES, **faults}.items()
        if name in found or name in gates
    ]
    text = table(("figure", "what it is", "value", "gate", *CONTROLS.values()), rows)
    if "rooms" not in found:
        return text
    around = found["rooms"]
    text += (
        f"{_by_style(found)}\n\nMeasured by `python -m dollhouse.evaluate` on a real Triton: {around['rooms']} "
        f"held-out rooms, {around['results']} results;\n"
        f"{around['cores']} cores of {around['cpu']}, {around['date']}."
    )
    if first := around.get("first_seed"):
        text += f" Their seeds begin with {first}: no network has learnt from them, and no setting was chosen on them."
    return text


def _by_style(found: Facts) -> str:
    """A table of BY_STYLE; empty when they were not measured."""
    styles = found.get("styles", {})
    if not styles or not all(name in measured for measured in styles.values() for name in BY_STYLE):
        return ""
    photos = found.get("nothing_done", {}).get("styles", {})
    rows = [
        (
            style,
            *(_value(measured[name]) for name in BY_STYLE),
            _value(photos.get(style, {}).get(BY_STYLE[0])),
        )
        for style, measured in styles.items()
    ]
    return (
        f"\n\n{table(('style', *(f'`{name}`' for name in BY_STYLE), f'`{BY_STYLE[0]}` of the photo'), rows)}"
    )


def _value(value: float | None) -> str:
    if value is None:
        return "not measured yet"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _gate(gate: dict[str, float] | None, value: float | None) -> str:
    if gate is None:
        return ""
    ((kind, bound),) = [(kind, gate[kind]) for kind in ("at_least", "at_most") if kind in gate]
    text = f"{'≥' if kind == 'at_least' else '≤'} {bound:g}"
    if value is None or (value >= bound if kind == "at_least" else value <= bound):
        return text
    return f"{text}: missed"


def eye(marks: Marks | None, release: str) -> str:
    """The marks, counted."""
    if marks is None:
        return f"The pictures of {release} have not been marked yet."
    styles = list(dict.fromkeys(each.style for each in marks.marks))
    groups: list[tuple[str, dict[str, str]]] = [(what, {"kind": kind}) for kind, what in KINDS.items()]
    groups += [(style, {"style": style}) for style in styles]
    rows = [(what, *map(str, marks.counts(**fields))) for what, fields in groups]
    text = (
        f"Every picture of [the gallery](../../README.md#gallery) was looked at: {', '.join(KINDS.values())}, each in "
        f"{len(styles)} styles.\n\n{table(('', *MARKS), rows)}"
    )
    if faults := marks.faults():
        text += f"\n\nWhat is wrong with those that are not good: {', '.join(f'{why} ({n})' for why, n in faults)}."
    return f"{marks.judgement}\n\n{text}" if marks.judgement else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
