"""The dollhouse's detector: a CentresForObjectDetection trained on every label of the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from dollhouse.data.augmentation import MEAN, STD, Draw, disturb, draw, photos
from dollhouse.data.dataset import Dataset
from dollhouse.render.rooms import LABELS
from export.networks.centres import CentresConfig, CentresForObjectDetection, fold
from export.networks.pictures import CentreDetector

from .loop import Limit, Losses, Optimising, Pace, Trainer, autocast, step_randomness

BACKDROPS = frozenset({"rug", "window", "shelf", "counter", "sideboard", "desk", "dining table", "cabinet"})
"""Labels with a box map of their own: things often stand on or before them and share their centre."""

SPREAD = 0.54
"""Size of an object's Gaussian on the heat map over that of its box (TTFNet's α)."""

FIGURES = 24
"""Boxes on a sample sheet's picture."""

OPTIMISING = Optimising(learning_rate=2e-3, weight_decay=0.02, clip=10.0)


@dataclass(frozen=True)
class DetectorSettings:
    side: int = 192
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    neck: int = 32
    batch: int = 16
    box: float = 5.0
    """Weight of the box loss beside that of the heat map."""
    seed: int = 3
    optimising: Optimising = OPTIMISING


@dataclass(frozen=True)
class Targets:
    """What the network should answer for B pictures with at most N objects, on an h × w map."""

    heat: Tensor
    """FP32 [B,C,h,w]: 1 at an object's centre, falling off as a Gaussian."""
    owner: Tensor
    """INT64 [B,G,h,w]: the object that owns the cell in a box map; N = none."""
    weight: Tensor
    """FP32 [B,G,h,w]: sums to 1 over the cells of an object."""


def build_detector(settings: DetectorSettings) -> CentresForObjectDetection:
    """The network with random weights."""
    torch.manual_seed(settings.seed)
    return CentresForObjectDetection(
        CentresConfig(
            image_size=(settings.side, settings.side),
            widths=settings.widths,
            blocks=settings.blocks,
            neck=settings.neck,
            layers=tuple(int(label in BACKDROPS) for label in LABELS),
            id2label=dict(enumerate(LABELS)),
        )
    )


def as_module(
    network: CentresForObjectDetection, objects: int = 32, threshold: float = 0.05
) -> CentreDetector:
    """The network with the inputs and outputs of the model ``detector`` on Triton.

    Objects below ``threshold`` become padding. The default keeps nearly all, as average precision needs; a bundle
    serves at its own, higher one.
    """
    height, width = network.config.image_size
    return CentreDetector(network, (height, width), list(MEAN), list(STD), objects, threshold)


def targets(boxes: Tensor, labels: Tensor, layers: Tensor, classes: int, height: int, width: int) -> Targets:
    """``boxes`` [B,N,4] xyxy in 0..1, ``labels`` [B,N] (−1 = padding), ``layers`` [C]: which box map a label uses."""
    known = labels >= 0
    safe = labels.clamp(min=0)
    low, high = boxes[..., :2], boxes[..., 2:]
    scale = torch.tensor([width, height], device=boxes.device)
    # The peak is a cell, so that exactly one cell of an object has the value 1.
    centre = ((low + high) / 2 * scale).floor().minimum(scale - 1)
    sigma = ((high - low) * scale * SPREAD / 6).clamp(min=0.35)
    y = torch.arange(height, device=boxes.device).view(1, 1, -1, 1)
    x = torch.arange(width, device=boxes.device).view(1, 1, 1, -1)
    dx = (x - centre[..., 0, None, None]) / sigma[..., 0, None, None]
    dy = (y - centre[..., 1, None, None]) / sigma[..., 1, None, None]
    bump = torch.exp(-(dx.square() + dy.square()) / 2) * known[..., None, None]
    bump = bump * (bump > 1e-3)
    heat = bump.new_zeros(len(boxes), classes, height, width)
    heat.scatter_reduce_(1, safe[..., None, None].expand_as(bump), bump, "amax")
    # Where two objects claim a cell, the smaller one gets it.
    area = ((high - low).prod(-1) + 1e-6)[..., None, None].expand_as(bump)
    owners, weights = [], []
    no_owner = torch.full_like(bump[:, :1], torch.inf)
    for layer in range(int(layers.max()) + 1):
        mine = (bump > 0) & (layers[safe] == layer)[..., None, None]
        owner = torch.cat([area.where(mine, torch.inf), no_owner], 1)
        least, index = owner.min(1)
        index = torch.where(least.isinf(), torch.full_like(index, labels.shape[1]), index)
        padded = torch.cat([bump, torch.zeros_like(no_owner)], 1)
        weight = padded.gather(1, index.unsqueeze(1)).squeeze(1)
        total = weight.new_zeros(len(boxes), labels.shape[1] + 1)
        total.scatter_add_(1, index.flatten(1), weight.flatten(1))
        weight = weight / total.gather(1, index.flatten(1)).view_as(weight).clamp(min=1e-6)
        owners.append(index)
        weights.append(weight)
    return Targets(heat, torch.stack(owners, 1), torch.stack(weights, 1))


def heat_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CenterNet, eq. 1) over the number of objects' peaks."""
    logits = logits.float()
    p, peak = logits.sigmoid(), heat >= 1.0
    found = (1 - p).square() * F.logsigmoid(logits)
    empty = (1 - heat).pow(4) * p.square() * F.logsigmoid(-logits)
    return -torch.where(peak, found, empty).sum() / peak.sum().clamp(min=1)


def box_loss(boxes: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """1 − GIoU (Rezatofighi et al. 2019, arXiv 1902.09630) of xyxy boxes [M,4], weighted by [M], over its sum."""
    low, high = torch.maximum(boxes[:, :2], real[:, :2]), torch.minimum(boxes[:, 2:], real[:, 2:])
    hull = torch.maximum(boxes[:, 2:], real[:, 2:]) - torch.minimum(boxes[:, :2], real[:, :2])
    both = (high - low).clamp(min=0).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (real[:, 2:] - real[:, :2]).prod(1) - both
    area = hull.prod(1).clamp(min=1e-9)
    giou = both / union.clamp(min=1e-9) - (area - union) / area
    return ((1 - giou) * weight).sum() / weight.sum().clamp(min=1e-6)


def detector_losses(
    network: CentresForObjectDetection, pictures: Tensor, boxes: Tensor, labels: Tensor, weight: float
) -> Losses:
    """``pictures`` FP32 [B,3,H,W] in −1..1; ``boxes`` [B,N,4], ``labels`` [B,N] with −1 = padding."""
    heat, made = network(pixel_values=pictures)
    layers = torch.tensor(network.config.layers, device=heat.device)
    aim = targets(boxes, labels, layers, *heat.shape[1:])
    owned = aim.weight > 0
    room = torch.arange(len(boxes), device=boxes.device).view(-1, 1, 1, 1).expand_as(aim.owner)
    real = boxes[room[owned], aim.owner[owned]]
    heat_part = heat_loss(heat, aim.heat)
    box_part = box_loss(made.permute(0, 1, 3, 4, 2)[owned], real, aim.weight[owned])
    return {"loss": heat_part + weight * box_part, "heat": heat_part, "box": box_part}


def objects_of(dataset: Dataset, drawn: Draw) -> tuple[Tensor, Tensor]:
    """(boxes FP32 [B,N,4], labels INT64 [B,N]) of a batch, padded with −1, mirrored where its pictures are."""
    found = [dataset.objects(index) for index in drawn.indices]
    most = max(1, max(len(labels) for _, labels in found))
    boxes, labels = torch.zeros(len(found), most, 4), torch.full((len(found), most), -1)
    for row, (some, names) in enumerate(found):
        boxes[row, : len(names)], labels[row, : len(names)] = torch.from_numpy(some), torch.from_numpy(names)
        if drawn.mirrored[row]:
            boxes[row] = boxes[row][:, [2, 1, 0, 3]]
            boxes[row, :, [0, 2]] = 1 - boxes[row, :, [0, 2]]
    return boxes, labels


def train_detector(
    dataset: Dataset,
    folder: Path,
    settings: DetectorSettings,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
) -> CentresForObjectDetection:
    """Train (or continue training) in ``folder``; returns the network folded, in evaluation mode."""
    network = build_detector(settings).to(device, memory_format=torch.channels_last)
    module = as_module(network).to(device)

    def losses(step: int) -> Losses:
        choices, noise = step_randomness(settings.seed, step, device)
        drawn = draw(dataset, settings.batch, choices)
        pictures = disturb(module.prepare(photos(dataset, drawn).to(device)), choices, noise)
        boxes, labels = (field.to(device) for field in objects_of(dataset, drawn))
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with autocast(device):
            return detector_losses(network, pictures, boxes, labels, settings.box)

    def sample(path: Path) -> None:
        draw_objects(path, module, [dataset.picture(i, i % 5) for i in range(min(4, len(dataset)))])

    Trainer({"detector": network}, losses, sample, settings.optimising, asdict(settings), folder, pace).run(
        limit
    )
    return fold(network)


@torch.no_grad()
def draw_objects(path: Path, module: CentreDetector, pictures: Sequence[np.ndarray]) -> None:
    """Write the pictures [H,W,3], side by side, with the objects found in them at a score of 0.3 or more."""
    device = module.mean.device
    sheets = []
    for picture in pictures:
        boxes, scores, labels = (
            field[0].cpu() for field in module(torch.from_numpy(picture)[None].to(device))
        )
        sheet = Image.fromarray(picture).resize((512, 512))
        pen = ImageDraw.Draw(sheet)
        for box, score, label in list(zip(boxes, scores, labels, strict=True))[:FIGURES]:
            if score >= 0.3:
                corners = [float(v) * 512 for v in box]
                pen.rectangle(corners, outline=(255, 60, 60))
                pen.text((corners[0] + 2, corners[1]), f"{LABELS[int(label)]} {score:.2f}", (255, 255, 60))
        sheets.append(np.asarray(sheet))
    Image.fromarray(np.concatenate(sheets, 1)).save(path)
