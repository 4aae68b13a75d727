"""What NVIDIA's native ONNX Runtime backend asks of a model, since the embedded one, which serves here, asks for less.

It compares shapes of config.pbtxt and graph at load time, batch dimension included, and takes only a graph whose first
dimensions are free when the configuration batches.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]

from tests.conftest import ROOT
from tests.support.triton_configs import parse_config, read_config, tensor_types

CONFIGS = sorted(
    [*ROOT.glob("model_repository/*/config.pbtxt"), *ROOT.glob("releases/*/models/*/config.pbtxt")]
)
GRAPHS = sorted(ROOT.glob("releases/*/models/*/*/model.onnx"))
TRITON_TYPES = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.UINT8: "UINT8",
}
FREE = -1


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_tritons_schema_knows_every_field(file: Path) -> None:
    config = read_config(file)
    assert config.name == file.parent.name
    with pytest.raises(text_format.ParseError):
        parse_config(file.read_text() + "\nno_such_field: 1\n")


@pytest.mark.parametrize("file", GRAPHS, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_the_native_backend_would_take_the_graph(file: Path) -> None:
    config = read_config(file.parents[1] / "config.pbtxt")
    assert config.backend == "onnxruntime"
    graph = onnx.load(file, load_external_data=False).graph
    for tensors, values in ((config.input, graph.input), (config.output, graph.output)):
        types = {value.name: value.type.tensor_type for value in values}
        assert {name: TRITON_TYPES[found.elem_type] for name, found in types.items()} == tensor_types(tensors)
        for tensor in tensors:
            shape = [dim.dim_value or FREE for dim in types[tensor.name].shape.dim]
            batch = [FREE] if config.max_batch_size else []
            assert shape == [*batch, *tensor.dims], tensor.name
