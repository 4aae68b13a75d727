"""A torch module and its spec → an ONNX file with dynamic batch and dynamic sides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import onnx
import onnx_ir
import torch
from torch import nn

from export.bundle import Stored
from export.graphs.fp16_initializers import halve, stored_weights
from export.networks.precision import computes_in_half, safe_attention
from export.proofs.parity import ParityError, check_weights
from export.spec import Axis, ModelSpec

OPSET = 18
"""The newest that all runtimes in CONTRIBUTING's table of versions read (with ONNX IR 10)."""
IR_VERSION = 10

INLINE_LIMIT = 1_500_000_000
"""Bytes: a protobuf message cannot exceed 2 GB."""

SMALL = 1024
"""Bytes: smaller tensors stay in the graph's own file."""

EXAMPLE_BATCH = 3
"""Not 1 or 2: torch.export treats sizes 0 and 1 as constants, and 2 is the guidance pair."""


@runtime_checkable
class HasGraph(Protocol):
    """A module whose network is a graph already, so that there is nothing to trace."""

    def write_onnx(self, spec: ModelSpec) -> onnx.ModelProto:
        """The graph of ``spec``, in OPSET. Raises ParityError when it lacks weights of the network's."""


def export_onnx(module: nn.Module, spec: ModelSpec, path: Path, stored: Stored = "fp32") -> list[str]:
    """Trace ``module`` with the spec's examples and write ``path``: the module as it computes, in FP32 or with
    :func:`halve_module`'s FP16 inside.

    With ``stored`` = "fp16" the weights that FP16 holds exactly take half the space (see
    ``export.graphs.fp16_initializers``). Weights of more than INLINE_LIMIT bytes go to a second file, tensor by tensor.

    Returns the names of the parameters that the optimiser folded into constants. Raises ParityError when a parameter
    that the outputs depend on is missing before that, or any is changed at any time.
    """
    if isinstance(module, HasGraph):
        save_onnx(module.write_onnx(spec), path)
        return []
    example = {name: torch.from_numpy(array) for name, array in spec.example(EXAMPLE_BATCH).items()}
    with safe_attention() if computes_in_half(module) else nullcontext():
        program = torch.onnx.export(
            module,
            kwargs=example,
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(spec),
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    assert program.exported_program is not None
    used = _used_parameters(program.exported_program)
    initializers = program.model.graph.initializers
    absent = check_weights(spec.name, dict(_arrays(initializers)), module, used)
    if absent:
        raise ParityError(f"{spec.name}: the exporter lost the weights {', '.join(absent)}")
    program.optimize()
    program.model.ir_version = IR_VERSION
    _clear_traces(program.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if sum(array.nbytes for _, array in _arrays(initializers)) > INLINE_LIMIT:
        _save_apart(program.model, path)
    else:
        model = program.model_proto
        if stored == "fp16":
            halve(model)
        save_onnx(model, path)
    return check_weights(spec.name, stored_weights(path), module, used)


def _arrays(initializers: Mapping[str, onnx_ir.Value]) -> Iterator[tuple[str, np.ndarray]]:
    """The initializers, which share torch's memory."""
    for name, value in initializers.items():
        assert value.const_value is not None
        yield name, value.const_value.numpy()


def save_onnx(model: onnx.ModelProto, path: Path, inline_limit: int = INLINE_LIMIT) -> None:
    """Write ``path``, and check it; weights of more than ``inline_limit`` bytes go to ``model.onnx.data`` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights > inline_limit:
        onnx.save_model(
            model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=SMALL
        )
    else:
        onnx.save_model(model, path)
    # By path: a model in memory could not be checked beyond 2 GB.
    onnx.checker.check_model(path)


def _save_apart(model: onnx_ir.Model, path: Path) -> None:
    """As :func:`save_onnx`, from onnx-ir's form, whose weights are torch's own: no second copy of them is in memory."""
    onnx_ir.save(model, path, external_data=f"{path.name}.data", size_threshold_bytes=SMALL)
    onnx.checker.check_model(path)


def _used_parameters(program: torch.export.ExportedProgram) -> set[str]:
    """Parameters that an output depends on; others need not be in the file."""
    parameters = program.graph_signature.inputs_to_parameters
    waiting = [program.graph.output_node()]
    live = set(waiting)
    while waiting:
        waiting = [node for user in waiting for node in user.all_input_nodes if node not in live]
        live |= set(waiting)
    return {parameters[node.name] for node in live if node.op == "placeholder" and node.name in parameters}


def _dynamic_shapes(spec: ModelSpec) -> dict[str, dict[int, Any]]:
    """torch.export's view of the spec: which dimension of which input is which axis."""
    axes: dict[str, Any] = {"batch": torch.export.Dim("batch", min=1, max=max(spec.max_batch_size, 2))}

    def axis(dim: Axis) -> Any:
        # Named dimensions would have to state every relation between sides; with AUTO the trace finds H = 8·h.
        return axes.setdefault(dim.name, torch.export.Dim.AUTO)

    shapes: dict[str, dict[int, Any]] = {}
    for tensor in spec.inputs:
        shapes[tensor.name] = {0: axes["batch"]}
        shapes[tensor.name] |= {i: axis(dim) for i, dim in enumerate(tensor.dims, 1) if isinstance(dim, Axis)}
    return shapes


def _clear_traces(model: onnx_ir.Model) -> None:
    """Remove traces of the exporting machine: stack traces with paths, in metadata and doc strings."""
    graphs: list[onnx_ir.Graph | onnx_ir.Function] = [model.graph, *model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
    for key, text in model.metadata_props.items():
        model.metadata_props[key] = re.sub(r"/\S+", "", text)
