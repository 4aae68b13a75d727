"""FP16 graphs: what is halved, what stays in FP32, and that overflow is found though no GPU is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch.nn import functional as F

from export.bundle import Bundle, BundleError, load_bundle
from export.contract import Sizes, graph_specs
from export.graphs import making
from export.graphs.making import Order, make_graph
from export.networks.load import skeleton
from export.networks.modules import load_graph_module
from export.networks.precision import (
    HalfArithmetic,
    attention,
    computes_in_half,
    halve_module,
    round_weights,
    safe_attention,
)
from export.proofs import parity
from export.proofs.parity import ParityError, Reference, Tolerance
from export.release import sizes_of
from tests.support.reproduction import SIZES

pytestmark = pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return msgspec.structs.replace(load_bundle("tiny"), precision="fp16")


@pytest.fixture(scope="module")
def sizes(tiny: Bundle) -> Sizes:
    return sizes_of(tiny, {name: skeleton(tiny, name) for name in tiny.networks})


def test_a_half_graph_has_fp32_edges_and_norms(tiny: Bundle, sizes: Sizes, tmp_path: Path) -> None:
    made, folder = make_graph(Order(graph="text_encoder", bundle=tiny, sizes=sizes), tmp_path, print)
    assert made.precision == "fp16"
    assert 0.0 < made.rounding["hidden_states"] < 0.02
    assert made.parity["hidden_states"] < 0.02
    # Shapes and types fit each other from end to end: what strong typing asks for.
    model = onnx.shape_inference.infer_shapes(onnx.load(folder / "model.onnx"), strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    assert [value.type.tensor_type.elem_type for value in model.graph.output] == [TensorProto.FLOAT]
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "Softmax"):
            assert types[node.input[0]] == TensorProto.FLOAT, f"{node.op_type} computes in FP16"
        if node.op_type in ("MatMul", "Gemm"):
            assert types[node.input[0]] == TensorProto.FLOAT16, f"{node.name} computes in FP32"
    matrices = [
        tensor
        for tensor in model.graph.initializer
        if len(tensor.dims) == 2 and tensor.data_type != TensorProto.INT64
    ]
    assert {tensor.data_type for tensor in matrices} == {TensorProto.FLOAT16}
    norms = [tensor for tensor in model.graph.initializer if "norm" in tensor.name]
    assert {tensor.data_type for tensor in norms} == {TensorProto.FLOAT}


@pytest.mark.parametrize("name", ["denoiser", "vae_decoder", "depth", "detector"])
def test_the_roundings_of_half_arithmetic_are_small(name: str, tiny: Bundle, sizes: Sizes) -> None:
    spec, module = graph_specs(sizes)[name], load_graph_module(tiny, name)
    round_weights(name, module)
    case = parity.corner_cases(spec, sizes)[0]
    (exact,) = parity.references(module, spec, [case])
    halve_module(module)
    assert computes_in_half(module)
    with safe_attention(), HalfArithmetic():
        (rounded,) = parity.references(module, spec, [case])
    outputs = dict(zip((tensor.name for tensor in spec.outputs), rounded.outputs, strict=True))
    differences = parity.compare(spec, outputs, exact, parity.FP16)
    assert any(difference.largest for difference in differences.values()), "nothing was rounded"


def test_networks_without_torchs_own_attention_are_halved_too() -> None:
    """The dollhouse's depth model has a convolutional backbone, which transformers refuses to switch over."""
    bundle = load_bundle("dollhouse")
    module, photo = load_graph_module(bundle, "depth"), torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    photo[:, 32:] = 200
    exact = module(photo)
    halve_module(module)
    with safe_attention(), HalfArithmetic():
        rounded = module(photo)
    assert (rounded.int() - exact.int()).abs().max() <= 4


def test_half_arithmetic_rounds_every_result_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(64, 64, generator=generator).half() for _ in range(2))

    def some(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        return [a * b, a + 1e-4, F.silu(a), a.float() + b, torch.cat([a, b]), a @ b, a.softmax(-1), a[:, 3]]

    with HalfArithmetic():
        ours = some(x, y)
    theirs = some(x, y)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.float().numpy(), other.float().numpy(), rtol=2e-3, atol=1e-4)
    with HalfArithmetic():
        assert torch.isinf(torch.full((2, 2), 300.0).half() @ torch.full((2, 2), 300.0).half()).all()


def test_attention_stays_finite_where_plain_products_overflow() -> None:
    """512 channels of one head, as in the middle of a VAE."""
    query = torch.full((1, 1, 4, 512), 14.0, dtype=torch.float16)
    value = torch.randn(1, 1, 4, 512, generator=torch.Generator().manual_seed(2)).half()
    with HalfArithmetic():
        assert torch.isinf(query @ query.transpose(-2, -1)).all()
        found = attention(query, query, value)
    expected = F.scaled_dot_product_attention(query.float(), query.float(), value.float())
    torch.testing.assert_close(found.float(), expected, atol=2e-3, rtol=2e-3)


def test_networks_that_overflow_are_refused_with_the_remedy(
    tiny: Bundle, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = 6e4

    def loud(bundle: Bundle, name: str) -> Any:
        module: Any = load_graph_module(bundle, name)
        weight = module.encoder.encoder.layers[0].mlp.fc1.weight
        weight.copy_(weight.sign() * scale)
        return module

    monkeypatch.setattr(making, "load_graph_module", loud)
    order = Order(graph="text_encoder", bundle=tiny, sizes=sizes)
    with pytest.raises(
        ParityError, match=r'hidden_states: FP16 overflows .* fp32_graphs = \["text_encoder"\]'
    ):
        make_graph(order, tmp_path, print)
    scale = 1e5
    with pytest.raises(
        BundleError, match=r"text_encoder: .*fc1\.weight does not fit in fp16: write fp32_graphs"
    ):
        make_graph(order, tmp_path, print)


def test_a_graph_can_stay_in_fp32(tiny: Bundle, sizes: Sizes) -> None:
    bundle = msgspec.structs.replace(tiny, fp32_graphs=["vae_decoder"])
    orders = {name: Order(graph=name, bundle=bundle, sizes=sizes) for name in ("vae_decoder", "vae_encoder")}
    assert {name: order.precision for name, order in orders.items()} == {
        "vae_decoder": "fp32",
        "vae_encoder": "fp16",
    }


def test_objects_are_compared_where_their_order_is_certain() -> None:
    scores = np.array([[0.9, 0.8, 0.795, 0.5, 0.0, 0.0]])
    assert parity.distinct(scores, 0.01).tolist() == [[True, False, False, True, False, False]]
    assert parity.distinct(scores, 0.0).all()
    spec = graph_specs(msgspec.structs.replace(SIZES, objects=6))["detector"]
    labels = np.arange(6)[None]
    boxes = np.zeros((1, 6, 4), np.float32)
    case = Reference({}, (boxes, scores.astype(np.float32), labels))
    swapped: dict[str, np.ndarray] = {
        "boxes": boxes,
        "scores": scores.astype(np.float32),
        "labels": labels[:, [0, 2, 1, 3, 4, 5]],
    }
    parity.compare(spec, swapped, case, Tolerance(number=0.02, score=0.01))
    with pytest.raises(ParityError, match=r"detector\.labels: differs"):
        parity.compare(spec, swapped, case, parity.FP32)
    wrong = swapped | {"labels": labels + 1}
    with pytest.raises(ParityError, match=r"detector\.labels: differs"):
        parity.compare(spec, wrong, case, Tolerance(number=0.02, score=0.01))
