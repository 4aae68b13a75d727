"""ONNX graphs of one or two nodes, and their specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from export.spec import Axis, ModelSpec, Tensor

SIDE = Axis("H", 16, 8, 32)
TYPES = {"UINT8": TensorProto.UINT8, "FP32": TensorProto.FLOAT}


def spec_of(kind: str, *dims: int | Axis) -> ModelSpec:
    """One input x and one output y, of the same type and shape."""
    return ModelSpec(
        "small",
        "onnxruntime",
        (Tensor("x", kind, dims),),
        (Tensor("y", kind, dims),),
        max_batch_size=4,
    )


def write_graph(path: Path, spec: ModelSpec, *nodes: onnx.NodeProto, batch: int | str = "batch") -> Path:
    """A graph of ``nodes`` from x to y, with a matrix w of ones, 4 × 4."""
    (x,), (y,) = spec.inputs, spec.outputs
    values = [
        helper.make_tensor_value_info(
            tensor.name,
            TYPES[tensor.dtype],
            [batch, *(dim.name if isinstance(dim, Axis) else dim for dim in tensor.dims)],
        )
        for tensor in (x, y)
    ]
    ones = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [1.0] * 16)
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], [ones])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def node(name: str, kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name, **attributes)
