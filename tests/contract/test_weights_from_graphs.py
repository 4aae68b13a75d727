"""Networks that are kept in the graphs of their release: the file of weights comes back to the byte, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from export.bundle import BundleError
from export.graphs.fp16_initializers import halve
from export.sources import weights_from_graphs
from export.sources.weights_from_graphs import INDEX, REMAINDER, Index, copy_network, is_packed, pack
from tests.support.releases import write_document

FILE = "model.safetensors"

VERSION = 2
EARLIER = 1
"""The version whose graph the release has in common."""


def tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (8, 8, 3, 3), "fc.weight": (48, 32), "norm.weight": (8,), "short.weight": (2, 3)}
    found = {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}
    return found | {"ids": np.arange(5), "zero.bias": np.zeros(8, np.float16)}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A folder as the training leaves it."""
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file(tensors(0), folder / FILE, {"format": "pt"})
    return folder


def write_release(folder: Path, seed: int = 0) -> Path:
    """A release with one graph, whose exporter folded norm.weight and transposed fc.weight."""
    weights = {name: array.astype(np.float32) for name, array in tensors(seed).items()}
    held = {
        "a.zeros": weights["zero.bias"],
        "network.conv.weight": weights["conv.weight"],
        "network.short.weight": weights["short.weight"],
        "network.zero.bias": weights["zero.bias"],
        "val_7": np.ascontiguousarray(weights["fc.weight"].T),
    }
    initializers = [numpy_helper.from_array(array, name) for name, array in held.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], initializers))
    halve(model)
    file = folder / "models" / "detector" / str(EARLIER) / "model.onnx"
    file.parent.mkdir(parents=True)
    onnx.save(model, file)
    return write_document(folder, {"models": {"detector": {"version": EARLIER}}}, VERSION)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "releases" / "small")


def test_a_packed_network_is_copied_whole(network: Path, release: Path, tmp_path: Path) -> None:
    content = (network / FILE).read_bytes()
    assert not is_packed(network)
    copy_network(network, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / FILE).read_bytes() == content
    pack(network, release, VERSION)
    assert {file.name for file in network.iterdir()} == {"config.json", INDEX, REMAINDER}
    assert set(np.load(network / REMAINDER)) == {"ids", "norm.weight"}
    index = msgspec.json.decode((network / INDEX).read_bytes(), type=Index)
    assert index.transposed == {"fc.weight": "detector/val_7"}
    # Zeros are in two places; the exporter kept the name of one.
    assert index.straight["zero.bias"] == "detector/network.zero.bias"
    copy_network(network, tmp_path / "copy", release.parent)
    assert (tmp_path / "copy" / FILE).read_bytes() == content
    assert {file.name for file in (tmp_path / "copy").iterdir()} == {"config.json", FILE}


def test_packing_again_makes_the_same_files(network: Path, release: Path, tmp_path: Path) -> None:
    shutil.copytree(network, tmp_path / "again")
    for folder in (network, tmp_path / "again"):
        pack(folder, release, VERSION)
        pack(folder, release, VERSION)
    for name in (INDEX, REMAINDER):
        assert (network / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_packing_that_was_stopped_loses_nothing(
    network: Path, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (network / FILE).read_bytes()
    for stopped in (
        "export.sources.weights_from_graphs.np.savez",
        "export.sources.weights_from_graphs.os.replace",
        "export.sources.weights_from_graphs.Path.unlink",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(stopped, interrupt)
            with pytest.raises(InterruptedError):
                pack(network, release, VERSION)
        copy_network(network, tmp_path / stopped, release.parent)
        assert (tmp_path / stopped / FILE).read_bytes() == content
    pack(network, release, VERSION)
    assert not (network / FILE).exists()


def interrupt(*_: object, **__: object) -> None:
    raise InterruptedError


def test_a_release_of_other_weights_is_refused(network: Path, tmp_path: Path) -> None:
    other = write_release(tmp_path / "releases" / "other", seed=1)
    with pytest.raises(
        BundleError, match=r"other, version 2, holds \d+ % of the weights in .*/network: export"
    ):
        pack(network, other, VERSION)
    assert (network / FILE).is_file()


def one_bit_off(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(tensors(0)["conv.weight"].tobytes()) + 100] ^= 1
    file.write_bytes(content)


def without_a_weight(file: Path) -> None:
    model = onnx.load(file)
    del model.graph.initializer[1]
    onnx.save(model, file)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "No such file"),
        (lambda file: file.write_bytes(b"\xff" * 100), "is no ONNX file"),
        (one_bit_off, "those in the graphs of small, version 2, are others"),
        (without_a_weight, "detector of small, version 2, has no network.conv.weight"),
    ],
)
def test_a_graph_that_no_longer_holds_the_weights_is_named(
    damage: Callable[[Path], None], reason: str, network: Path, release: Path, tmp_path: Path
) -> None:
    pack(network, release, VERSION)
    damage(release / "models" / "detector" / str(EARLIER) / "model.onnx")
    with pytest.raises(BundleError, match=f"/network: its weights cannot be put together: .*{reason}"):
        copy_network(network, tmp_path / "copy", release.parent)
    assert not (tmp_path / "copy").exists()


def test_wrong_usage_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert weights_from_graphs.main(["mansion"]) == 2
    assert "there is no bundle 'mansion'" in capsys.readouterr().err
    monkeypatch.setattr(weights_from_graphs, "RELEASES", tmp_path)
    assert weights_from_graphs.main(["dollhouse"]) == 1
    assert capsys.readouterr().err == f"there is no release in {tmp_path / 'dollhouse'}: export it first\n"
