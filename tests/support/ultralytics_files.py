"""Files in the layout that Ultralytics' exporter writes, with random weights: one layer in place of their network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 128
NAMES = {0: "chair", 1: "couch", 2: "bed"}
METADATA = {
    "author": "Ultralytics",
    "license": "AGPL-3.0 License",
    "task": "detect",
    "stride": "32",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": str(NAMES),
}
ROWS = 49
"""Places of a 32-pixel window that moves by 16."""


def write_detector(
    path: Path,
    *,
    ready: bool = False,
    batch: str | int = "batch",
    opset: int = 17,
    first_only: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a detector. ``ready``: it answers with rows (box, score, label) instead of one score for each label.
    ``first_only``: it looks at the first photo of a batch only."""
    scores = len(NAMES)
    channels = 6 if ready else 4 + scores
    rng = np.random.default_rng(7)
    kernel = 4.0 * rng.standard_normal((channels, 3, 32, 32)) / 32
    # Two corners in pixels, or a centre and an extent; then scores in 0..1, or a score and a label.
    factors = np.array([SIDE] * 4 + ([1.0, scores - 0.01] if ready else [1.0] * scores)).reshape(-1, 1)
    weights = {
        "model.0.conv.weight": kernel,
        "model.0.conv.bias": 0.5 * rng.standard_normal(channels),
        "factors": factors,
    }
    nodes = [
        helper.make_node(
            "Conv", ["seen", "model.0.conv.weight", "model.0.conv.bias"], ["c"], strides=[16, 16]
        ),
        helper.make_node("Reshape", ["c", "shape"], ["r"]),
        helper.make_node("Sigmoid", ["r"], ["s"]),
        helper.make_node("Mul", ["s", "factors"], ["m"]),
    ]
    if ready:
        nodes += [
            helper.make_node("Split", ["m", "parts"], ["box", "score", "kind"], axis=1),
            helper.make_node("Floor", ["kind"], ["label"]),
            helper.make_node("Concat", ["box", "score", "label"], ["joined"], axis=1),
            helper.make_node("Transpose", ["joined"], ["output0"], perm=[0, 2, 1]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["m"], ["output0"]))
    look = ("Gather", ["images", "zero"]) if first_only else ("Identity", ["images"])
    nodes.insert(0, helper.make_node(*look, ["seen"]))
    integers = {"shape": [0, 0, -1]}
    integers |= {"parts": [4, 1, 1]} if ready else {}
    integers |= {"zero": [0]} if first_only else {}
    sides: list[Any] = ["height", "width"] if isinstance(batch, str) else [SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *sides])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
            *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    helper.set_model_props(model, METADATA if metadata is None else metadata)
    onnx.save(model, path)
    return path


def picked(answer: NDArray[np.float32], objects: int, threshold: float) -> list[list[tuple[Any, ...]]]:
    """What a detector should return for the file's ``answer``, photo by photo: (label, score, box in 0..1), best first.

    Written without torch, box by box.
    """
    found = []
    for photo in answer:
        if photo.shape[1] == 6:
            candidates = [(round(float(row[5])), float(row[4]), row[:4] / SIDE) for row in photo]
        else:
            candidates = []
            for row in photo.T:
                corners = np.concatenate([row[:2] - row[2:4] / 2, row[:2] + row[2:4] / 2]) / SIDE
                candidates.append((int(row[4:].argmax()), float(row[4:].max()), corners))
        candidates.sort(key=lambda each: -each[1])
        if photo.shape[1] != 6:
            candidates = [
                each
                for place, each in enumerate(candidates)
                if not any(
                    better[0] == each[0] and _overlap(better[2], each[2]) > 0.5
                    for better in candidates[:place]
                )
            ]
        rows = [(label, score, np.clip(box, 0.0, 1.0)) for label, score, box in candidates[:objects]]
        found.append([row for row in rows if row[1] >= threshold])
    return found


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(sides.clip(min=0.0)))
    area = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return both / max(area - both, 1e-9)
