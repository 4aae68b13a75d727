"""Weights in half the space: FP16 initializers, each with a Cast to FP32 behind it.

Runtimes fold the casts when they load the graph, so it computes in FP32 with the same numbers as before. Only what
FP16 holds exactly is stored so: a bundle that wants small files rounds its weights when it loads them
(``export.models.load``), and torch, whose answers the graph is compared with, runs on the rounded ones too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 64
"""Elements. For fewer, the Cast takes more bytes than it saves."""

_SUFFIX = ".fp16"


def is_fp16(array: np.ndarray) -> bool:
    """Whether every number of an FP32 array is one of FP16."""
    # What is too large for FP16 becomes infinite there, which is not equal either.
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float16).astype(np.float32), array))


def halve(model: onnx.ModelProto) -> None:
    """Store the FP32 initializers of ``model`` that FP16 holds exactly as FP16; their readers see no difference."""
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < SMALLEST or not is_fp16(array):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), name + _SUFFIX))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The initializers by name; those behind a Cast as FP32 under the name of its output, as their readers see them."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights and node.input[0].endswith(_SUFFIX):
            weights[node.output[0]] = weights.pop(node.input[0]).astype(np.float32)
    return weights
