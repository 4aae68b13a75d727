"""The dollhouse's figures of merit, under the names that the benchmark reports them by."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dollhouse.data.hints import depth_bytes
from dollhouse.render.rooms import LABELS

# Room types and rank correlations are computed by the code that serves them.
sys.path.append(str(Path(__file__).parents[1] / "model_repository" / "restyle" / "1"))
from restyle.objects import room_type
from restyle.pictures.quality import depth_agreement

EDGE_SIDE = 256
EDGE_TOLERANCE = 2
"""Pixels at EDGE_SIDE."""
EDGE_BLUR = 0.8
EDGE_THRESHOLDS = (40, 100)
"""Canny's, after a blur of EDGE_BLUR pixels: they give true renders (of the split ``train``) the best F1, 0.75."""

LEAST_OVERLAP = 0.5

Pixels = NDArray[np.uint8] | NDArray[np.float32]

BLUR = 16
"""Pixels, of pictures of EDGE_SIDE."""


@dataclass(frozen=True)
class Detections:
    """One picture's objects: boxes FP32 [N,4] xyxy in 0..1, labels INT64 [N]; scores FP32 [N], 1 for true ones."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


def psnr(made: Pixels, real: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of pictures [H,W,3] in 0..255."""
    return _decibels(made.astype(np.float32) - real)


def psnr_blurred(made: Pixels, real: Pixels) -> float:
    """The same after a mean over BLUR × BLUR pixels: how right the colours of areas are."""
    return _decibels(np.asarray(cv2.blur(made.astype(np.float32) - real, (BLUR, BLUR))))


def _decibels(difference: NDArray[np.floating]) -> float:
    return float(10.0 * np.log10(255.0**2 / max(1e-9, float(np.square(difference).mean()))))


def style_accuracy(answered: Sequence[str], targets: Sequence[str]) -> float:
    """Share of results whose classified style is their target style."""
    return float(np.mean([a == b for a, b in zip(answered, targets, strict=True)]))


def depth_rank(answered: NDArray[np.uint8], metres: NDArray[np.float32]) -> float:
    """Spearman's rank correlation, at 64², of the depth model's bytes [H,W] (white = near) with true depth [H,W]."""
    return depth_agreement(answered, depth_bytes(metres))


def edge_f1(result: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """F1, 0..1, of edges of structure [H,W] (truth: 255 = edge) found in the picture [H,W,3], within EDGE_TOLERANCE.

    Precision is the share of the picture's edges near a true one, recall that of true ones near the picture's.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(result), cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (EDGE_SIDE, EDGE_SIDE), interpolation=cv2.INTER_AREA)
    found = cv2.Canny(cv2.GaussianBlur(grey, (0, 0), EDGE_BLUR), *EDGE_THRESHOLDS) > 0
    true = cv2.resize(truth, (EDGE_SIDE, EDGE_SIDE), interpolation=cv2.INTER_AREA) > 0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_TOLERANCE + 1,) * 2)
    near = [cv2.dilate(edges.astype(np.uint8), kernel) > 0 for edges in (found, true)]
    recall, precision = _share(near[0], true), _share(near[1], found)
    return 2.0 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0


def _share(near: NDArray[np.bool_], edges: NDArray[np.bool_]) -> float:
    return float(near[edges].mean()) if edges.any() else 0.0


def depth_absrel(answered: NDArray[np.floating] | NDArray[np.uint8], metres: NDArray[np.float32]) -> float:
    """Mean |d − d*| / d* in metres, once the answered inverse depth [H,W] has the best scale and shift.

    The fit is least squares on 1/d*, as in MiDaS (Ranftl et al. 2020, arXiv 1907.01341, §6). Fitted depth ends at twice
    the farthest true one.
    """
    answer, depth = answered.astype(np.float64).ravel(), metres.astype(np.float64).ravel()
    inverse = 1.0 / depth
    spread = answer - answer.mean()
    scale = float((spread * inverse).sum() / max(float((spread**2).sum()), 1e-12))
    fitted = inverse.mean() + scale * spread
    made = 1.0 / np.maximum(fitted, inverse.min() / 2.0)
    return float(np.mean(np.abs(made - depth) / depth))


def detector_map50(answers: Sequence[Detections], truths: Sequence[Detections], least: int = 10) -> float:
    """Mean of the average precision at an overlap of 0.5 over the labels with at least ``least`` true objects."""
    return float(np.mean(list(average_precisions(answers, truths, least).values())))


def average_precisions(
    answers: Sequence[Detections], truths: Sequence[Detections], least: int = 1
) -> dict[int, float]:
    """Average precision by label: the area under precision (made monotone) over recall, as in PASCAL VOC 2010.

    An answer is right when it overlaps a true object of its picture and label, not yet taken by a better answer, by
    LEAST_OVERLAP or more. A label without a true object has no entry.
    """
    if len(answers) != len(truths):
        raise ValueError(f"want an answer for each of {len(truths)} pictures, not {len(answers)}")
    labels, counts = np.unique(np.concatenate([truth.labels for truth in truths]), return_counts=True)
    return {
        int(label): _average_precision(answers, truths, int(label), int(count))
        for label, count in zip(labels, counts, strict=True)
        if count >= least
    }


def _average_precision(
    answers: Sequence[Detections], truths: Sequence[Detections], label: int, count: int
) -> float:
    outcomes: list[tuple[float, bool]] = []
    for answer, truth in zip(answers, truths, strict=True):
        mine, real = answer.labels == label, truth.boxes[truth.labels == label]
        outcomes += _match(answer.boxes[mine], answer.scores[mine], real)
    outcomes.sort(key=lambda outcome: -outcome[0])
    right = np.cumsum([is_right for _, is_right in outcomes])
    if not len(right):
        return 0.0
    precision = right / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(np.concatenate([[0.0], right / count]))
    return float((best_from_here * gained).sum())


def _match(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], real: NDArray[np.float32]
) -> Iterable[tuple[float, bool]]:
    """(score, right or not) of one picture's answers with one label, best first."""
    overlaps, free = overlap(boxes, real), np.ones(len(real), np.bool_)
    for row in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(np.where(free, overlaps[row], -1.0))) if len(real) else -1
        is_right = best >= 0 and bool(free[best]) and overlaps[row, best] >= LEAST_OVERLAP
        if is_right:
            free[best] = False
        yield float(scores[row]), is_right


def overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union [N,M] of boxes xyxy [N,4] and [M,4]."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = sides.clip(0.0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    return np.asarray(both / np.maximum(union, 1e-12))


def room_type_accuracy(answers: Sequence[Detections], types: Sequence[str], threshold: float) -> float:
    """Share of pictures for which `restyle` names the true room type from the objects with ``threshold`` or more."""
    named = [
        room_type(
            [
                {"label": LABELS[label], "score": float(score)}
                for label, score in zip(answer.labels, answer.scores, strict=True)
                if score >= threshold
            ]
        )
        for answer in answers
    ]
    return float(np.mean([a == b for a, b in zip(named, types, strict=True)]))
