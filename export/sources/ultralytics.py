"""A detector that the user exported to ONNX with Ultralytics' own tool:

    yolo export model=yolo11n.pt format=onnx dynamic=True opset=17

Their tool is no dependency of ours, and there is no torch network to trace: the file itself becomes the middle of our
graph (``export.networks.ultralytics``). Here it is read, and refused when it could not.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from export.bundle import BundleError
from export.graphs.onnx import OPSET

STRIDE = 32
"""Input sides are multiples of this, unless the file says another."""

READY = 6
"""Numbers of an object where the network itself picks them: left, top, right, bottom, score, label."""

NOTICES = ("author", "license")
"""What the graph of a release keeps of the file's metadata."""

_AGAIN = "export it again with Ultralytics' dynamic=True opset=17"


class UltralyticsFile(nn.Module):
    """Stands where a network of transformers would: it has a ``config``, and its forward runs the file.

    Raises BundleError with one sentence when the file cannot become a graph of a release.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.model = _read(path)
        said = {entry.key: entry.value for entry in self.model.metadata_props}
        self.notices = {key: said[key] for key in NOTICES if key in said}
        names, height, width, stride = _parse(path, said)
        self.config = SimpleNamespace(
            model_type="ultralytics", id2label=names, image_size=[height, width], patch_size=stride
        )
        self.input, self.output = self.model.graph.input[0].name, self.model.graph.output[0].name
        self._session: Any = None
        self.rows, self.ready = self._try(height, width)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """FP32 [B,3,H,W] in 0..1 → what the file answers: FP32 [B,rows,6] when it is ``ready``, else [B,4+C,rows] for C
        labels, each row a box (centre and extent) and its scores. Boxes are in pixels of the input."""
        return torch.from_numpy(self._run(pixel_values.numpy()))

    def _run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._session is None:
            self._session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])
        found: NDArray[np.float32] = self._session.run([self.output], {self.input: pixels})[0]
        return found

    def _try(self, height: int, width: int) -> tuple[int, bool]:
        """Rows of an answer, and whether they are objects that the network has picked."""
        pixels = np.random.default_rng(0).random((2, 3, height, width), dtype=np.float32)
        try:
            both, single = self._run(pixels), self._run(pixels[1:])
        except Exception as error:  # onnxruntime's exceptions share no base class
            reason = str(error).splitlines()[0]
            raise BundleError(f"networks.detector: {self.path} does not run: {reason}") from error
        if both.shape[0] != 2 or not np.allclose(both[1:], single, rtol=1e-3, atol=1e-3):
            raise BundleError(
                f"networks.detector: {self.path} answers otherwise for a photo alone than in a batch: export it again "
                "without nms=True, objects that are found twice are left out all the same"
            )
        labels = len(self.config.id2label)
        if both.ndim == 3 and both.shape[2] == READY:
            return both.shape[1], True
        if both.ndim == 3 and both.shape[1] == 4 + labels:
            return both.shape[2], False
        raise BundleError(
            f"networks.detector: {self.path} answers with {list(both.shape)}, and a detector of {labels} labels with "
            f"[batch, rows, {READY}] or [batch, {4 + labels}, rows]: it is none"
        )


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise BundleError(f"networks.detector: cannot read {path}: {error}") from error
    inputs, outputs = model.graph.input, model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise BundleError(
            f"networks.detector: {path} has {len(inputs)} inputs and {len(outputs)} outputs, and a detector of "
            "Ultralytics one of each: choose one for the task detect"
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise BundleError(f"networks.detector: {path} takes no FP32: {_AGAIN} and without half=True")
    sides = list(kind.shape.dim)
    if len(sides) != 4 or any(sides[axis].HasField("dim_value") for axis in (0, 2, 3)):
        raise BundleError(f"networks.detector: {path} takes one size of batches and photos only: {_AGAIN}")
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset > OPSET:
        raise BundleError(f"networks.detector: {path} has opset {opset}, newer than {OPSET}: {_AGAIN}")
    return model


def _parse(path: Path, said: dict[str, str]) -> tuple[dict[int, str], int, int, int]:
    """Labels, height and width of the input, and the stride, as the file's metadata have them."""
    task = said.get("task", "detect")
    if task != "detect":
        raise BundleError(f"networks.detector: {path} is for the task {task}: choose a model for detect")
    try:
        names = {int(label): str(name) for label, name in ast.literal_eval(said["names"]).items()}
        height, width = (int(side) for side in ast.literal_eval(said["imgsz"]))
        stride = int(said.get("stride", STRIDE))
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise BundleError(
            f"networks.detector: {path} lacks the names and imgsz that Ultralytics writes into its metadata: {_AGAIN}"
        ) from error
    if sorted(names) != list(range(len(names))):
        raise BundleError(
            f"networks.detector: {path} has labels that are not numbered from 0: {sorted(names)}"
        )
    return names, height, width, stride
