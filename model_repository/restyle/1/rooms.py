"""Which room a photo shows, told by what stands in it."""

from typing import Any

UNKNOWN = "room"

EVIDENCE: dict[str, dict[str, float]] = {
    "bedroom": {"bed": 3.0, "teddy bear": 0.5},
    "living room": {
        "couch": 3.0,
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
        "sink": 1.0,
        "knife": 0.5,
    },
    "bathroom": {"toilet": 4.0, "bathtub": 4.0, "sink": 1.0, "toothbrush": 1.0, "hair drier": 1.0},
    "office": {"laptop": 1.5, "keyboard": 1.5, "mouse": 1.0, "book": 0.3, "chair": 0.2},
}
"""How much a label (COCO's names, and a few more) speaks for a room."""


def room_type(objects: list[dict[str, Any]]) -> str:
    """The room whose evidence, weighted by score, is strongest; UNKNOWN when nothing speaks for any."""
    totals = {
        room: sum(weights.get(found["label"], 0.0) * found["score"] for found in objects)
        for room, weights in EVIDENCE.items()
    }
    best = max(totals, key=lambda room: totals[room])
    return best if totals[best] > 0 else UNKNOWN
