"""The style classifier: it names the style that a room was restyled in, whatever its palette.

It learns from the targets of the split ``classifier``. It belongs to the evaluation and not to the bundle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dollhouse.data.augmentation import disturb
from dollhouse.data.dataset import Dataset
from dollhouse.render.rooms import STYLES

from .grids import save_grid, signal_of, to_signal
from .loop import Limit, Losses, Optimising, Pace, Trainer, autocast, step_randomness

OPTIMISING = Optimising(learning_rate=2e-3, weight_decay=0.05)

WEIGHTS = "classifier.pt"


@dataclass(frozen=True)
class StyleClassifierSettings:
    side: int = 128
    widths: tuple[int, ...] = (16, 32, 48, 64)
    batch: int = 32
    smoothing: float = 0.05
    """Label smoothing of the cross entropy."""
    seed: int = 5
    optimising: Optimising = OPTIMISING


class StyleClassifier(nn.Module):
    """Picture UINT8 [B,H,W,3], any size → logits [B,5] over STYLES."""

    def __init__(self, settings: StyleClassifierSettings) -> None:
        super().__init__()
        self.side = settings.side
        layers: list[nn.Module] = []
        inside = 3
        for width in settings.widths:
            layers += [nn.Conv2d(inside, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            inside = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * inside, len(STYLES))

    def prepare(self, image: Tensor) -> Tensor:
        """UINT8 [B,H,W,3] → FP32 [B,3,side,side] in −1..1."""
        pixels = signal_of(image)
        return F.interpolate(
            pixels, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True
        )

    def features(self, pictures: Tensor) -> Tensor:
        """FP32 [B,3,side,side], as ``prepare`` returns it → what its answer is read from, [B,F]."""
        seen = self.body(pictures)
        return torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)

    def answer(self, pictures: Tensor) -> Tensor:
        """FP32 [B,3,side,side], as ``prepare`` returns it → logits [B,5]."""
        return self.head(self.features(pictures))

    def forward(self, image: Tensor) -> Tensor:
        return self.answer(self.prepare(image))

    @torch.no_grad()
    def name_styles(self, pictures: NDArray[np.uint8]) -> list[str]:
        """UINT8 [B,H,W,3] → the style of each."""
        device = self.head.weight.device
        logits = [
            self(torch.from_numpy(some).to(device))
            for some in np.array_split(pictures, -(-len(pictures) // 32))
        ]
        return [STYLES[int(n)] for n in torch.cat(logits).argmax(1)]


def build_classifier(settings: StyleClassifierSettings) -> StyleClassifier:
    """The classifier with random weights."""
    torch.manual_seed(settings.seed)
    return StyleClassifier(settings)


def classifier_losses(
    classifier: StyleClassifier, pictures: Tensor, styles: Sequence[int], smoothing: float
) -> Losses:
    """``pictures`` as ``StyleClassifier.prepare`` returns them."""
    real = torch.tensor(styles, device=pictures.device)
    logits = classifier.answer(pictures).float()
    wrong = (logits.argmax(1) != real).float().mean()
    return {"loss": F.cross_entropy(logits, real, label_smoothing=smoothing), "wrong": wrong}


def targets_of(
    dataset: Dataset, count: int, choices: np.random.Generator
) -> tuple[NDArray[np.uint8], list[int]]:
    """Random targets UINT8 [count,H,W,3], half of them mirrored, and the numbers of their styles."""
    pictures, styles = [], []
    for index in choices.integers(len(dataset), size=count):
        pairs = dataset.pairs(int(index))
        number = int(choices.integers(len(pairs)))
        picture = dataset.target(int(index), number)
        pictures.append(picture[:, ::-1] if choices.random() < 0.5 else picture)
        styles.append(STYLES.index(pairs[number].style))
    return np.stack(pictures), styles


def train_classifier(
    dataset: Dataset,
    folder: Path,
    settings: StyleClassifierSettings,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
) -> StyleClassifier:
    """Train (or continue training) in ``folder``; returns the classifier in evaluation mode."""
    classifier = build_classifier(settings).to(device)

    def losses(step: int) -> Losses:
        choices, noise = step_randomness(settings.seed, step, device)
        targets, styles = targets_of(dataset, settings.batch, choices)
        pictures = disturb(classifier.prepare(torch.from_numpy(targets).to(device)), choices, noise)
        with autocast(device):
            return classifier_losses(classifier, pictures, styles, settings.smoothing)

    def sample(path: Path) -> None:
        """A grid, sorted by predicted style."""
        pictures, _ = targets_of(dataset, 25, np.random.default_rng(0))
        order = np.argsort([STYLES.index(style) for style in classifier.name_styles(pictures)], kind="stable")
        sheet = to_signal(pictures[order])
        save_grid(path, [list(sheet[start : start + 5]) for start in range(0, 25, 5)])

    Trainer(
        {"classifier": classifier}, losses, sample, settings.optimising, asdict(settings), folder, pace
    ).run(limit)
    return classifier


def save_classifier(classifier: StyleClassifier, settings: StyleClassifierSettings, folder: Path) -> None:
    """Write settings.json and WEIGHTS."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = {"side": settings.side, "widths": settings.widths}
    (folder / "settings.json").write_text(json.dumps(shape))
    torch.save({name: value.cpu() for name, value in classifier.state_dict().items()}, folder / WEIGHTS)


def load_classifier(folder: Path) -> StyleClassifier:
    """What ``save_classifier`` wrote, on the CPU, in evaluation mode."""
    shape = json.loads((folder / "settings.json").read_text())
    classifier = build_classifier(StyleClassifierSettings(side=shape["side"], widths=tuple(shape["widths"])))
    classifier.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
    return classifier.eval().requires_grad_(False)
