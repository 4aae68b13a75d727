"""The bundle `dollhouse`: its file agrees with the training, its committed release with the kept networks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from dollhouse.data.captions import PALETTE_WORDS
from dollhouse.evaluate import facts
from dollhouse.render.rooms import LABELS
from dollhouse.train import perception, restyling, sampling, weights
from export.bundle import BUNDLES, NETWORKS, BundleError, Measured, Weights, load_bundle, preview_matrix
from export.graphs.fp16_initializers import SMALLEST, is_fp16
from export.networks.load import load_networks
from export.release import build_release
from export.releases.folder import live_version
from export.sources.weights_from_graphs import copy_network
from restyle import palette
from restyle.release import load_release
from tests.conftest import RELEASE, ROOT
from tests.support.releases import read_document, write_document
from tests.support.reproduction import assert_reproduced

LIVE = ROOT / "releases" / "dollhouse"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_the_exporter_reproduces_the_committed_release(tmp_path: Path) -> None:
    """From the networks that are kept beside the bundle's file."""
    assert_reproduced(build_release(load_bundle("dollhouse"), tmp_path, live_version(LIVE)), LIVE)


def test_the_committed_release_was_made_of_the_kept_networks(tmp_path: Path) -> None:
    """To the byte as ``keep`` wrote them, though the repository has them in the release's graphs only."""
    assert not list(weights.KEPT.rglob("*.safetensors")), (
        "pack them: python -m export.sources.weights_from_graphs dollhouse"
    )
    for name in NETWORKS:
        copy_network(weights.KEPT / name, tmp_path / name)
    files = tmp_path.glob("*/*.safetensors")
    kept = {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert kept == weights.digests(tmp_path) == facts.released_weights(LIVE)


def test_a_training_can_begin_with_the_kept_networks(tmp_path: Path) -> None:
    start = weights.begin(tmp_path / "run", weights.KEPT)
    assert start is not None
    assert weights.digests(start) == facts.released_weights(LIVE)


def test_the_bundle_is_what_the_training_keeps() -> None:
    bundle = load_bundle("dollhouse")
    found = {name: BUNDLES / str(network.path) for name, network in bundle.networks.items()}
    assert found == {name: weights.KEPT / name for name in found}
    assert isinstance(bundle.preview_matrix, Measured)
    assert BUNDLES / bundle.preview_matrix.path == weights.KEPT / "facts.json"
    schedule = bundle.schedule
    assert (schedule.beta_start, schedule.beta_end) == (sampling.BETA_START, sampling.BETA_END)
    assert (schedule.train_steps, schedule.prediction) == (sampling.TRAIN_STEPS, "v_prediction")
    assert bundle.tokenizer == restyling.TOKENIZER
    assert bundle.object_threshold == perception.SURE
    assert PALETTE_WORDS == palette.WORDS, "captions and prompts name palettes in different words"


def test_missing_weights_are_one_sentence_with_the_command(tmp_path: Path) -> None:
    bundle = load_bundle("dollhouse")
    networks = bundle.networks | {"vae": Weights(path=str(tmp_path / "vae"))}
    with pytest.raises(BundleError, match=r"^networks\.vae: there is no .*/vae: run `make dollhouse`$"):
        load_networks(msgspec.structs.replace(bundle, networks=networks))
    nowhere = Measured(path=str(tmp_path / "facts.json"), key="preview_matrix")
    with pytest.raises(BundleError, match=r"^preview_matrix: there is no .*json: run `make dollhouse`$"):
        build_release(msgspec.structs.replace(bundle, preview_matrix=nowhere), tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []
    for content in ("{}", "[]", "{", '{"preview_matrix": [["red"]]}'):
        (tmp_path / "facts.json").write_text(content)
        with pytest.raises(BundleError, match=r"^preview_matrix: .*facts\.json has no preview_matrix"):
            preview_matrix(msgspec.structs.replace(bundle, preview_matrix=nowhere))


def test_restyle_reads_what_the_export_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the committed release, which an export writes again to the byte."""
    bundle = load_bundle("dollhouse")
    monkeypatch.setenv("REROOM_RELEASE", str(LIVE))
    read = load_release()
    assert (read.name, read.vae_factor, read.labels) == (f"dollhouse-{live_version(LIVE)}", 4, list(LABELS))
    assert read.prediction == "v_prediction"
    np.testing.assert_allclose(read.alphas, sampling.alphas_cumprod().numpy(), rtol=1e-5)
    np.testing.assert_allclose(read.preview_matrix, preview_matrix(bundle), rtol=1e-6)
    given = msgspec.to_builtins(bundle.defaults)
    assert {name: getattr(read.defaults, name) for name in given} == {
        name: getattr(bundle.defaults, name) for name in given
    }
    assert all(height % 8 == 0 and width % 8 == 0 for height, width in read.buckets)
    document = read_document(LIVE)
    assert document["precision"] == "fp32"
    assert {model["stored"] for model in document["models"].values()} == {"fp16"}


def test_the_graphs_hold_every_large_weight_in_half() -> None:
    """But for the depth model's convolutions, whose standardised weights are constants of the graph."""
    parameters = [
        parameter
        for net in load_networks(load_bundle("dollhouse")).values()
        for parameter in net.parameters()
    ]
    large = sum(parameter.numel() for parameter in parameters if parameter.numel() >= SMALLEST)
    halves, wholes = 0, {}
    for name, model in read_document(LIVE)["models"].items():
        file = LIVE / "models" / name / str(model["version"]) / "model.onnx"
        graph = onnx.load(file).graph
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        halves += sum(array.size for array in arrays.values() if array.dtype == np.float16)
        floats = [array for array in arrays.values() if array.dtype == np.float32 and array.size >= SMALLEST]
        assert not any(map(is_fp16, floats)), file
        wholes[name] = sum(array.size for array in floats)
        kinds = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
        assert TensorProto.FLOAT16 not in kinds
    assert halves >= 0.9 * large
    assert {name for name, size in wholes.items() if size} == {"depth"}


def test_a_release_names_a_prediction_that_restyle_knows_or_means_epsilon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = read_document(RELEASE)
    assert "prediction" not in document["schedule"]
    monkeypatch.setenv("REROOM_RELEASE", str(RELEASE))
    assert load_release().prediction == "epsilon"
    for prediction in ("sample", 1, None):
        document["schedule"]["prediction"] = prediction
        monkeypatch.setenv("REROOM_RELEASE", str(write_document(tmp_path, document)))
        with pytest.raises(
            ValueError, match=r"release\.json is not .*schedule\.prediction is .*v_prediction"
        ):
            load_release()
