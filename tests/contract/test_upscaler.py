"""Results at the photo's size: tiles of a picture through an upscaler's graph, which the export makes, or Lanczos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.bundle import Bundle, Weights, load_bundle
from export.contract import TILE as EXPORTED_TILE
from export.contract import graph_specs
from export.graphs.onnx import export_onnx
from export.networks.modules import graph_networks, load_graph_module
from export.proofs.parity import Tolerance, check_outputs, references
from restyle.release import Release, load_release
from restyle.stages.enlarge import MARGIN, TILE, UPSCALER, enlarge
from tests.conftest import RELEASE
from tests.support.pictures import room
from tests.support.reproduction import SIZES

FACTOR = 2
SWIN2SR: dict[str, Any] = {
    "model_type": "swin2sr",
    "image_size": 16,
    "embed_dim": 12,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 4,
    "upscale": FACTOR,
    "upsampler": "pixelshuffledirect",
}


class Graph:
    """Answers `upscaler` by ``answer``, and remembers the tiles' shapes."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.shapes: list[tuple[int, ...]] = []

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        assert (model, outputs) == (UPSCALER, ("enlarged",))
        self.shapes.append(tensors["image"].shape)
        return [self.answer(tensors["image"])]


@pytest.fixture(scope="module")
def release() -> Release:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REROOM_RELEASE", str(RELEASE))
        return load_release()


def with_upscaler(release: Release) -> Release:
    return replace(release, versions=release.versions | {UPSCALER: 1})


def nearest(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image.repeat(FACTOR, 2).repeat(FACTOR, 3)


def blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sees MARGIN pixels far, and what lies outside a tile as black."""
    width = 2 * MARGIN + 1
    planes = [cv2.blur(plane, (width, width), borderType=cv2.BORDER_CONSTANT) for plane in image[0]]
    return nearest(np.stack(planes)[None])


@pytest.mark.parametrize("shape", [(112, 128), (113, 300), (40, 250), (512, 96), (32, 32)])
async def test_tiles_make_the_picture_that_a_whole_one_would(
    release: Release, shape: tuple[int, int]
) -> None:
    pixels = cv2.resize(room(128, 160), shape[::-1]).astype(np.float32)
    graph = Graph(nearest)
    size = (FACTOR * shape[0], FACTOR * shape[1])
    grown, by = await enlarge(pixels, size, with_upscaler(release), graph)
    np.testing.assert_allclose(grown, pixels.repeat(FACTOR, 0).repeat(FACTOR, 1), atol=1e-3)
    assert by == "upscaler"
    assert set(graph.shapes) == {(1, 3, TILE, TILE)}


async def test_what_a_network_sees_around_a_pixel_is_there_in_every_tile(release: Release) -> None:
    pixels = cv2.resize(room(128, 160), (300, 230)).astype(np.float32)
    graph = Graph(blurred)
    grown, _ = await enlarge(pixels, (460, 600), with_upscaler(release), graph)
    width = 2 * MARGIN + 1
    whole = cv2.blur(pixels, (width, width), borderType=cv2.BORDER_REFLECT)
    np.testing.assert_allclose(grown, whole.repeat(FACTOR, 0).repeat(FACTOR, 1), atol=1e-2)
    assert len(graph.shapes) == 3 * 3


async def test_what_is_missing_or_too_much_comes_from_a_filter(release: Release) -> None:
    pixels = room(112, 144).astype(np.float32)
    for size in ((150, 200), (1120, 1440)):
        grown, by = await enlarge(pixels, size, with_upscaler(release), Graph(nearest))
        assert (grown.shape[:2], by) == (size, "upscaler")
    plain, by = await enlarge(pixels, (448, 576), release, Graph(nearest))
    assert (plain.shape, by) == ((448, 576, 3), "lanczos")
    small = cv2.resize(plain, (144, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(small - pixels).mean() < 4
    smaller, by = await enlarge(pixels, (56, 72), release, Graph(nearest))
    assert (smaller.shape[:2], by) == ((56, 72), None)


def bundle_with_upscaler() -> Bundle:
    tiny = load_bundle("tiny")
    weights = Weights(config=SWIN2SR, redraw=0.02)
    return msgspec.structs.replace(tiny, networks=tiny.networks | {UPSCALER: weights})


@pytest.mark.filterwarnings("ignore")  # torch announces every fallback of its exporter.
async def test_an_upscaler_of_a_bundle_becomes_a_graph_that_enlarges(
    release: Release, tmp_path: Path
) -> None:
    """Random weights: what is tried is the way from a bundle to a picture, not the picture's beauty."""
    bundle = bundle_with_upscaler()
    assert UPSCALER in bundle.used
    assert graph_networks(bundle)[UPSCALER] == (UPSCALER,)
    assert EXPORTED_TILE == TILE
    spec = graph_specs(SIZES, graphs=(UPSCALER,))[UPSCALER]
    module = load_graph_module(bundle, UPSCALER)
    cases = references(module.eval(), spec, [(1, {}), (2, {})])
    path = tmp_path / "model.onnx"
    export_onnx(module, spec, path)
    check_outputs(spec, path, cases, Tolerance(5e-5))

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    graph = Graph(lambda image: session.run(["enlarged"], {"image": image})[0])
    pixels = room(112, 144).astype(np.float32)
    grown, by = await enlarge(pixels, (224, 288), with_upscaler(release), graph)
    assert (grown.shape, by) == ((224, 288, 3), "upscaler")
    assert len(graph.shapes) == 2
    whole = module(torch.zeros(1, 3, TILE, TILE))
    assert whole.shape == (1, 3, FACTOR * TILE, FACTOR * TILE)
