"""Weights stored in FP16: rounded once, where they are loaded, and the same network from there to the runtime."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from export.bundle import BundleError, Weights, load_bundle
from export.graphs.fp16_initializers import is_fp16, weights_of
from export.graphs.onnx import export_onnx
from export.networks.load import load_networks
from export.proofs.parity import ParityError, check_outputs, check_weights, references
from export.spec import ModelSpec, Tensor

SPEC = ModelSpec(
    "mixer", "onnxruntime", (Tensor("x", "FP32", (32,)),), (Tensor("y", "FP32", (32,)),), max_batch_size=4
)


class Mixer(torch.nn.Module):
    """Of its three matrices one has a number that FP16 does not have."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        first, second, odd = torch.randn(3, 32, 32, generator=generator).half().float() / 8
        odd[3, 4] = 0.1
        self.first = torch.nn.Parameter(first, requires_grad=False)
        self.second = torch.nn.Parameter(second, requires_grad=False)
        self.odd = torch.nn.Parameter(odd, requires_grad=False)
        self.short = torch.nn.Parameter(torch.full((32,), 3.0), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = (x @ self.first + self.short) @ self.second
        return torch.nn.functional.silu(mixed) @ self.odd


@pytest.fixture
def mixer(tmp_path: Path) -> tuple[Mixer, Path]:
    module = Mixer()
    export_onnx(module, SPEC, tmp_path / "model.onnx", "fp16")
    return module, tmp_path / "model.onnx"


def initializers(path: Path) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


pytestmark = pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.


def test_what_fp16_holds_exactly_takes_half_and_the_rest_stays(mixer: tuple[Mixer, Path]) -> None:
    module, path = mixer
    stored = initializers(path)
    halves = dict.fromkeys(("first.fp16", "second.fp16"), TensorProto.FLOAT16)
    wholes = dict.fromkeys(("odd", "short"), TensorProto.FLOAT)
    assert {name: tensor.data_type for name, tensor in stored.items()} == halves | wholes
    np.testing.assert_array_equal(numpy_helper.to_array(stored["first.fp16"]), module.first.numpy())
    assert check_outputs(SPEC, path, references(module, SPEC))["y"].largest < 1e-4
    graph = onnx.load(path).graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


def test_the_file_is_the_same_every_time(mixer: tuple[Mixer, Path], tmp_path: Path) -> None:
    export_onnx(Mixer(), SPEC, tmp_path / "again.onnx", "fp16")
    assert (tmp_path / "again.onnx").read_bytes() == mixer[1].read_bytes()


def test_a_stored_weight_that_is_one_bit_off_is_found(mixer: tuple[Mixer, Path]) -> None:
    module, path = mixer
    model = onnx.load(path)
    assert check_weights("mixer", weights_of(model), module, {"first", "second", "odd", "short"}) == []
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "second.fp16")
    array = numpy_helper.to_array(weight).copy()
    array[5, 6] = np.nextafter(array[5, 6], np.float16(np.inf))
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    with pytest.raises(ParityError, match="weight second was changed"):
        check_weights("mixer", weights_of(model), module, {"second"})


def test_the_runtime_folds_the_casts_when_it_loads(mixer: tuple[Mixer, Path], tmp_path: Path) -> None:
    """Otherwise every step would pay for them."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(mixer[1], options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    assert "Cast" not in {node.op_type for node in graph.node}
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in graph.initializer}


def test_networks_are_rounded_where_they_are_loaded() -> None:
    tiny = load_bundle("tiny")
    exact, rounded = load_networks(tiny), load_networks(msgspec.structs.replace(tiny, stored="fp16"))
    for name, network in rounded.items():
        before = dict(exact[name].named_parameters())
        for key, parameter in network.named_parameters():
            assert is_fp16(parameter.numpy()), f"{name}.{key}"
            # Eleven bits of mantissa; below 2**-14 they are fewer.
            torch.testing.assert_close(parameter, before[key], rtol=2**-11, atol=2**-25)
    assert not is_fp16(exact["unet"].conv_in.weight.numpy())


def test_a_weight_too_large_for_fp16_is_refused(tmp_path: Path) -> None:
    tiny = load_bundle("tiny")
    encoder = load_networks(tiny)["text_encoder"]
    encoder.get_parameter("final_layer_norm.weight")[3] = 7e4
    encoder.save_pretrained(tmp_path)
    networks = tiny.networks | {"text_encoder": Weights(path=str(tmp_path))}
    with pytest.raises(BundleError, match=r"networks\.text_encoder: .*norm\.weight does not fit in fp16"):
        load_networks(msgspec.structs.replace(tiny, networks=networks, stored="fp16"))
