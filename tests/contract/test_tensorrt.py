"""TensorRT's gate: it passes the committed graphs, and what TensorRT cannot read it refuses by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto

from export.proofs.tensorrt import check_graph, main
from tests.conftest import RELEASE
from tests.support.releases import read_document
from tests.support.small_graphs import SIDE, node, spec_of, write_graph


@pytest.mark.slow
def test_every_graph_of_the_committed_release_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(RELEASE)]) == 0
    rows = capsys.readouterr().out
    graphs = read_document(RELEASE)["models"]
    for graph in graphs:
        assert f"│ {graph}" in rows
    assert rows.count("80 86 89") == len(graphs)


def test_bytes_that_are_transposed_are_refused_by_name(tmp_path: Path) -> None:
    spec = spec_of("UINT8", SIDE, SIDE)
    path = write_graph(
        tmp_path / "model.onnx", spec, node("turn_bytes", "Transpose", "x", "y", perm=[0, 2, 1])
    )
    verdict = check_graph(path, spec, (75, 80))
    assert not verdict.parsed
    assert verdict.refused == (75, 80)
    assert "Transpose turn_bytes: " in verdict.error
    assert "UInt8" in verdict.error


def test_halves_beside_floats_are_refused_by_name(tmp_path: Path) -> None:
    """As converters leave them; a graph is exported from half modules instead."""
    spec = spec_of("FP32", 4)
    nodes = (
        node("to_half", "Cast", "x", "half", to=TensorProto.FLOAT16),
        node("uneven", "MatMul", "half w", "y"),
    )
    verdict = check_graph(write_graph(tmp_path / "model.onnx", spec, *nodes), spec, (80,))
    assert not verdict.parsed
    assert "MatMul uneven: " in verdict.error
    assert "Half" in verdict.error


def test_the_gpus_that_a_graph_does_not_compile_for_are_named(tmp_path: Path) -> None:
    spec = spec_of("FP32", SIDE, 4)
    path = write_graph(tmp_path / "model.onnx", spec, node("product", "MatMul", "x w", "y"))
    verdict = check_graph(path, spec, (80, 75, 86))
    assert verdict.parsed
    assert verdict.refused == (75,)
    assert "'product' for Turing (SM75): FP32 GEMM is not supported" in verdict.error
    assert check_graph(path, spec, (80, 86)).refused == ()


def test_a_graph_that_takes_one_batch_only_is_refused(tmp_path: Path) -> None:
    spec = spec_of("FP32", SIDE)
    path = write_graph(tmp_path / "model.onnx", spec, node("same", "Relu", "x", "y"), batch=3)
    verdict = check_graph(path, spec, (80,))
    assert (verdict.parsed, verdict.refused) == (True, (80,))
    assert "profile has min=1, opt=1, max=4 but tensor has 3" in verdict.error


def test_a_graph_with_other_tensors_than_the_contract_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.onnx", spec_of("FP32", 4), node("same", "Relu", "x", "y"))
    verdict = check_graph(path, spec_of("UINT8", 4), (80,))
    assert verdict.refused == (80,)
    assert verdict.error == "its inputs are not those of the contract: x FP32, x UINT8"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere"], "there is no release in /nowhere"),
        ([str(RELEASE), "--capability", "70"], "does not know the compute capability 70"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
