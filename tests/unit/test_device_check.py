"""The check of a GPU, on one that is pretended: what it compares, and that it finds what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import device_check, device_program
from benchmarks.device_check import Graph, checked, prepared
from measuring.releases import find_release
from runners import Array
from tests.support import pretend_gpu
from tests.support.pretend_gpu import PretendGpu


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> list[Graph]:
    graphs = prepared(find_release("tiny"), tmp_path_factory.mktemp("inputs"))
    assert {graph.spec.name for graph in graphs} == {
        path.name for path in (find_release("tiny").folder / "models").iterdir()
    }
    (graph,) = (graph for graph in graphs if graph.spec.name == "denoiser")
    # Without the full batch, which takes longest.
    return [replace(graph, cases=graph.cases[::2])]


def check(graphs: list[Graph], gpu: PretendGpu) -> dict[str, Any]:
    document = checked(graphs, 0.0, lambda plan: device_program.measure(plan, gpu))
    (found,) = document["graphs"].values()
    return dict(found)


def test_a_gpu_that_computes_the_same_passes(denoiser: list[Graph]) -> None:
    found = check(denoiser, PretendGpu())
    assert (found["recorded"], found["said"]) == (2, [])
    assert [case["case"].partition(",")[0] for case in found["cases"]] == ["batch 1", "batch 1"]
    for case in found["cases"]:
        assert case["wrong"] == []
        assert set(case["seconds"]) == {"cpu", "cuda", "graphs"}
        assert set(case["largest_difference"]) == {"latents_next", "x0"}
        assert set(case["share_of_tolerance"].values()) == {0.0}


def test_a_replay_of_stale_inputs_is_found(denoiser: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    def update_once(buffer: pretend_gpu.Buffer, array: Array) -> None:
        if not buffer.array.any():
            buffer.array[...] = array

    monkeypatch.setattr(pretend_gpu.Buffer, "update_inplace", update_once)
    found = check(denoiser, PretendGpu())
    for case in found["cases"]:
        assert case["wrong"]
        assert all(sentence.startswith("graphs: denoiser.") for sentence in case["wrong"])
    sentences = list(device_check.sentences({"tiny": {"denoiser": found}}))
    assert sentences[0].startswith("tiny denoiser: graphs: denoiser.latents_next")


def test_without_a_gpu_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["device_check", "--environment", str(tmp_path), "--out", str(tmp_path / "out.json")]
    monkeypatch.setattr("sys.argv", arguments)
    assert device_check.main() == device_check.NO_GPU
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith(
        f"nothing was measured: the onnxruntime in {tmp_path} is the one without CUDA: install"
    )
    assert not (tmp_path / "out.json").exists()
