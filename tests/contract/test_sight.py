"""Depth models, detectors and segmenters of several classes as graphs that keep the contract; see export/networks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from export.bundle import Bundle, BundleError, Weights, load_bundle
from export.contract import graph_specs
from export.graphs.onnx import export_onnx
from export.networks.depth import InverseDepth, usual_direction
from export.networks.load import empty_network, load_network, skeleton
from export.networks.modules import load_graph_module
from export.networks.preparation import HALF, IMAGENET, preparation
from export.networks.segments import ADE20K, segments_module
from export.networks.ultralytics import UltralyticsDetector
from export.proofs.inspection import find_problems
from export.proofs.parity import ParityError, Tolerance, check_outputs, compare, references
from export.spec import ModelSpec, Tensor
from tests.support.reproduction import SIZES
from tests.support.ultralytics_files import METADATA, NAMES, ROWS, SIDE, picked, write_detector

CASES = [(1, {"H": 128, "W": 128}), (3, {"H": 96, "W": 152})]
TOLERANCE = Tolerance(2e-5)
NECK: dict[str, Any] = {
    "neck_hidden_sizes": [8, 16, 16, 16],
    "reassemble_factors": [4, 2, 1, 0.5],
    "fusion_hidden_size": 16,
    "initializer_range": 0.2,
}
TRANSFORMER = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}

ANYTHING: dict[str, Any] = {
    "model_type": "depth_anything",
    **NECK,
    "patch_size": 14,
    "reassemble_hidden_size": 32,
    "head_hidden_size": 8,
    "backbone_config": {
        **TRANSFORMER,
        "model_type": "dinov2",
        "image_size": 56,
        "patch_size": 14,
        "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": False,
        "initializer_range": 0.2,
    },
}
HYBRID: dict[str, Any] = {
    "model_type": "dpt",
    **NECK,
    **TRANSFORMER,
    "is_hybrid": True,
    "image_size": 64,
    "backbone_out_indices": [0, 1, 2, 3],
    "backbone_featmap_shape": [1, 32, 4, 4],
    "backbone_config": {
        "model_type": "bit",
        "global_padding": "same",
        "num_groups": 4,
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 32],
        "depths": [1, 1, 1],
        "out_features": ["stage1", "stage2", "stage3"],
        "embedding_dynamic_padding": True,
    },
}
UPERNET: dict[str, Any] = {
    "model_type": "upernet",
    "hidden_size": 16,
    "num_labels": 150,
    "auxiliary_channels": 8,
    "auxiliary_in_channels": 24,
    "backbone_config": {
        "model_type": "convnext",
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    },
}
SEGFORMER: dict[str, Any] = {
    "model_type": "segformer",
    "num_labels": 150,
    "hidden_sizes": [8, 16, 16, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 2],
    "decoder_hidden_size": 16,
}


def with_network(name: str, weights: Weights, **changes: Any) -> Bundle:
    tiny = load_bundle("tiny")
    return msgspec.structs.replace(tiny, networks=tiny.networks | {name: weights}, **changes)


def depth_bundle(config: dict[str, Any], **fields: Any) -> Bundle:
    return with_network("depth", Weights(config=config, redraw=0.1, **fields))


def segments_bundle(config: dict[str, Any]) -> Bundle:
    gain = {"": 3.0}
    return with_network("segments", Weights(config=config, redraw=0.1, gain=gain, input_size=(64, 64)))


def exported(module: nn.Module, spec: ModelSpec, folder: Path) -> Path:
    """The graph, which answers as ``module`` does."""
    cases = references(module.eval(), spec, CASES)
    export_onnx(module, spec, folder / "model.onnx")
    check_outputs(spec, folder / "model.onnx", cases, TOLERANCE)
    return folder / "model.onnx"


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


REFUSED = {"NonZero", "BatchNormalization", "NonMaxSuppression"}
"""TensorRT refuses the first for some GPUs and the second in training mode."""


def smooth(height: int, width: int, count: int = 2) -> torch.Tensor:
    """Photos UINT8 [B,H,W,3] without detail that resizing could lose."""
    coarse = np.random.default_rng(3).random((count, 3, 4, 4), dtype=np.float32)
    photos = F.interpolate(torch.from_numpy(coarse), (height, width), mode="bilinear", align_corners=False)
    return (photos * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def run(path: Path, image: torch.Tensor) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: list[NDArray[Any]] = session.run(None, {"image": image.numpy()})
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("config", "usual", "mode", "side"),
    [
        pytest.param(ANYTHING, IMAGENET, "bicubic", 56, id="Depth Anything"),
        pytest.param(HYBRID, HALF, "bilinear", 64, id="DPT-Hybrid", marks=pytest.mark.slow),
    ],
)
def test_a_depth_model_of_another_class(
    config: dict[str, Any], usual: Any, mode: str, side: int, tmp_path: Path
) -> None:
    """Its graph equals the untouched network, fed as its own preprocessor would."""
    bundle = depth_bundle(config)
    path = exported(load_graph_module(bundle, "depth"), graph_specs(SIZES)["depth"], tmp_path)
    assert not operators(path) & REFUSED
    photos = smooth(side, side)
    (found,) = run(path, photos)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in usual)
    with torch.no_grad():
        pixels = (photos.permute(0, 3, 1, 2) / 255.0 - mean) / std
        depth = load_network(bundle, "depth")(pixel_values=pixels).predicted_depth
    depth = F.interpolate(depth.unsqueeze(1), (side, side), mode="bilinear").squeeze(1).numpy()
    low, high = depth.min((1, 2), keepdims=True), depth.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found, 255 * (depth - low) / (high - low), atol=1.01)
    assert load_graph_module(bundle, "depth").mode == mode


class Ramp(nn.Module):
    """A network that predicts the red of the picture, times 10."""

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(predicted_depth=10.0 * pixel_values[:, 0])


def test_distances_become_inverse_depth() -> None:
    distance = torch.tensor([[[0.0, 0.02, 0.1, 0.2, 1.0]]]).expand(1, 3, 5, 5)
    found = InverseDepth(Ramp())(distance).predicted_depth[0, 0]
    # 1 / 10 m is the farthest; nothing is nearer than a hundredth of that distance.
    torch.testing.assert_close(found, torch.tensor([10.0, 5.0, 1.0, 0.5, 0.1]))


def test_the_direction_of_depth_is_the_models_or_the_bundles_word() -> None:
    metric = ANYTHING | {"depth_estimation_type": "metric", "max_depth": 20}
    for bundle, turned in (
        (depth_bundle(ANYTHING), False),
        (depth_bundle(metric), True),
        (depth_bundle(metric, depth_direction="inverse"), False),
        (depth_bundle(ANYTHING, depth_direction="distance"), True),
    ):
        module: Any = load_graph_module(bundle, "depth")
        assert isinstance(module.network, InverseDepth) == turned
    near, far = (
        load_graph_module(bundle, "depth")(smooth(56, 56))
        for bundle in (
            depth_bundle(ANYTHING),
            depth_bundle(ANYTHING, depth_direction="distance"),
        )
    )
    # What was nearest is farthest now.
    assert far.flatten(1).gather(1, near.flatten(1).argmax(1, keepdim=True)).max() < 64
    assert usual_direction(skeleton(load_bundle("tiny"), "depth").config) == "inverse"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_photo_in_the_colours_of_its_things(tmp_path: Path) -> None:
    bundle = segments_bundle(UPERNET)
    spec = graph_specs(SIZES, ("depth", "segments"))["segments"]
    path = exported(segments_module(load_network(bundle, "segments"), bundle), spec, tmp_path)
    assert not operators(path) & REFUSED
    photos = smooth(64, 64)
    (found,) = run(path, photos)
    with torch.no_grad():
        mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in IMAGENET)
        pixels = (photos.permute(0, 3, 1, 2) / 255.0 - mean) / std
        kinds = load_network(bundle, "segments")(pixel_values=pixels).logits.argmax(1)
    assert len(kinds.unique()) > 1
    assert (found != np.array(ADE20K)[kinds]).mean() < 1e-3


def test_a_segformer_is_a_segmenter_too() -> None:
    bundle = segments_bundle(SEGFORMER)
    module = segments_module(load_network(bundle, "segments"), bundle)
    with torch.no_grad():
        found = module.eval()(smooth(96, 152))
    assert (found.shape, found.dtype) == ((2, 96, 152, 3), torch.uint8)
    colours = {tuple(colour) for colour in found.reshape(-1, 3).tolist()}
    assert colours <= {tuple(colour) for colour in ADE20K}


def test_other_kinds_than_ade20ks_are_refused() -> None:
    bundle = segments_bundle(SEGFORMER | {"num_labels": 19})
    with pytest.raises(
        BundleError, match=r"it knows 19 kinds of things, and the ControlNet .* the 150 of ADE20K"
    ):
        segments_module(load_network(bundle, "segments"), bundle)


def test_the_colours_are_ade20ks() -> None:
    """Spot checks: wall, floor, ceiling, bed, window, sofa, lamp, flag. Two kinds share the colour of roads."""
    places = {0: (120, 120, 120), 3: (80, 50, 50), 5: (120, 120, 80), 7: (204, 5, 255), 8: (230, 230, 230)}
    places |= {23: (11, 102, 255), 36: (224, 255, 8), 149: (92, 0, 255)}
    assert {place: tuple(ADE20K[place]) for place in places} == places
    assert (len(ADE20K), len({tuple(colour) for colour in ADE20K})) == (150, 149)


def test_a_choice_may_differ_in_few_places_only() -> None:
    spec = ModelSpec("m", "", (), (Tensor("segments", "UINT8", (40, 40, 3), choice=True),), max_batch_size=2)
    expected = np.zeros((1, 40, 40, 3), np.uint8)
    case = references(_Constant(expected), spec, [(1, {})])[0]
    actual = expected.copy()
    actual[0, 3, 3] = 200
    assert compare(spec, {"segments": actual}, case, TOLERANCE)["segments"].largest == pytest.approx(1 / 1600)
    actual[0, 4] = 200
    with pytest.raises(ParityError, match=r"m\.segments: differs"):
        compare(spec, {"segments": actual}, case, TOLERANCE)


class _Constant(nn.Module):
    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__()
        self.array = torch.from_numpy(array)

    def forward(self) -> torch.Tensor:
        return self.array


@dataclass(frozen=True)
class Said:
    """A preprocessor_config.json and the size that follows from it."""

    content: dict[str, Any]
    size: tuple[int, int]


@pytest.mark.parametrize(
    "said",
    [
        # YOLOS of today, of 2022, and limited by its longest edge.
        Said({"size": {"shortest_edge": 512, "longest_edge": 1333}}, (592, 592)),
        Said({"size": 512, "max_size": 1333}, (592, 592)),
        Said({"size": {"shortest_edge": 512, "longest_edge": 528}}, (528, 528)),
        Said({"size": {"height": 480, "width": 640}}, (480, 640)),
        Said({"size": 384}, (384, 384)),
        Said({}, (800, 1328)),
    ],
    ids=str,
)
def test_photos_get_the_size_that_the_preprocessor_says(said: Said, tmp_path: Path) -> None:
    """Not the one of config.json, which for YOLOS is that of its position embeddings."""
    tiny = load_bundle("tiny")
    config = {**(tiny.networks["detector"].config or {}), "image_size": [800, 1328]}
    network = skeleton(with_network("detector", Weights(config=config)), "detector")
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(said.content | {"image_mean": [0.1, 0.2, 0.3], "resample": 3})
    )
    bundle = with_network("detector", Weights(path=str(tmp_path)))
    wanted = preparation(bundle, "detector", network.config, IMAGENET)
    assert wanted.size == said.size
    assert (wanted.mean, wanted.std, wanted.mode) == ([0.1, 0.2, 0.3], IMAGENET[1], "bicubic")
    bundle = with_network("detector", Weights(path=str(tmp_path), input_size=(320, 480)))
    assert preparation(bundle, "detector", network.config, IMAGENET).size == (320, 480)


def test_a_size_between_patches_is_refused() -> None:
    config = skeleton(depth_bundle(ANYTHING), "depth").config
    with pytest.raises(BundleError, match=r"depth: photos would be resized to 60×64, .* such as \[56, 70\]"):
        preparation(depth_bundle(ANYTHING, input_size=(60, 64)), "depth", config, IMAGENET)


@pytest.mark.parametrize(
    ("config", "size"), [(ANYTHING, (112, 140)), (HYBRID, (96, 96))], ids=["Depth Anything", "DPT-Hybrid"]
)
def test_position_embeddings_follow_the_input_size(config: dict[str, Any], size: tuple[int, int]) -> None:
    bundle = depth_bundle(config, input_size=size)
    with torch.no_grad():
        found = load_graph_module(bundle, "depth")(smooth(96, 152))
    assert (found.shape, int(found.min()), int(found.max())) == ((2, 96, 152), 0, 255)


def test_a_dpt_takes_squares_only() -> None:
    bundle = depth_bundle(HYBRID, input_size=(64, 96))
    with pytest.raises(BundleError, match="depth: DPT takes squares only, not 64×96"):
        load_graph_module(bundle, "depth")


# Ultralytics


def detector_bundle(path: Path, **changes: Any) -> Bundle:
    return with_network("detector", Weights(path=str(path)), **changes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ready", [False, True], ids=["all boxes", "picked boxes"])
def test_an_ultralytics_file_becomes_a_detector(ready: bool, tmp_path: Path) -> None:
    file = write_detector(tmp_path / "theirs.onnx", ready=ready)
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))
    # Theirs: the untouched file, fed with the photo at its own size; the rest without torch.
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    answer = session.run(None, {"images": photos.permute(0, 3, 1, 2).numpy().astype(np.float32) / 255})[0]
    everything = picked(answer, ROWS, 0.0)
    assert ready or len(everything[0]) < ROWS, "some boxes should be found twice"
    # Between two scores, so that some rows are padding.
    threshold = (everything[0][3][1] + everything[0][4][1]) / 2
    expected = picked(answer, 8, threshold)
    assert len(expected[0]) == 4

    bundle = detector_bundle(file, objects=8, object_threshold=threshold)
    module = load_graph_module(bundle, "detector")
    assert isinstance(module, UltralyticsDetector)
    assert module.network.config.id2label == NAMES
    path = exported(module, graph_specs(SIZES)["detector"], tmp_path / "ours")
    boxes, scores, labels = run(path, photos)
    for photo, rows in enumerate(expected):
        count = len(rows)
        assert labels[photo].tolist() == [label for label, _, _ in rows] + [-1] * (8 - count)
        np.testing.assert_allclose(scores[photo, :count], [score for _, score, _ in rows], rtol=1e-5)
        np.testing.assert_allclose(boxes[photo, :count], [box for _, _, box in rows], atol=1e-5)
        assert not scores[photo, count:].any()
        assert not boxes[photo, count:].any()
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "author": "Ultralytics",
        "license": "AGPL-3.0 License",
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 18)]


def test_a_weight_of_theirs_that_is_gone_is_noticed(tmp_path: Path) -> None:
    bundle = detector_bundle(write_detector(tmp_path / "theirs.onnx"))
    module: Any = load_graph_module(bundle, "detector")
    model = module._middle()
    module._check(model)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("conv.bias"))
    weight.raw_data = weight.raw_data[:-4] + b"\0\0\0\0"
    with pytest.raises(ParityError, match=r"weight model\.0\.conv\.bias of .* is not in the graph"):
        module._check(model)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch": 1}, "takes one size of batches and photos only: .* dynamic=True opset=17"),
        ({"opset": 20}, "has opset 20, newer than 18: .* opset=17"),
        ({"first_only": True}, "answers otherwise for a photo alone than in a batch: .* without nms=True"),
        ({"metadata": METADATA | {"task": "segment"}}, "is for the task segment: choose a model for detect"),
        ({"metadata": {}}, "lacks the names and imgsz"),
        (
            {"metadata": METADATA | {"names": "{1: 'chair'}"}},
            r"has labels that are not numbered from 0: \[1\]",
        ),
        (
            {"metadata": METADATA | {"names": "{0: 'chair'}"}},
            r"answers with \[2, 7, 49\], and a detector of 1 labels with",
        ),
    ],
    ids=str,
)
def test_files_that_cannot_become_detectors(options: Any, sentence: str, tmp_path: Path) -> None:
    bundle = detector_bundle(write_detector(tmp_path / "theirs.onnx", **options))
    with pytest.raises(BundleError, match=rf"^networks\.detector: .*theirs\.onnx {sentence}"):
        skeleton(bundle, "detector")


def test_a_look_at_a_bundle_opens_the_file(tmp_path: Path) -> None:
    """Before minutes are spent on other graphs."""
    file = write_detector(tmp_path / "theirs.onnx")
    assert find_problems(detector_bundle(file)) == []
    write_detector(file, opset=20)
    (problem,) = find_problems(detector_bundle(file))
    assert problem.startswith(f"tiny.toml: networks.detector: {file} has opset 20, newer than 18: ")


@pytest.mark.parametrize(
    "config", [HYBRID, SEGFORMER, UPERNET, ANYTHING], ids=lambda config: config["model_type"]
)
def test_a_network_is_looked_at_without_its_numbers(config: dict[str, Any]) -> None:
    name = "depth" if "backbone_out_indices" in config or config is ANYTHING else "segments"
    network = empty_network(name, config)
    assert all(parameter.is_meta for parameter in network.parameters())


def test_a_file_that_is_no_graph_and_more_objects_than_it_has_boxes(tmp_path: Path) -> None:
    (tmp_path / "theirs.onnx").write_bytes(b"PK\3\4")
    with pytest.raises(BundleError, match=r"detector: cannot read .*theirs\.onnx"):
        load_network(detector_bundle(tmp_path / "theirs.onnx"), "detector")
    bundle = detector_bundle(write_detector(tmp_path / "theirs.onnx"), objects=ROWS + 1)
    with pytest.raises(BundleError, match=r"objects is 50: .* tells at most 49 apart"):
        load_graph_module(bundle, "detector")
    with pytest.raises(BundleError, match="only a detector can come as one"):
        load_network(with_network("depth", Weights(path=str(tmp_path / "theirs.onnx"))), "depth")
