"""The worked examples of docs/adding.md, run as they stand there."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from export import bundle as bundles
from export import release
from export.__main__ import main as export_command
from export.bundle import Weights, load_bundle
from export.contract import graph_specs
from export.networks import load, modules
from export.proofs import diffusers_pipeline
from orchestrator.domain import styles
from restyle import request as restyle_request
from restyle import solver
from tests.conftest import ROOT
from tests.support.checkpoints import save_checkpoint

from .test_solver import agrees

PAGE = (ROOT / "docs" / "adding.md").read_text()


def blocks(heading: str) -> list[str]:
    """The Python and TOML blocks of a section of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found: list[str] = re.findall(r"^```(?:python|toml)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found


def test_every_block_is_run() -> None:
    sections = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert {section: len(blocks(section)) for section in sections} == {
        "A style": 1,
        "A solver": 2,
        "A bundle: your own checkpoint": 2,
        "A network of another class": 3,
        "Other eyes": 6,
    }


def test_a_style(tmp_path: Path) -> None:
    (block,) = blocks("A style")
    (tmp_path / "styles.toml").write_text(block)
    loaded = styles.load_styles(tmp_path / "styles.toml", styles.STYLES)
    assert list(loaded) == [*styles.STYLES, "ryokan"]
    # As contract/test_islands.py asks of every style: 1,000 characters of the user's come before its own.
    assert len(loaded["ryokan"].prompt) + 1000 + 8 * 42 + 50 <= restyle_request.MAX_PROMPT


@pytest.mark.parametrize("spacing", ["diffusers", "trailing"])
@pytest.mark.parametrize("steps", [2, 8, 20])
def test_a_solver(steps: int, spacing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = blocks("A solver")
    module = types.ModuleType("solver_with_the_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(inspect.getsource(solver) + ours, vars(module))
    schedulers = dict(diffusers_pipeline.SCHEDULERS)
    exec(theirs, vars(diffusers_pipeline) | {"SCHEDULERS": schedulers})
    monkeypatch.setattr(diffusers_pipeline, "SCHEDULERS", schedulers)
    for strength in (0.6, 1.0):
        agrees("dpmpp_2m_heun", "epsilon", spacing, steps, strength, solver_table=module.solver_table)


class Fits(Exception):
    """Everything before the export of graphs has passed."""


def test_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written, defaults = blocks("A bundle: your own checkpoint")
    folder, weights = tmp_path / "bundles", tmp_path / "weights"
    folder.mkdir()
    shutil.copy(bundles.BUNDLES / "tiny.toml", folder)
    shutil.copy(bundles.BUNDLES / "tiny_lora.safetensors", folder)
    shutil.copytree(bundles.BUNDLES / "tokenizer", folder / "tokenizer")
    save_checkpoint(weights / "mine", weights)
    shutil.copytree(weights / "controlnet_canny", weights / "lines")
    down = "lora_unet_conv_in.lora_down.weight"
    lora = {down: torch.ones(1, 4, 3, 3), down.replace("down", "up"): torch.ones(16, 1, 1, 1)}
    save_file(lora, weights / "japandi.safetensors")
    monkeypatch.setattr(bundles, "BUNDLES", folder)

    (command,) = re.findall(r"^    \.venv/bin/python -m export (add .*)$", PAGE, re.MULTILINE)
    arguments = command.replace("~/weights", str(weights)).split()
    assert export_command([*arguments, "--base", "tiny"]) == 0, capsys.readouterr().err
    expected = written.replace("/home/me/weights", str(weights)).replace("sd15", "tiny").replace("512", "128")
    made = folder / "mine.toml"
    assert made.read_text().splitlines()[1:] == expected.splitlines()
    made.write_text(made.read_text() + defaults)

    def stop(*_: Any) -> None:
        raise Fits

    monkeypatch.setattr(release, "make_graphs", stop)
    with pytest.raises(Fits):
        release.build_release(load_bundle("mine"), tmp_path / "releases", version=1)


def test_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, wrapping, config = blocks("A network of another class")
    for module, code in ((load, loading), (modules, wrapping)):
        monkeypatch.setattr(module, "_DETECTORS", dict(module._DETECTORS))
        exec(code, dict(vars(module)))
    weights = msgspec.convert(tomllib.loads(config)["networks"]["detector"], Weights)
    tiny = load_bundle("tiny")
    # Below every score, so that no row is padding.
    bundle = msgspec.structs.replace(
        tiny, networks=tiny.networks | {"detector": weights}, object_threshold=0.0
    )
    networks = load.load_networks(bundle)
    spec = graph_specs(release.sizes_of(bundle, networks))["detector"]
    detector = modules.graph_module(bundle, "detector", networks)
    example = {name: torch.from_numpy(array) for name, array in spec.example(2).items()}
    with torch.no_grad():
        found = detector(**example)
    for tensor, answer in zip(spec.outputs, found, strict=True):
        assert list(answer.shape) == [2, *tensor.dims], tensor.name
        assert answer.numpy().dtype.name == {"FP32": "float32", "INT64": "int64"}[tensor.dtype]
    boxes, scores, labels = found
    assert 0 <= boxes.min() < boxes.max() <= 1
    assert 0 < scores.min() < scores.max() < 1
    assert set(labels.unique().tolist()) <= {0, 1, 2}


def test_other_eyes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = load_bundle("tiny")
    (tmp_path / "tiny.toml").write_text((bundles.BUNDLES / "tiny.toml").read_text())
    monkeypatch.setattr(bundles, "BUNDLES", tmp_path)
    found = []
    for block in blocks("Other eyes"):
        (tmp_path / "mine.toml").write_text(f'name = "mine"\nbase = "tiny"\n{block}')
        found.append(load_bundle("mine"))
    anything, other, detector, upscaler, lines, segments = found
    for bundle in found:
        for name in bundle.used:
            weights = bundle.networks[name]
            assert weights == tiny.networks.get(name) or weights.path or weights.repo
    assert anything.networks["depth"].repo == "depth-anything/Depth-Anything-V2-Small-hf"
    assert (other.networks["depth"].depth_direction, other.networks["depth"].input_size) == (
        "distance",
        (518, 518),
    )
    assert modules.graph_precision(msgspec.structs.replace(detector, precision="fp16"), "detector") == "fp32"
    assert upscaler.networks["upscaler"].path is not None
    assert (lines.seats, segments.seats) == (("depth", "lines"), ("depth", "segments"))
    assert modules.graph_networks(segments)["segments"] == ("segments",)
