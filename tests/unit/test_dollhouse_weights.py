"""Trained networks are kept whole, in half the space, and a training can begin with them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dollhouse.data.captions import Tokens
from dollhouse.train import presets, restyling
from dollhouse.train.autoencoder import AutoencoderSettings, build_autoencoder
from dollhouse.train.loop import Optimising
from dollhouse.train.networks import build_denoisers, sizes_of
from dollhouse.train.recipe import DiffusionSettings, Phase
from dollhouse.train.weights import RESTYLING, begin, copy_perception, digests, keep, load_into, main
from export.bundle import NETWORKS, PERCEPTION, BundleError
from export.networks.load import load_folder
from tests.support.dollhouse import CPU, DENOISERS, PaintedRooms, RedIsNear
from tests.support.small_networks import weights_file, write_networks


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    return write_networks(tmp_path / "run" / "networks")


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_networks_are_kept_in_half_under_their_names(networks: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep(networks, kept)
    assert content(kept).keys() == content(networks).keys()
    for name in NETWORKS:
        file = weights_file(kept, name)
        tensors = load_file(file)
        assert (tensors["weight"].dtype, tensors["ids"].dtype) == (torch.float16, torch.int64)
        assert tensors["weight"].tolist() == [float(np.float16(0.1))] * 3
        assert tensors["ids"].tolist() == [1, 70_000]
        with safe_open(file, "pt") as opened:
            assert opened.metadata() == {"format": "pt"}
        assert (kept / name / "config.json").read_text() == json.dumps({"name": name})
    assert (kept / "facts.json").read_bytes() == (networks / "facts.json").read_bytes()


def test_what_is_kept_has_one_form(networks: Path, tmp_path: Path) -> None:
    """Also when it is kept again from the kept networks, or where other files were."""
    (tmp_path / "first" / "unet").mkdir(parents=True)
    (tmp_path / "first" / "unet" / "old.safetensors").touch()
    keep(networks, tmp_path / "first")
    keep(tmp_path / "first", tmp_path / "second")
    assert content(tmp_path / "first") == content(tmp_path / "second")
    files = {name: weights_file(tmp_path / "first", name) for name in NETWORKS}
    named = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    assert digests(networks) == digests(tmp_path / "first") == named


@pytest.mark.parametrize("weight", [70_000.0, -math.inf, math.nan])
def test_a_weight_too_large_for_fp16_is_named_and_nothing_is_kept(
    networks: Path, tmp_path: Path, weight: float
) -> None:
    kept = tmp_path / "kept"
    keep(networks, kept)
    before = content(kept)
    write_networks(networks, 0.2)
    save_file({"mid.bias": torch.tensor([1.0, weight])}, weights_file(networks, "depth"))
    with pytest.raises(BundleError, match=r"networks\.depth: mid\.bias does not fit in fp16"):
        keep(networks, kept)
    assert content(kept) == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "kept"}, "staging was left behind"


def test_a_network_that_is_missing_is_named(
    networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--run", str(networks.parent), "--target", str(tmp_path / "kept")]
    weights_file(networks, "vae").unlink()
    assert main(arguments) == 1
    assert f"there is no network in {networks / 'vae'}" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
    write_networks(networks)
    assert main(arguments) == 0
    assert digests(tmp_path / "kept") == digests(networks)


def test_a_run_goes_on_with_what_it_began_with(networks: Path, tmp_path: Path) -> None:
    run = tmp_path / "new"
    assert begin(run, None) is None
    assert begin(run, networks) == run / "start"
    before = digests(networks)
    write_networks(networks, 5.0)
    for start in (networks, None, run / "start"):
        assert begin(run, start) == run / "start"
    assert digests(run / "start") == before


@pytest.mark.parametrize("trained", ["autoencoder", "diffusion"])
def test_checkpoints_win_over_a_start(networks: Path, tmp_path: Path, trained: str) -> None:
    run = tmp_path / "new"
    (run / trained).mkdir(parents=True)
    (run / trained / "checkpoint.pt").touch()
    assert begin(run, networks) is None
    assert not (run / "start").exists()


def test_a_start_needs_what_restyles(networks: Path, tmp_path: Path) -> None:
    for name in PERCEPTION:
        (networks / name).rename(tmp_path / name)
    start = begin(tmp_path / "new", networks)
    assert start is not None
    assert copy_perception(start, tmp_path / "new") == ()
    (networks / "unet").rename(tmp_path / "unet")
    with pytest.raises(FileNotFoundError, match="unet"):
        begin(tmp_path / "other", networks)
    assert not (tmp_path / "other" / "start").exists()


def test_networks_that_see_are_taken_unless_the_run_trains_them(networks: Path, tmp_path: Path) -> None:
    run = tmp_path / "new"
    (run / "depth").mkdir(parents=True)
    (run / "depth" / "checkpoint.pt").touch()
    assert copy_perception(networks, run) == ("detector",)
    assert content(run / "networks" / "detector") == content(networks / "detector")
    assert not (run / "networks" / "depth").exists()
    # The classifier's figure is added here, and stays when the run goes on.
    (run / "networks" / "perception.json").write_text('{"classifier_accuracy": 1.0}')
    assert copy_perception(networks, run) == ("detector",)
    assert (run / "networks" / "perception.json").read_text() == '{"classifier_accuracy": 1.0}'


STILL = Optimising(learning_rate=0.0)
PRESET = presets.Preset(
    autoencoder_minutes=0.0005,
    diffusion_minutes=0.0005,
    autoencoder=AutoencoderSettings(widths=(8, 16), crop=16, batch=2),
    diffusion=DiffusionSettings(
        sizes=DENOISERS, phases=(Phase(1.0, 32, 1, 16),), optimising=STILL, word_steps=0
    ),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that restyle, with other weights than those that a training draws for itself."""
    folder = tmp_path_factory.mktemp("trained")
    made = build_denoisers(DENOISERS, Tokens(restyling.TOKENIZER), seed=77)
    made["vae"] = build_autoencoder(replace(PRESET.autoencoder, seed=78))
    made["vae"].register_to_config(scaling_factor=0.75)
    restyling.save_networks({name: network.half() for name, network in made.items()}, folder)
    return folder


@pytest.fixture
def depth_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restyling, "load_depth", lambda networks, device: None)
    monkeypatch.setattr(restyling, "as_module", lambda network: RedIsNear())


@pytest.mark.usefixtures("depth_model")
def test_a_training_begins_with_the_networks_of_its_start(trained: Path, tmp_path: Path) -> None:
    """It moves nothing here (a learning rate of zero), so everything is still as it began: the sizes too, though the
    preset has wider networks."""
    wider = replace(PRESET, diffusion=replace(PRESET.diffusion, sizes=replace(DENOISERS, widths=(8, 24))))
    restyling.autoencoder_part(PaintedRooms(), tmp_path, wider, CPU, trained)
    restyling.diffusion_part(PaintedRooms(), tmp_path, wider, CPU, trained)
    made = tmp_path / "networks"
    assert sizes_of(made) == DENOISERS
    for name in RESTYLING:
        ours, theirs = (load_folder(name, f / name) for f in (made, trained))
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=1e-6)
        assert ours.dtype == torch.float32
    assert json.loads((made / "vae" / "config.json").read_text())["scaling_factor"] == 0.75
    assert not (tmp_path / "autoencoder").exists(), "the autoencoder was trained"


def test_networks_of_other_sizes_are_refused(trained: Path) -> None:
    built = build_denoisers(replace(DENOISERS, widths=(8, 24)), Tokens(restyling.TOKENIZER), 0)
    with pytest.raises(
        ValueError, match=r"/unet has other sizes than what is to be trained: size mismatch for"
    ):
        load_into(built, trained)
