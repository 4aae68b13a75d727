"""Weights in half the space: FP16 initializers, each with a Cast to FP32 behind it.

Runtimes fold the casts when they load the graph, so it computes in FP32 with the same numbers as before. Only weights
that FP16 holds exactly are stored so. A bundle with ``stored = "fp16"`` rounds its weights when they are loaded
(``export.networks.load``), so torch, whose outputs the graph is compared with, runs on the rounded ones too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

SMALLEST = 64
"""Elements: for fewer, the Cast takes more bytes than it saves."""

_SUFFIX = ".fp16"


def is_fp16(array: np.ndarray) -> bool:
    """Whether FP16 holds every number of an FP32 array exactly."""
    # Numbers too large for FP16 become infinite, which is not equal either.
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float16).astype(np.float32), array))


def halve(model: onnx.ModelProto) -> None:
    """Store the FP32 initializers of ``model`` that FP16 holds exactly as FP16; nodes that read them see no change."""
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


def stored_weights(path: Path) -> dict[str, np.ndarray]:
    """:func:`weights_of` for a file; weights that lie in a second file are mapped, not read."""
    model = onnx.load(path, load_external_data=False)
    apart = {tensor.name: tensor for tensor in model.graph.initializer if uses_external_data(tensor)}
    mapped = {name: _mapped(tensor, path.parent) for name, tensor in apart.items()}
    inline = [tensor for tensor in model.graph.initializer if tensor.name not in apart]
    del model.graph.initializer[:]
    model.graph.initializer.extend(inline)
    return mapped | weights_of(model)


def _mapped(tensor: TensorProto, folder: Path) -> np.ndarray:
    where = ExternalDataInfo(tensor)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(folder / where.location, dtype, "r", where.offset or 0, tuple(tensor.dims))


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The initializers by name; those that :func:`halve` stored as FP16 under their former name, in FP32."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights and node.input[0].endswith(_SUFFIX):
            weights[node.output[0]] = weights.pop(node.input[0]).astype(np.float32)
    return weights
