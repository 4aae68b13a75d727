"""Which two ControlNets a bundle has, and that the denoiser shows each what it was trained with."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import msgspec
import pytest
import torch

from export import bundle as bundles
from export.bundle import Bundle, BundleError, Weights, load_bundle
from export.contract import graph_specs
from export.networks.denoiser import Denoiser
from export.networks.load import load_network
from export.networks.modules import graph_networks
from export.seats import chosen_hints
from export.sources.wanted import wanted_files
from tests.support.reproduction import SIZES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of bundles; ``tiny`` is there."""
    (tmp_path / "tiny.toml").write_text((bundles.BUNDLES / "tiny.toml").read_text())
    monkeypatch.setattr(bundles, "BUNDLES", tmp_path)
    return tmp_path


def mine(folder: Path, text: str) -> Bundle:
    (folder / "mine.toml").write_text(f'name = "mine"\nbase = "tiny"\n{text}')
    return load_bundle("mine")


LINES = '[networks.controlnet_lines]\npath = "lines"\n'
SEGMENTS = '[networks.controlnet_segments]\npath = "seg"\n[networks.segments]\npath = "upernet"\n'


def test_another_controlnet_takes_a_seat(folder: Path) -> None:
    bundle = mine(folder, f'hints = ["depth", "lines"]\n{LINES}')
    assert bundle.seats == ("depth", "lines")
    assert bundle.used == tuple(name.replace("canny", "lines") for name in load_bundle("tiny").used), (
        "the base's other ControlNet is left out"
    )
    assert set(bundle.networks) == set(bundle.used)
    assert graph_networks(bundle)["denoiser"] == ("unet", "controlnet_depth", "controlnet_lines")
    bundle = mine(folder, f'hints = ["segments", "depth"]\n{SEGMENTS}')
    assert (bundle.seats, bundle.used[-2:]) == (("segments", "depth"), ("segments", "tiny_decoder"))
    assert graph_networks(bundle)["segments"] == ("segments",)
    assert "segments" not in graph_networks(load_bundle("tiny"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            LINES,
            r"for depth, edges and lines, and the denoiser has two seats: say .* hints = \[\"depth\", \"edges\"\]",
        ),
        (
            'hints = ["depth", "depth"]',
            r'hints is \["depth", "depth"\]: name two different ones of depth, edges',
        ),
        ('hints = ["depth"]', r'hints is \["depth"\]: name two different ones'),
        (
            'hints = ["depth", "pose"]',
            r"hints names pose, and there is no such hint; there are: depth, edges, lines",
        ),
        ('hints = ["depth", "lines"]', "hints names lines, and there are no weights for controlnet_lines"),
        (
            'hints = ["depth", "segments"]\n[networks.controlnet_segments]\npath = "seg"',
            "no weights for segments",
        ),
    ],
)
def test_seats_that_cannot_be_taken(text: str, sentence: str, folder: Path) -> None:
    with pytest.raises(BundleError, match=rf"^mine\.toml: .*{sentence}"):
        mine(folder, text)


def test_one_controlnet_is_too_few() -> None:
    with pytest.raises(
        ValueError, match="only controlnet_canny: the denoiser needs two of controlnet_depth, "
    ):
        chosen_hints(["unet", "controlnet_canny"], None)
    with pytest.raises(ValueError, match="there is no ControlNet: the denoiser needs two"):
        chosen_hints(["unet"], None)


def test_a_single_file_in_a_new_seat_has_the_shape_of_the_bases_controlnets(folder: Path) -> None:
    bundle = mine(folder, 'hints = ["depth", "lines"]\n' + LINES.replace('"lines"', '"lines.safetensors"'))
    assert bundle.networks["controlnet_lines"].like == load_bundle("tiny").networks["controlnet_depth"]


def test_the_denoisers_inputs_are_called_after_the_hints() -> None:
    for hints in (("lines", "depth"), ("segments", "edges")):
        tensors = {tensor.name: tensor for tensor in graph_specs(SIZES, hints)["denoiser"].inputs}
        assert set(tensors) & {"depth", "edges", "lines", "segments"} == set(hints)
        for hint in hints:
            assert tensors[hint].triton_dims == ([-1, -1, 3] if hint == "segments" else [-1, -1])
    assert "segments" in graph_specs(SIZES, ("segments", "edges"))
    assert "segments" not in graph_specs(SIZES, ("lines", "edges"))


def test_each_controlnet_is_shown_its_own_hint() -> None:
    """Whatever it is called: with tiny's ControlNets in other seats, the same pictures make the same step. A grey
    picture is the same in grey and in colours."""
    tiny = load_bundle("tiny")
    spec = graph_specs(SIZES)["denoiser"]
    example = {name: torch.from_numpy(array) for name, array in spec.example(2).items()}
    example["control_scale"] = torch.tensor([[0.3, 0.9]] * 2)
    networks = {name: load_network(tiny, name) for name in ("unet", "controlnet_depth", "controlnet_canny")}

    def denoiser(depth: str, edges: str) -> Denoiser:
        """With copies: a denoiser takes its ControlNets apart."""
        shown = {depth: networks["controlnet_depth"], edges: networks["controlnet_canny"]}
        return Denoiser(networks["unet"], {hint: deepcopy(network) for hint, network in shown.items()})

    with torch.no_grad():
        expected, _ = denoiser("depth", "edges")(**example)
        second = denoiser("segments", "lines")
        depth, edges = example.pop("depth"), example.pop("edges")
        colours = depth.unsqueeze(-1).expand(-1, -1, -1, 3)
        found, _ = second(**example, lines=edges, segments=colours)
        torch.testing.assert_close(found, expected)
        colours = torch.stack([depth, edges, depth], -1)
        assert not torch.allclose(second(**example, lines=edges, segments=colours)[0], expected)


def test_a_segmenter_that_no_controlnet_needs_is_not_loaded() -> None:
    tiny = load_bundle("tiny")
    networks = tiny.networks | {
        "segments": Weights(path="/nowhere"),
        "controlnet_lines": Weights(path="/nowhere"),
    }
    bundle = msgspec.structs.replace(tiny, networks=networks, hints=["depth", "edges"])
    assert bundle.used == tiny.used


def test_of_a_hub_only_the_networks_in_seats_are_wanted(folder: Path) -> None:
    hub = f'revision = "{"0" * 40}"\n'
    networks = "".join(
        f'[networks.{name}]\nrepo = "{name}"\n{hub}'
        for name in ("controlnet_canny", "controlnet_segments", "controlnet_lines", "segments")
    )
    wanted = wanted_files(mine(folder, f'hints = ["depth", "segments"]\n{networks}'))
    files = {repo.name: (*files.needed, *files.welcome) for repo, files in wanted.items()}
    assert set(files) == {"controlnet_segments", "segments"}
    assert "preprocessor_config.json" in files["segments"]
