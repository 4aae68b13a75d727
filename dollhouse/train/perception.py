"""Trains the perception networks (depth model, detector) and the evaluation's style classifier.

    python -m dollhouse.train.perception                      # all three, with the preset of the machine
    python -m dollhouse.train.perception --only depth

After a stop, the same command continues. Rooms come from ``python -m dollhouse.data.dataset``: the splits
``train`` and ``classifier`` to learn from, ``held_out`` to be measured on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dollhouse import metrics
from dollhouse.data.dataset import DATA, Dataset, open_dataset
from dollhouse.metrics import Detections
from dollhouse.render.rooms import STYLES

from . import depth, detector
from . import style_classifier as classifier
from .loop import Limit, Optimising, pick_device

RUN = Path(".run/dollhouse")

SURE = 0.25
"""The score from which a detected object counts for the room type, and the bundle's ``object_threshold``."""


@dataclass(frozen=True)
class Preset:
    """Settings and minutes of each network."""

    depth: depth.DepthSettings
    detector: detector.DetectorSettings
    classifier: classifier.StyleClassifierSettings
    minutes: Mapping[str, float]


CPU = Preset(
    depth.DepthSettings(),
    detector.DetectorSettings(),
    classifier.StyleClassifierSettings(),
    {"depth": 20.0, "detector": 30.0, "classifier": 5.0},
)
"""Minutes on one core."""

CUDA = Preset(
    depth.DepthSettings(side=192, batch=64, optimising=Optimising(learning_rate=3e-3, weight_decay=0.02)),
    detector.DetectorSettings(
        side=256,
        neck=48,
        batch=64,
        optimising=Optimising(learning_rate=4e-3, weight_decay=0.02, clip=10.0),
    ),
    classifier.StyleClassifierSettings(),
    {"depth": 2.0, "detector": 2.5, "classifier": 0.5},
)


def train_depth(run: Path, preset: Preset, rooms: Dataset, held_out: Dataset, device: torch.device) -> None:
    """Train the depth model on ``rooms`` and save it in ``run``/networks/depth.

    It is measured on ``held_out``; the figures are added to ``run``/networks/perception.json.
    """
    limit = Limit(minutes=preset.minutes["depth"])
    network = depth.train_depth(rooms, run / "depth", preset.depth, limit, device)
    network.save_pretrained(run / "networks" / "depth")
    _note(run, measure_depth(depth.as_module(network).to(device), held_out))


def train_detector(
    run: Path, preset: Preset, rooms: Dataset, held_out: Dataset, device: torch.device
) -> None:
    """Train the detector on ``rooms`` and save it in ``run``/networks/detector; measured as the depth model is."""
    limit = Limit(minutes=preset.minutes["detector"])
    network = detector.train_detector(rooms, run / "detector", preset.detector, limit, device)
    network.save_pretrained(run / "networks" / "detector")
    _note(run, measure_detector(detector.as_module(network).to(device), held_out))


def train_classifier(
    run: Path, preset: Preset, rooms: Dataset, held_out: Dataset, device: torch.device
) -> None:
    """Train the style classifier on ``rooms`` and save it in ``run``/classifier; measured as the depth model is."""
    limit = Limit(minutes=preset.minutes["classifier"])
    trained = classifier.train_classifier(rooms, run / "classifier", preset.classifier, limit, device)
    classifier.save_classifier(trained, preset.classifier, run / "classifier")
    _note(run, measure_classifier(trained, held_out))


def measure_depth(module: nn.Module, held_out: Dataset) -> dict[str, float]:
    """Figures over all rooms, each in one style."""
    errors, ranks = [], []
    for index, picture in enumerate(_pictures(held_out)):
        answer, truth = _answer(module, picture)[0], held_out.depth(index)
        errors.append(metrics.depth_absrel(answer, truth))
        ranks.append(metrics.depth_rank(answer, truth))
    return {"depth_absrel": float(np.mean(errors)), "depth_rank_of_renders": float(np.mean(ranks))}


def measure_detector(module: nn.Module, held_out: Dataset) -> dict[str, float]:
    answers, truths = detect(module, _pictures(held_out)), true_objects(held_out)
    types = [held_out.room_type(index) for index in range(len(held_out))]
    return {
        "detector_map50": metrics.detector_map50(answers, truths),
        "room_type_accuracy": metrics.room_type_accuracy(answers, types, SURE),
    }


def measure_classifier(trained: classifier.StyleClassifier, held_out: Dataset) -> dict[str, float]:
    """Accuracy over every target of every room."""
    right = []
    for index in range(len(held_out)):
        pairs = held_out.pairs(index)
        targets = np.stack([held_out.target(index, number) for number in range(len(pairs))])
        right += [a == pair.style for a, pair in zip(trained.name_styles(targets), pairs, strict=True)]
    return {"classifier_accuracy": float(np.mean(right))}


def detect(module: nn.Module, pictures: Iterable[NDArray[np.uint8]]) -> list[Detections]:
    """Objects that a detector module finds in pictures [H,W,3], without padding."""
    found = []
    for picture in pictures:
        boxes, scores, labels = _answer(module, picture)
        real = labels >= 0
        found.append(Detections(boxes[real], labels[real], scores[real]))
    return found


def true_objects(dataset: Dataset) -> list[Detections]:
    """The true objects of every room."""
    found = [dataset.objects(index) for index in range(len(dataset))]
    return [Detections(boxes, labels, np.ones(len(labels), np.float32)) for boxes, labels in found]


def _pictures(dataset: Dataset) -> Iterable[NDArray[np.uint8]]:
    return (dataset.picture(index, index % len(STYLES)) for index in range(len(dataset)))


@torch.no_grad()
def _answer(module: nn.Module, picture: NDArray[np.uint8]) -> Sequence[NDArray[Any]]:
    """A module's outputs for one picture, without the batch axis."""
    device = next(module.parameters()).device
    outputs = module(torch.from_numpy(picture)[None].to(device))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [output[0].cpu().numpy() for output in outputs]


def _note(run: Path, figures: Mapping[str, float]) -> None:
    """Add to networks/perception.json."""
    path = run / "networks" / "perception.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.is_file() else {}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    path.write_text(json.dumps({**known, **rounded}, indent=2) + "\n")
    print(json.dumps(rounded), flush=True)


TRAINERS = {
    "classifier": ("classifier", train_classifier),
    "depth": ("train", train_depth),
    "detector": ("train", train_detector),
}
"""By network: the split that it learns from, and its trainer."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dollhouse.train.perception", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--only", choices=tuple(TRAINERS), action="append")
    parser.add_argument("--minutes", type=float, help="for each network, instead of the preset's")
    given = parser.parse_args()
    device = pick_device()
    preset = CUDA if device.type == "cuda" else CPU
    if given.minutes is not None:
        preset = Preset(
            preset.depth, preset.detector, preset.classifier, dict.fromkeys(TRAINERS, given.minutes)
        )
    held_out = open_dataset(given.data, "held_out")
    for name in given.only or TRAINERS:
        split, train = TRAINERS[name]
        train(given.run, preset, open_dataset(given.data, split), held_out, device)


if __name__ == "__main__":
    main()
