"""The count of operations: of the modules, against that of the graphs that were exported from them."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.flops import FlopCounter
from export.bundle import load_bundle
from export.releases.specs import graph_file, release_specs
from tests.conftest import RELEASE
from tests.support.releases import read_document

DOCUMENT = read_document(RELEASE)
GRAPHS = list(DOCUMENT["models"])


@pytest.fixture(scope="module")
def counter() -> FlopCounter:
    return FlopCounter(load_bundle("tiny"))


def of_graph(name: str, rows: int, folder: Path) -> int:
    """Operations of the kernels and matrices of an exported graph, from the shapes that ONNX Runtime saw in a run."""
    inputs = release_specs(DOCUMENT)[name].example(1)
    if "text" in inputs:
        inputs["text"] = inputs["text"][:, :rows]
    options = onnxruntime.SessionOptions()
    # Optimised, it would run other operators than those of the file.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "run")
    file = graph_file(RELEASE, DOCUMENT, name)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    session.run(None, inputs)
    graph = onnx.load(file).graph
    kernels = {each.name: prod(each.dims[1:]) for each in graph.initializer}
    convolutions = {node.name: kernels[node.input[1]] for node in graph.node if node.op_type == "Conv"}
    total = 0
    for event in json.loads(Path(session.end_profiling()).read_text()):
        seen = event.get("args", {})
        if seen.get("op_name") in ("Conv", "MatMul", "Gemm") and "output_type_shape" in seen:
            (output,), (first, *_) = (
                [next(iter(each.values())) for each in seen[name]]
                for name in ("output_type_shape", "input_type_shape")
            )
            # What is summed for a number: the kernel [in, h, w], or a row of the first matrix.
            summed = convolutions.get(event["name"].removesuffix("_kernel_time"), first[-1])
            total += 2 * prod(output) * summed
    return total


@pytest.mark.parametrize(
    ("graph", "rows"), [*((name, 2) for name in GRAPHS), ("denoiser", 1), ("denoiser_few_step", 1)]
)
def test_modules_count_as_their_graphs(counter: FlopCounter, graph: str, rows: int, tmp_path: Path) -> None:
    # Constants are computed when a graph is exported, and no more when it runs.
    assert of_graph(graph, rows, tmp_path) == pytest.approx(counter.flops(graph, rows), rel=0.02)


def test_a_picture_is_the_sum_of_its_calls(counter: FlopCounter) -> None:
    kinds = load_bundle("tiny").kinds
    best, draft = counter.picture(kinds["best"]), counter.picture(kinds["draft"])
    assert best["denoiser"] == 8 * counter.flops("denoiser", 2)
    assert draft["denoiser_few_step"] == 4 * counter.flops("denoiser_few_step", 1)
    assert best["depth"] == 2 * counter.flops("depth"), "the result is looked at too"
    assert (draft.keys() ^ best.keys()) == {"denoiser", "denoiser_few_step", "vae_decoder", "tiny_decoder"}
    seen = counter.picture(kinds["best"], seen=True)
    assert sum(best.values()) - sum(seen.values()) == counter.flops("depth") + counter.flops("detector")
    assert np.array_equal(counter.steps(kinds["standard"]), (3, 2))
