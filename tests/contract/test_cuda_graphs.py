"""What a graph must not have, or ONNX Runtime refuses to record it as a CUDA graph; as far as that shows without a GPU.

It refuses control flow, and every copy between CPU and GPU within the graph. Arithmetic on shapes runs on the CPU, and
operators such as Reshape read its results there; one that enters any other input would be copied.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.conftest import ROOT
from tests.support.triton_configs import read_config

READ_ON_THE_CPU = {
    "ConstantOfShape": {0},
    "Expand": {1},
    "Pad": {1},
    "Range": {0, 1, 2},
    "Reshape": {1},
    "Resize": {1, 2, 3},
    "Slice": {1, 2, 3, 4},
    "Split": {1},
    "Squeeze": {1},
    "Tile": {1},
    "Unsqueeze": {1},
}
"""Inputs that ONNX Runtime's CUDA kernels want in the host's memory."""
ARITHMETIC = {
    *(
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Equal",
        "Floor",
        "Gather",
        "Identity",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Reshape",
    ),
    *("Slice", "Squeeze", "Sub", "Unsqueeze", "Where"),
}


def recorded() -> list[Path]:
    """The graphs whose configuration lets them be recorded."""
    configs = ROOT.glob("releases/*/models/*/config.pbtxt")
    folders = [file.parent for file in configs if "cuda_graphs" in read_config(file).parameters]
    return sorted(file for folder in folders for file in folder.glob("*/model.onnx"))


def copies(graph: onnx.GraphProto) -> list[str]:
    """Operators on the GPU that are given results of arithmetic on shapes."""
    constants = {each.name for each in graph.initializer}
    shapes: set[str] = set()
    found = []
    for node in graph.node:
        given = {position for position, name in enumerate(node.input) if name in shapes}
        elsewhere = given - READ_ON_THE_CPU.get(node.op_type, set())
        alone = all(name in shapes or name in constants for name in node.input)
        if node.op_type in ("Shape", "Size") or (elsewhere and alone and node.op_type in ARITHMETIC):
            shapes.update(node.output)
        elif elsewhere:
            found.append(f"{node.op_type} {node.name}")
    return found


@pytest.mark.parametrize("file", recorded(), ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_a_graph_that_may_be_recorded_has_nothing_that_forbids_it(file: Path) -> None:
    graph = onnx.load(file, load_external_data=False).graph
    operators = {node.op_type for node in graph.node}
    assert not operators & {"If", "Loop", "Scan", "NonZero"}
    assert copies(graph) == []


def test_the_denoisers_may_be_recorded() -> None:
    assert {file.parents[1].name for file in recorded()} == {"denoiser", "denoiser_few_step"}
    assert {file.parents[3].name for file in recorded()} == {"tiny", "dollhouse"}


def test_a_copy_is_found() -> None:
    node = onnx.helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Cast", ["shape"], ["sides"], to=1),
        node("Mul", ["x", "sides"], ["y"]),
    ]
    assert copies(onnx.helper.make_graph(nodes, "g", [], [])) == ["Mul "]
    reshape = [nodes[0], node("Gather", ["shape", "first"], ["rows"]), node("Reshape", ["x", "rows"], ["y"])]
    first = onnx.helper.make_tensor("first", onnx.TensorProto.INT64, [1], [0])
    assert copies(onnx.helper.make_graph(reshape, "g", [], [], [first])) == []
