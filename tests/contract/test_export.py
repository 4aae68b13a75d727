"""The export: its proofs can fail, and it reproduces what is committed."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import msgspec
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.__main__ import main
from export.bundle import BundleError, Weights, load_bundle
from export.contract import graph_specs, python_specs
from export.models.load import load_networks
from export.onnx import export_onnx, save_onnx
from export.parity import ParityError, check_outputs, check_weights, references
from export.publish import check_unpublished, publish
from export.release import buckets, build_release
from export.spec import Axis, ModelSpec, Tensor
from export.triton_config import config_text
from tests.conftest import RELEASE, ROOT
from tests.support.reproduction import GRAPHS, SIZES, assert_reproduced


@pytest.mark.filterwarnings("ignore")
def test_the_exporter_reproduces_the_committed_release(tmp_path: Path) -> None:
    made = build_release(load_bundle("tiny"), tmp_path, version=1)
    assert_reproduced(made, RELEASE)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"], "staging was left behind"
    with pytest.raises(FileExistsError, match="never changed"):
        build_release(load_bundle("tiny"), tmp_path, version=1)


def test_the_committed_release_is_small_and_is_what_it_says() -> None:
    facts = json.loads((RELEASE / "release.json").read_text())["models"]
    assert set(facts) == set(GRAPHS)
    graphs = {name: (RELEASE / "models" / name / "1" / "model.onnx").read_bytes() for name in facts}
    assert sum(map(len, graphs.values())) <= 5_000_000
    for name, graph in graphs.items():
        assert facts[name]["sha256"] == {"model.onnx": hashlib.sha256(graph).hexdigest()}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_and_its_configuration_follow_the_spec(name: str) -> None:
    spec = graph_specs(SIZES)[name]
    folder = RELEASE / "models" / name
    assert (folder / "config.pbtxt").read_text() == config_text(spec)
    graph = onnx.load(folder / "1" / "model.onnx")
    assert graph.ir_version <= 10
    assert max(domain.version for domain in graph.opset_import if domain.domain == "") <= 18
    assert [value.name for value in graph.graph.input] == [tensor.name for tensor in spec.inputs]
    assert [value.name for value in graph.graph.output] == [tensor.name for tensor in spec.outputs]
    text = (folder / "1" / "model.onnx").read_bytes()
    assert b"site-packages" not in text, "the graph tells of the machine that exported it"


@pytest.mark.parametrize("name", list(python_specs()))
def test_the_python_models_configurations_follow_their_specs(name: str) -> None:
    committed = (ROOT / "model_repository" / name / "config.pbtxt").read_text()
    assert committed == config_text(python_specs()[name])


def test_every_model_of_the_repository_is_described() -> None:
    """A model without a spec would be a contract that nobody checks."""
    folders = {
        path.name for root in (ROOT / "model_repository", RELEASE / "models") for path in root.iterdir()
    }
    assert folders == set(GRAPHS) | set(python_specs())


class Doubler(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
        self.unused = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight)


DOUBLER = ModelSpec(
    "doubler", "onnxruntime", (Tensor("x", "FP32", (4,)),), (Tensor("y", "FP32", (3,)),), max_batch_size=4
)


@pytest.fixture
def doubler(tmp_path: Path) -> tuple[Doubler, Path]:
    module = Doubler().requires_grad_(False)
    export_onnx(module, DOUBLER, tmp_path / "model.onnx")
    return module, tmp_path / "model.onnx"


@pytest.mark.filterwarnings("ignore")
def test_parity_finds_a_weight_that_is_a_little_off(doubler: tuple[Doubler, Path]) -> None:
    module, path = doubler
    cases = references(module, DOUBLER)
    assert check_outputs(DOUBLER, path, cases)["y"] < 1e-4
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if numpy_helper.to_array(tensor).size == 12)
    array = numpy_helper.to_array(weight).copy()
    array.flat[5] *= 1.0001
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, path)
    with pytest.raises(ParityError, match="weight weight was changed"):
        check_weights("doubler", model, module, {"weight"})
    with pytest.raises(ParityError, match=r"doubler\.y: differs from torch by"):
        check_outputs(DOUBLER, path, cases)


@pytest.mark.filterwarnings("ignore")
def test_parity_finds_a_weight_that_is_gone_and_one_that_was_transposed(
    doubler: tuple[Doubler, Path],
) -> None:
    module, path = doubler
    model = onnx.load(path)
    del model.graph.initializer[:]
    assert check_weights("doubler", model, module, {"weight"}) == ["weight"]
    shuffled, transposed = module.weight.numpy()[::-1, ::-1].T.copy(), module.weight.numpy().T.copy()
    model.graph.initializer.append(numpy_helper.from_array(shuffled, "val_0"))
    assert check_weights("doubler", model, module, {"weight"}) == ["weight"]
    model.graph.initializer.append(numpy_helper.from_array(transposed, "val_1"))
    assert check_weights("doubler", model, module, {"weight"}) == []


@pytest.mark.filterwarnings("ignore")
def test_weights_too_large_for_one_message_lie_beside_the_graph(tmp_path: Path) -> None:
    sizes = (Tensor("input", "FP32", (64,)),), (Tensor("y", "FP32", (64,)),)
    spec = ModelSpec("square", "onnxruntime", *sizes, max_batch_size=4)
    module = torch.nn.Linear(64, 64).requires_grad_(False)
    export_onnx(module, spec, tmp_path / "whole.onnx")
    apart = tmp_path / "apart" / "model.onnx"
    save_onnx(onnx.load(tmp_path / "whole.onnx"), apart, inline_limit=100)
    assert sorted(file.name for file in apart.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert check_outputs(spec, apart, references(module, spec))["y"] < 1e-4


def test_a_version_is_published_beside_the_ones_before(tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    for version in (1, 2):
        staging = tmp_path / "staging"
        for file in ("models/denoiser/config.pbtxt", f"models/denoiser/{version}/model.onnx"):
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).write_text(f"{file} of {version}")
        (staging / f"versions/{version}").mkdir(parents=True)
        (staging / f"versions/{version}/release.json").write_text(f"release {version}")
        check_unpublished(target, version)
        publish(staging, target, version)
    for version in (1, 2):
        assert (target / f"models/denoiser/{version}/model.onnx").read_text().endswith(f" of {version}")
        assert (target / f"versions/{version}/release.json").read_text() == f"release {version}"
        with pytest.raises(FileExistsError, match=f"has a version {version} already"):
            check_unpublished(target, version)
    assert (target / "models/denoiser/config.pbtxt").read_text().endswith(" of 2")
    assert (target / "release.json").read_text() == "release 2"


@pytest.mark.filterwarnings("ignore")
def test_a_bundle_says_how_far_floats_may_differ(tmp_path: Path) -> None:
    strict = msgspec.structs.replace(load_bundle("tiny"), tolerance=0.0)
    with pytest.raises(ParityError, match=r"differs from torch by .*, allowed 0"):
        build_release(strict, tmp_path, version=1)
    assert not list(tmp_path.iterdir())


def test_hints_that_shrink_otherwise_than_the_vae_are_refused() -> None:
    bundle = load_bundle("tiny")
    wrong = dict(
        bundle.networks["controlnet_depth"].config or {}, conditioning_embedding_out_channels=[8, 8, 16]
    )
    networks = bundle.networks | {
        "controlnet_depth": msgspec.structs.replace(bundle.networks["controlnet_depth"], config=wrong)
    }
    with pytest.raises(BundleError, match="controlnet_depth shrinks its hint by 4, the VAE by 8"):
        load_networks(msgspec.structs.replace(bundle, networks=networks))


@pytest.mark.filterwarnings("ignore")
def test_weights_in_a_folder_are_loaded_as_from_the_hub(tmp_path: Path) -> None:
    """The Hub cannot be reached in tests; a local folder takes the same way, ``from_pretrained``."""
    bundle = load_bundle("tiny")
    made = load_networks(bundle)
    folders = {}
    for name, network in made.items():
        network.save_pretrained(tmp_path / name)
        folders[name] = Weights(path=str(tmp_path / name))
    loaded = load_networks(msgspec.structs.replace(bundle, networks=folders))
    for name, network in made.items():
        theirs = loaded[name].state_dict()
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, theirs[key]), f"{name}.{key}"
        assert not loaded[name].training


def test_weights_that_cannot_be_loaded_are_named_in_one_sentence(tmp_path: Path) -> None:
    bundle = load_bundle("tiny")
    for weights, words in (
        (Weights(), "give repo, path or config"),
        (Weights(path="/nowhere"), "there is no /nowhere$"),
        (Weights(path=str(tmp_path)), f"cannot load {tmp_path}"),
    ):
        networks = bundle.networks | {"vae": weights}
        with pytest.raises(BundleError, match=f"networks.vae: {words}"):
            load_networks(msgspec.structs.replace(bundle, networks=networks))


def test_buckets_are_sides_that_every_network_takes() -> None:
    for native, vae_factor, unet_factor in ((128, 8, 2), (256, 8, 4), (256, 4, 8), (512, 8, 8)):
        sizes = msgspec.structs.replace(
            SIZES, native_size=native, vae_factor=vae_factor, unet_factor=unet_factor
        )
        found = buckets(sizes)
        step = sizes.vae_factor * sizes.unet_factor
        assert all(height % step == 0 and width % step == 0 for height, width in found)
        assert (sizes.native_size, sizes.native_size) in found
        areas = [height * width / sizes.native_size**2 for height, width in found]
        assert max(abs(area - 1) for area in areas) <= 0.125
        aspects = sorted(width / height for height, width in found)
        assert (aspects[0], aspects[-1]) == (0.5, 2.0)
        # Half way between neighbours (by ratio) a photo is stretched by the root of their ratio.
        assert max(wider / narrower for narrower, wider in pairwise(aspects)) <= 1.12**2


def test_axes_are_minus_one_on_the_wire() -> None:
    tensor = Tensor("image", "UINT8", (Axis("H", 128), 3))
    assert tensor.triton_dims == [-1, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nosuch"], "there is no bundle 'nosuch'; there are: dollhouse, sd15_quarter, tiny")],
)
def test_a_wrong_bundle_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
