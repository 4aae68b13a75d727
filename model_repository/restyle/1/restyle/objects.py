"""The objects in a photo, and the kind of room that they suggest."""

from typing import Any

import numpy as np

from restyle.names import name_objects
from restyle.pictures.images import Fit

VISIBLE = 0.5
"""An object counts when at least this share of its box lies in the photo, not in the padding around it."""

UNKNOWN = "unknown"

EVIDENCE: dict[str, dict[str, float]] = {
    "bedroom": {"bed": 3.0, "nightstand": 1.0, "wardrobe": 1.0, "teddy bear": 0.5},
    "living room": {
        "couch": 3.0,
        "coffee table": 1.5,
        "tv": 1.5,
        "remote": 0.5,
        "potted plant": 0.3,
        "chair": 0.2,
        "vase": 0.2,
        "book": 0.2,
    },
    "dining room": {"dining table": 2.0, "chair": 0.4, "wine glass": 0.5, "bowl": 0.3},
    "kitchen": {
        "oven": 3.0,
        "refrigerator": 3.0,
        "microwave": 2.0,
        "toaster": 1.5,
        "counter": 1.5,
        "hood": 1.5,
        "sink": 1.0,
        "knife": 0.5,
    },
    "bathroom": {
        "toilet": 4.0,
        "bathtub": 4.0,
        "towel": 1.5,
        "sink": 1.0,
        "toothbrush": 1.0,
        "hair drier": 1.0,
    },
    "office": {"desk": 3.0, "laptop": 1.5, "keyboard": 1.5, "mouse": 1.0, "book": 0.3, "chair": 0.2},
}
"""By room: the weight of each label (COCO's names, and a few more) as evidence for it."""

SHARPNESS = 3.5
"""A unit of evidence multiplies a room's odds by e^3.5 ≈ 33. SHARPNESS and DOUBT were fitted to renders as other
cameras and lamps would show them, which resemble photos more than clean renders do."""

DOUBT = 1.5
"""The exponent on scores: two objects at half the score count less than one at the whole."""

LEAST = 0.65
"""A room with less confidence is UNKNOWN. With 0.7 (0.6) as the limit, 87 % (90 %) of the clean renders of the train
split are named rightly, and of their jittered twins that are named, 96 % (93 %) are right. A real hall reached 0.64, as
a bedroom."""


def room_type(objects: list[dict[str, Any]]) -> str:
    """The most likely room; UNKNOWN when its confidence is below LEAST."""
    room, confidence = _most_likely(objects)
    return room if confidence >= LEAST else UNKNOWN


def room_confidence(objects: list[dict[str, Any]]) -> float:
    """The confidence of :func:`room_type`, LEAST..1; 0 when it is UNKNOWN."""
    _, confidence = _most_likely(objects)
    return confidence if confidence >= LEAST else 0.0


def _most_likely(objects: list[dict[str, Any]]) -> tuple[str, float]:
    """The strongest room and its posterior when SHARPNESS × evidence are log-likelihoods and all rooms are equally
    likely before: softmax(SHARPNESS · evidence) at its maximum.

    It grows with evidence for the room and falls with evidence for others. It is at most 1/n where n rooms tie, and
    little more than 1/6 where hardly anything was seen.
    """
    evidence = _evidence(objects)
    room = max(evidence, key=lambda each: evidence[each])
    odds = np.exp(SHARPNESS * (np.array(list(evidence.values())) - evidence[room]))
    return room, round(float(1.0 / odds.sum()), 4)


def _evidence(objects: list[dict[str, Any]]) -> dict[str, float]:
    """By room: the sum of weight × score^DOUBT over labels, each counted once, with its highest score. Five doubtful
    counters prove no more than one."""
    surest: dict[str, float] = {}
    for found in objects:
        surest[found["label"]] = max(found["score"], surest.get(found["label"], 0.0))
    return {
        room: sum(weight * surest.get(label, 0.0) ** DOUBT for label, weight in weights.items())
        for room, weights in EVIDENCE.items()
    }


def objects_in_photo(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, names: list[str], fit: Fit
) -> list[dict[str, Any]]:
    """The detector's boxes FP32 [K,4] (xyxy, 0..1 of the bucket), scores [K] and labels [K] (−1 = none) as
    [{label, name, score, box}], box in 0..1 of the photo; for names see :mod:`restyle.names`."""
    (top, left), (rows, columns), inner = fit.offset, fit.bucket, fit.inner
    in_pixels = boxes * np.array([columns, rows, columns, rows], np.float32)
    shift, size = (
        np.array([left, top, left, top], np.float32),
        np.array([*inner[::-1], *inner[::-1]], np.float32),
    )
    in_photo = np.clip((in_pixels - shift) / size, 0.0, 1.0)
    visible = _areas(in_photo * size) >= VISIBLE * _areas(in_pixels)
    found = [
        {
            "label": names[label],
            "score": round(float(score), 4),
            "box": [round(float(value), 4) for value in box],
        }
        for box, score, label, seen in zip(in_photo, scores, labels, visible, strict=True)
        if label >= 0 and seen
    ]
    own = name_objects(each["label"] for each in found)
    return [each | {"name": name} for each, name in zip(found, own, strict=True)]


def _areas(boxes: np.ndarray) -> np.ndarray:
    """[K,4] xyxy → [K]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
