"""A detector of Ultralytics as a graph of ours: the user's ONNX file between a graph that prepares photos and one that
picks objects.

The file's nodes and weights stay as they are. So what is proved is that the joined graph answers as the file does, run
by ONNX Runtime, with the same steps around it in torch.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import compose, numpy_helper, version_converter
from torch import Tensor, nn

from export.bundle import BundleError
from export.graphs.onnx import IR_VERSION, OPSET, export_onnx
from export.networks.pictures import ObjectNetwork, doubles_of_better, four
from export.proofs.parity import ParityError
from export.sources.ultralytics import UltralyticsFile
from export.spec import ModelSpec
from export.spec import Tensor as Declared

CANDIDATES = 300
"""The best boxes that are compared with one another, as many as Ultralytics keeps."""

_PREFIX = "network/"
"""Of the file's names in the graph."""


class UltralyticsDetector(ObjectNetwork):
    """Photo UINT8 [B,H,W,3] → boxes [B,K,4], scores and labels [B,K] of an UltralyticsFile.

    The photo is resized to the network's input without the bars that Ultralytics puts around it. Where the file picks
    no objects, a box is left out when a better one of its label overlaps it by more than DOUBLE.
    """

    network: UltralyticsFile

    def __init__(
        self,
        network: UltralyticsFile,
        size: tuple[int, int],
        mean: list[float],
        std: list[float],
        objects: int,
        threshold: float,
    ) -> None:
        super().__init__(network, size, mean, std, objects, threshold)
        self.candidates = min(CANDIDATES, network.rows)
        if objects > self.candidates:
            raise BundleError(f"objects is {objects}: {network.path} tells at most {self.candidates} apart")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.pick(self.network(self.prepare(image)))

    def pick(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The file's answer → the rows of :class:`ObjectNetwork`."""
        if self.network.ready:
            boxes, scores, labels = found[..., :4], found[..., 4], found[..., 5].round().long()
        else:
            boxes, scores, labels = self._distinct(found.transpose(1, 2))
        scores, best = scores.topk(self.objects, dim=1)
        height, width = self.size
        boxes = boxes.gather(1, four(best)) / torch.tensor(
            [width, height, width, height], dtype=torch.float32
        )
        return self.padded(boxes.clamp(0.0, 1.0), scores, labels.gather(1, best))

    def _distinct(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The candidates among the rows [B,N,4+C]: boxes [B,M,4] (xyxy), scores, 0 for doubles, and labels [B,M]."""
        scores, labels = rows[..., 4:].max(-1)
        scores, order = scores.topk(self.candidates, dim=1)
        labels = labels.gather(1, order)
        found = rows[..., :4].gather(1, four(order))
        centre, extent = found[..., :2], found[..., 2:]
        boxes = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1)
        place = torch.arange(self.candidates)
        doubles = doubles_of_better(boxes, labels, place.unsqueeze(1) < place)
        return boxes, scores * ~doubles, labels

    def write_onnx(self, spec: ModelSpec) -> onnx.ModelProto:
        """The joined graph, opset OPSET. Raises ParityError when it lacks a weight of the file."""
        height, width = self.size
        network, limit = self.network, spec.max_batch_size
        columns = (network.rows, 6) if network.ready else (4 + len(network.config.id2label), network.rows)
        pixels = (Declared("pixels", "FP32", (3, height, width)),)
        found = (Declared("found", "FP32", columns),)
        before = _traced(_Before(self), ModelSpec("before", "", spec.inputs, pixels, limit))
        after = _traced(_After(self), ModelSpec("after", "", found, spec.outputs, limit))
        # The graphs before and after use the same names inside; those of inputs and outputs are the spec's.
        after = compose.add_prefix(after, "picking/", rename_inputs=False, rename_outputs=False)
        model = compose.merge_models(before, self._middle(), io_map=[("pixels", _PREFIX + network.input)])
        model = compose.merge_models(model, after, io_map=[(_PREFIX + network.output, "found")])
        versions = {entry.domain: entry.version for entry in model.opset_import}
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(*entry) for entry in versions.items())
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, network.notices)
        self._check(model)
        return model

    def _middle(self) -> onnx.ModelProto:
        """The file in OPSET, every name with the prefix, without shapes: the other graphs' are narrower."""
        model = version_converter.convert_version(self.network.model, OPSET)
        model.ir_version = IR_VERSION
        del model.metadata_props[:]
        del model.graph.value_info[:]
        return compose.add_prefix(model, _PREFIX)

    def _check(self, model: onnx.ModelProto) -> None:
        there = {tensor.name: tensor for tensor in model.graph.initializer}
        for tensor in self.network.model.graph.initializer:
            kept = there.get(_PREFIX + tensor.name)
            if kept is None or not np.array_equal(numpy_helper.to_array(kept), numpy_helper.to_array(tensor)):
                raise ParityError(
                    f"detector: weight {tensor.name} of {self.network.path} is not in the graph"
                )


class _Before(nn.Module):
    def __init__(self, detector: UltralyticsDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> Tensor:
        return self.detector.prepare(image)


class _After(nn.Module):
    def __init__(self, detector: UltralyticsDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.detector.pick(found)


def _traced(module: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    with TemporaryDirectory(prefix="reroom-detector-") as scratch:
        path = Path(scratch, "model.onnx")
        export_onnx(module.eval(), spec, path)
        return onnx.load(path)
