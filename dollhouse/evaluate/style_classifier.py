"""The style classifier that names the style of results, committed so that every machine has the same one.

    python -m dollhouse.evaluate.style_classifier --run .run/dollhouse/classifier

This writes style_classifier.safetensors from the result of ``python -m dollhouse.train.perception --only classifier``,
and measures it on held-out renders. The classifier learns from rooms of its own; no network of a bundle is trained with
it or on these rooms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dollhouse.evaluate.held_out import MEASURED, held_out_rooms
from dollhouse.evaluate.wishes import drawn_palette
from dollhouse.metrics import style_accuracy
from dollhouse.render.rooms import NO_WISH, STYLES, ColourWish
from dollhouse.train.style_classifier import (
    StyleClassifier,
    StyleClassifierSettings,
    build_classifier,
    load_classifier,
)
from measuring import ROOT

FILE = Path(__file__).with_name("style_classifier.safetensors")
LEAST = 0.98
"""Accuracy on true renders below which it may not be used."""
ROOMS = 200


def read_classifier(file: Path = FILE) -> StyleClassifier:
    """The committed classifier, in evaluation mode. Raises FileNotFoundError."""
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no {file}: make it with `python -m dollhouse.evaluate.style_classifier`"
        )
    with safe_open(file, "pt") as opened:
        shape = json.loads(opened.metadata()["settings"])
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is not a mapping)
    classifier = build_classifier(StyleClassifierSettings(side=shape["side"], widths=tuple(shape["widths"])))
    classifier.load_state_dict({name: _wide(value) for name, value in state.items()})
    return classifier.eval().requires_grad_(False)


def write_classifier(folder: Path, file: Path = FILE) -> None:
    """Read what ``save_classifier`` wrote to ``folder``, and write ``file``, with kernels in FP16: half the size, the
    same answers."""
    state = {
        name: (value.half() if value.dim() > 1 else value).contiguous()
        for name, value in load_classifier(folder).state_dict().items()
    }
    save_file(state, file, {"settings": (folder / "settings.json").read_text()})


def _wide(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value


def accuracy(classifier: StyleClassifier, rooms: int = ROOMS, side: int = 256) -> float:
    """Accuracy on true renders of the first measured rooms in every style; every second room has a drawn palette."""
    named = []
    for room in held_out_rooms(MEASURED[:rooms], side):
        wish = ColourWish(drawn_palette(room.seed, ())) if room.seed % 2 else NO_WISH
        named.append(classifier.name_styles(room.restyled([(style, wish) for style in STYLES])))
    return float(np.mean([style_accuracy(each, STYLES) for each in named]))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dollhouse.evaluate.style_classifier", description=__doc__
    )
    parser.add_argument("--run", type=Path, default=ROOT / ".run" / "dollhouse" / "classifier")
    parser.add_argument("--rooms", type=int, default=ROOMS)
    given = parser.parse_args()
    write_classifier(given.run)
    reached = accuracy(read_classifier(), given.rooms)
    print(
        f"{FILE.name}: {FILE.stat().st_size / 1e3:.0f} kB, {reached:.2%} of real renders right (want {LEAST:.0%})"
    )
    return 0 if reached >= LEAST else 1


if __name__ == "__main__":
    raise SystemExit(main())
