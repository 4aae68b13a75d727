"""The export: its proofs can fail, and it reproduces what is committed."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import msgspec
import onnx
import pytest
import torch
from onnx import numpy_helper

from export import release
from export.__main__ import main
from export.bundle import BundleError, Weights, load_bundle
from export.contract import buckets, graph_specs, python_specs
from export.graphs.fp16_initializers import weights_of
from export.graphs.making import Made, Order, Report, make_graph
from export.graphs.onnx import export_onnx, save_onnx
from export.graphs.triton_config import config_text
from export.networks.load import load_networks
from export.networks.modules import load_graph_module
from export.proofs.parity import ParityError, check_outputs, check_weights, references
from export.release import build_release
from export.spec import ModelSpec, Tensor
from tests.conftest import RELEASE, ROOT
from tests.support.releases import read_document
from tests.support.reproduction import SIZES, TINY_GRAPHS, assert_reproduced, committed_graph
from tests.support.triton_configs import parse_config, tensor_types

USUAL, FEW_STEPS = "denoiser", "denoiser_few_step"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("taken", [[FEW_STEPS], pytest.param([], marks=pytest.mark.slow)], ids=str)
def test_the_exporter_reproduces_the_committed_release(
    taken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the graphs that are ``taken`` from it; the next test says what the denoiser of few steps must be."""

    def made_or_taken(order: Order, work: Path, report: Report) -> tuple[Made, Path]:
        return committed_graph(order.graph) if order.graph in taken else make_graph(order, work, report)

    monkeypatch.setattr(release, "make_graph", made_or_taken)
    made = build_release(load_bundle("tiny"), tmp_path, version=1)
    assert_reproduced(made, RELEASE)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"], "staging was left behind"
    with pytest.raises(FileExistsError, match="never changed"):
        build_release(load_bundle("tiny"), tmp_path, version=1)


def test_the_denoiser_of_few_steps_is_the_usual_one_with_its_own_weights() -> None:
    """So that one of them shows that the exporter makes both; that it paints what diffusers does is in the oracle."""
    usual, few = (onnx.load(RELEASE / "models" / name / "1" / "model.onnx") for name in (USUAL, FEW_STEPS))
    own, graphs = {}, {}
    for name, model in ((USUAL, usual), (FEW_STEPS, few)):
        module, stored = load_graph_module(load_bundle("tiny"), name), weights_of(model)
        folded = check_weights(name, stored, module, {name for name, _ in module.named_parameters()})
        own[name] = (folded, {key: array.shape for key, array in stored.items()})
        del model.graph.initializer[:]
        graphs[name] = model.SerializeToString()
    assert own[USUAL] == own[FEW_STEPS]
    assert graphs[USUAL] == graphs[FEW_STEPS]


def test_the_committed_release_is_small_and_is_what_it_says() -> None:
    facts = read_document(RELEASE)["models"]
    assert set(facts) == set(TINY_GRAPHS)
    graphs = {name: (RELEASE / "models" / name / "1" / "model.onnx").read_bytes() for name in facts}
    assert sum(map(len, graphs.values())) <= 6_000_000, "it lies in the repository"
    for name, graph in graphs.items():
        assert facts[name]["sha256"] == {"model.onnx": hashlib.sha256(graph).hexdigest()}


@pytest.mark.parametrize("name", TINY_GRAPHS)
def test_a_graph_follows_the_spec(name: str) -> None:
    spec = graph_specs(SIZES, graphs=TINY_GRAPHS)[name]
    folder = RELEASE / "models" / name
    graph = onnx.load(folder / "1" / "model.onnx")
    assert graph.ir_version <= 10
    assert max(domain.version for domain in graph.opset_import if domain.domain == "") <= 18
    assert [value.name for value in graph.graph.input] == [tensor.name for tensor in spec.inputs]
    assert [value.name for value in graph.graph.output] == [tensor.name for tensor in spec.outputs]
    text = (folder / "1" / "model.onnx").read_bytes()
    assert b"site-packages" not in text, "the graph names a path of the machine that exported it"


@pytest.mark.parametrize(
    "spec", [*python_specs().values(), *graph_specs(SIZES).values()], ids=lambda spec: spec.name
)
def test_a_committed_configuration_says_what_the_spec_does(spec: ModelSpec) -> None:
    folder = RELEASE / "models" if spec.name in TINY_GRAPHS else ROOT / "model_repository"
    text = (folder / spec.name / "config.pbtxt").read_text()
    assert text == config_text(spec)
    config = parse_config(text)
    assert (config.name, config.max_batch_size) == (spec.name, spec.max_batch_size)
    assert (config.backend or config.platform) == spec.backend
    assert config.model_transaction_policy.decoupled == spec.decoupled
    for found, tensors in ((config.input, spec.inputs), (config.output, spec.outputs)):
        assert tensor_types(found) == {tensor.name: tensor.dtype for tensor in tensors}
        assert [list(tensor.dims) for tensor in found] == [tensor.triton_dims for tensor in tensors]
    assert [tensor.optional for tensor in config.input] == [tensor.optional for tensor in spec.inputs]
    steps = config.ensemble_scheduling.step
    found_steps = [(step.model_name, dict(step.input_map), dict(step.output_map)) for step in steps]
    assert found_steps == list(spec.steps)


def test_every_model_of_the_repository_is_described() -> None:
    """A model without a spec would be a contract without a check."""
    folders = {
        path.name for root in (ROOT / "model_repository", RELEASE / "models") for path in root.iterdir()
    }
    assert folders == set(TINY_GRAPHS) | set(python_specs())


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
    assert check_outputs(DOUBLER, path, cases)["y"].largest < 1e-4
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if numpy_helper.to_array(tensor).size == 12)
    array = numpy_helper.to_array(weight).copy()
    array.flat[5] *= 1.001
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, path)
    with pytest.raises(ParityError, match="weight weight was changed"):
        check_weights("doubler", weights_of(model), module, {"weight"})
    with pytest.raises(ParityError, match=r"doubler\.y: differs from torch by"):
        check_outputs(DOUBLER, path, cases)


@pytest.mark.filterwarnings("ignore")
def test_parity_finds_a_weight_that_is_gone_and_one_that_was_transposed(
    doubler: tuple[Doubler, Path],
) -> None:
    module, path = doubler
    model = onnx.load(path)
    del model.graph.initializer[:]
    assert check_weights("doubler", weights_of(model), module, {"weight"}) == ["weight"]
    shuffled, transposed = module.weight.numpy()[::-1, ::-1].T.copy(), module.weight.numpy().T.copy()
    model.graph.initializer.append(numpy_helper.from_array(shuffled, "val_0"))
    assert check_weights("doubler", weights_of(model), module, {"weight"}) == ["weight"]
    model.graph.initializer.append(numpy_helper.from_array(transposed, "val_1"))
    assert check_weights("doubler", weights_of(model), module, {"weight"}) == []


@pytest.mark.filterwarnings("ignore")
def test_weights_too_large_for_one_message_lie_beside_the_graph(tmp_path: Path) -> None:
    sizes = (Tensor("input", "FP32", (64,)),), (Tensor("y", "FP32", (64,)),)
    spec = ModelSpec("square", "onnxruntime", *sizes, max_batch_size=4)
    module = torch.nn.Linear(64, 64).requires_grad_(False)
    export_onnx(module, spec, tmp_path / "whole.onnx")
    apart = tmp_path / "apart" / "model.onnx"
    save_onnx(onnx.load(tmp_path / "whole.onnx"), apart, inline_limit=100)
    assert sorted(file.name for file in apart.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert check_outputs(spec, apart, references(module, spec))["y"].largest < 1e-4


def test_hints_that_shrink_otherwise_than_the_vae_are_refused() -> None:
    bundle = load_bundle("tiny")
    weights = bundle.networks["controlnet_depth"]
    config = {**(weights.config or {}), "conditioning_embedding_out_channels": [8, 8, 16]}
    networks = bundle.networks | {"controlnet_depth": msgspec.structs.replace(weights, config=config)}
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
        factors = {"vae_factor": vae_factor, "unet_factor": unet_factor}
        found = buckets(msgspec.structs.replace(SIZES, native_size=native, **factors))
        assert all(side % (vae_factor * unet_factor) == 0 for size in found for side in size)
        assert (native, native) in found
        areas = [height * width / native**2 for height, width in found]
        assert max(abs(area - 1) for area in areas) <= 0.125
        aspects = sorted(width / height for height, width in found)
        assert (aspects[0], aspects[-1]) == (0.5, 2.0)
        # Half way between neighbours (by ratio) a photo is stretched by the root of their ratio.
        assert max(wider / narrower for narrower, wider in pairwise(aspects)) <= 1.12**2


def test_a_wrong_bundle_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nosuch"]) == 2
    said = capsys.readouterr().err
    assert "there is no bundle 'nosuch'; there are: dollhouse, sd15, sd15_quarter, sd15_random, tiny" in said
