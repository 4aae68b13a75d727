"""A bundle that the service could not run is not published; each of these was, and failed at its first job."""

from __future__ import annotations

import json
import operator
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import bundle as bundles
from export import release as publishing
from export.bundle import Bundle, BundleError, Weights, load_bundle
from export.networks.load import load_networks
from export.proofs.checks import check_schedule
from export.proofs.rehearsal import RehearsalError, rehearse
from export.release import build_release
from tests.conftest import RELEASE, ROOT
from tests.support.releases import read_document, write_document

SD15 = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


def refused(bundle: Bundle, releases: Path) -> str:
    """The exporter's message."""
    with pytest.raises(BundleError) as caught:
        build_release(bundle, releases, version=1)
    assert list(releases.iterdir()) == [], "something was left behind"
    return str(caught.value)


def with_networks(**networks: Weights) -> Bundle:
    tiny = load_bundle("tiny")
    return msgspec.structs.replace(tiny, networks=tiny.networks | networks)


def test_defaults_that_restyle_cannot_do_are_found_before_anything_is_published(tmp_path: Path) -> None:
    tiny = load_bundle("tiny")
    defaults = msgspec.structs.replace(tiny.defaults, strength=0.0)
    assert refused(msgspec.structs.replace(tiny, defaults=defaults), tmp_path) == (
        "tiny.toml: restyle cannot run it: defaults: strength must be above 0 and at most 1, not 0"
    )


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"vocab_size": 512}, "tokenizer gives ids up to 768, the text encoder knows 512"),
        (
            {"max_position_embeddings": 64},
            "prompts are 77 tokens long, the text encoder (max_position_embeddings) takes 64 only",
        ),
    ],
    ids=str,
)
def test_a_text_encoder_that_the_tokenizer_does_not_fit(
    config: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    weights = load_bundle("tiny").networks["text_encoder"]
    changed = msgspec.structs.replace(weights, config={**(weights.config or {}), **config})
    message = refused(with_networks(text_encoder=changed), tmp_path)
    assert message.startswith("tiny.toml: tokenizer ")
    assert sentence in message


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a diffusers pipeline, with tiny's UNet."""
    folder = tmp_path_factory.mktemp("pipeline")
    load_networks(load_bundle("tiny"))["unet"].save_pretrained(folder / "unet")
    (folder / "scheduler").mkdir()
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"beta_end": 0.03},
            "schedule.beta_end is 0.012, but .*/scheduler_config.json says beta_end 0.03: write",
        ),
        (
            {"prediction_type": "v_prediction"},
            "schedule.prediction is 'epsilon', but .* prediction_type 'v_pred",
        ),
        ({"num_train_timesteps": 500}, "schedule.train_steps is 1000, but .* says num_train_timesteps 500"),
        ({"beta_schedule": None}, ".* says beta_schedule 'linear', and restyle can do 'scaled_linear' only"),
        (
            {"rescale_betas_zero_snr": True},
            ".* says rescale_betas_zero_snr True, and restyle can do False only",
        ),
    ],
)
@pytest.mark.parametrize("subfolder", ["", "unet"])
def test_a_schedule_that_the_networks_were_not_trained_with(
    change: dict[str, Any], sentence: str, subfolder: str, pipeline: Path
) -> None:
    config = {name: value for name, value in (SD15 | change).items() if value is not None}
    (pipeline / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    weights = Weights(path=str(pipeline / ("" if subfolder else "unet")), subfolder=subfolder)
    bundle = with_networks(unet=weights)
    with pytest.raises(BundleError, match=f"^tiny.toml: .*{sentence}"):
        check_schedule(bundle)
    (pipeline / "scheduler" / "scheduler_config.json").write_text(json.dumps(SD15))
    check_schedule(bundle)


def test_a_schedule_is_compared_before_anything_is_published(pipeline: Path, tmp_path: Path) -> None:
    (pipeline / "scheduler" / "scheduler_config.json").write_text(json.dumps(SD15 | {"beta_end": 0.03}))
    bundle = with_networks(unet=Weights(path=str(pipeline / "unet")))
    assert "schedule.beta_end is 0.012" in refused(bundle, tmp_path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("max_batch_size = 1", "Expected `int` >= 2 - at `$.max_batch_size`"),
        ("quality_threshold = 1.5", "Expected `float` <= 1.0 - at `$.quality_threshold`"),
        ("object_threshold = nan", "every number must be finite, not nan"),
        ("max_batch_size = inf", "every number must be finite, not inf"),
        ('name = "big"', "name is 'big': it must be that of the file, 'tiny'"),
    ],
)
def test_values_that_no_release_can_have(
    line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (bundles.BUNDLES / "tiny.toml").read_text()
    field = line.partition(" ")[0]
    (tmp_path / "tiny.toml").write_text(re.sub(rf"^{field} = .*", line, text, count=1, flags=re.MULTILINE))
    monkeypatch.setattr(bundles, "BUNDLES", tmp_path)
    with pytest.raises(BundleError, match=re.escape(f"tiny.toml: {sentence}")):
        load_bundle("tiny")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"solvers": ["ddim", "plms"]},
            "solvers: with the spacing 'diffusers' there are ddim, .*, not 'plms'",
        ),
        (
            {"schedule": {"spacing": "trailing"}, "solvers": ["ddim", "euler_ancestral"]},
            "solvers: with the spacing 'trailing' there are ddim, euler, dpmpp_2m, not 'euler_ancestral'",
        ),
        (
            {"schedule": {"spacing": "trailing"}, "defaults": {"solver": "dpmpp_2m_karras"}},
            "defaults: solver must be one of ddim, euler, dpmpp_2m, not 'dpmpp_2m_karras'",
        ),
        ({"solvers": ["ddim"]}, "defaults: solver must be one of ddim, not 'dpmpp_2m'"),
        ({"solvers": []}, "solvers is empty: leave it out for all"),
        ({"defaults": {"solver": "plms"}}, "defaults: solver must be one of ddim, euler, .*, not 'plms'"),
        ({"defaults": {"steps": 1000}}, "defaults: steps must be 1 to 100, not 1000"),
        ({"defaults": {"guidance_scale": 99.0}}, "defaults: guidance_scale must be 0 to 50, not 99"),
        ({"defaults": {"control_scale": (0.8, -1.0)}}, "defaults: control_scale must be 0 to 2, not -1"),
        ({"defaults": {"detail": 2.0}}, "defaults: detail must be 0 to 1, not 2"),
        ({"defaults": {"start_noise": 1.5}}, r"defaults: start_noise must be 0 to 1, not 1\.5"),
        *(
            (
                {"defaults": {"strength": 0.2, "steps": steps}},
                rf"defaults: strength 0\.2 of {steps} steps is no whole number, and would be run of 5: write so",
            )
            for steps in (4, 8)
        ),
        ({"palettes": [["oak"] * 9]}, "palettes: palette must be at most 8 strings, not 9"),
        ({"palettes": [[], ["x" * 401]]}, "palettes: palette must be at most 400 characters, not 401"),
    ],
    ids=str,
)
def test_settings_that_restyle_cannot_do(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    document = read_document(RELEASE)
    for name, value in changes.items():
        document[name] = document[name] | value if isinstance(value, dict) else value
    shutil.copytree(RELEASE / "versions", tmp_path / "versions")
    write_document(tmp_path, document)
    with pytest.raises(RehearsalError, match=f"^restyle cannot run it: {sentence}$"):
        rehearse(tmp_path, settings_only=True)


def test_a_bundle_that_starts_from_the_photo_is_published_with_its_palettes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rehearsed as a service would run it: from the photo without noise, two steps of the last fifth."""

    def published_before(orders: Any, folder: Path, *_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tiny's graphs, which are the same and take a minute to make."""
        shutil.copytree(RELEASE / "models", folder)
        return read_document(RELEASE)["models"], {}

    monkeypatch.setattr(publishing, "make_graphs", published_before)
    tiny = load_bundle("tiny")
    bundle = msgspec.structs.replace(
        tiny,
        defaults=msgspec.structs.replace(tiny.defaults, steps=5, strength=0.2, start_noise=0.0),
        schedule=msgspec.structs.replace(tiny.schedule, spacing="trailing"),
        solvers=["ddim", "dpmpp_2m"],
        palettes=[["sage green"], ["navy", "cream"], []],
        tiers={},
    )
    document = read_document(build_release(bundle, tmp_path, version=1))
    assert (document["defaults"]["strength"], document["defaults"]["start_noise"]) == (0.2, 0.0)
    assert document["schedule"]["spacing"] == "trailing"
    assert (document["solvers"], document["palettes"]) == (bundle.solvers, bundle.palettes)
    assert "Of the steps, 20 % are run" in (tmp_path / "tiny/versions/1/report.md").read_text()


def with_another_text_encoder(folder: Path, document: dict[str, Any]) -> None:
    """Another bundle's, of another width."""
    (other,) = (ROOT / "releases/dollhouse/models/text_encoder").glob("*/model.onnx")
    shutil.copy(other, graph(folder, "text_encoder"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # As after an overflow.
        (lambda folder, _: scale_decoder(folder, np.nan), "vae_decoder made no finite picture"),
        (lambda folder, _: scale_decoder(folder, 0.0), "the picture is all of one colour"),
        (with_another_text_encoder, "denoiser: .*INVALID_ARGUMENT"),
        (
            lambda _, document: document["preview_matrix"].pop(),
            "preview_matrix must be 5×3 for 4 latent channels, not 4×3",
        ),
        # As JSON has it after a training that went wrong.
        (
            lambda _, document: operator.setitem(document["preview_matrix"][0], 0, None),
            "preview_matrix has values that are not finite numbers",
        ),
        (
            lambda _, document: document["schedule"].update(train_steps=50),
            r"schedule: \w+ with 100 steps has no finite table on it",
        ),
    ],
    ids=["nan", "one colour", "text encoder", "few colours", "null", "few steps"],
)
def test_a_release_that_restyle_cannot_paint_with(
    change: Callable[[Path, dict[str, Any]], None], sentence: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(RELEASE, folder)
    document = read_document(folder)
    change(folder, document)
    write_document(folder, document)
    with pytest.raises(RehearsalError, match=f"^restyle cannot run it: {sentence}"):
        rehearse(folder)


@pytest.mark.parametrize("name", ["tiny", "dollhouse"])
def test_the_published_releases_paint(name: str) -> None:
    rehearse(ROOT / "releases" / name)


def graph(folder: Path, model: str) -> Path:
    return folder / "models" / model / "1" / "model.onnx"


def scale_decoder(folder: Path, factor: float) -> None:
    """Multiply every floating-point weight of the VAE's decoder."""
    file = graph(folder, "vae_decoder")
    loaded = onnx.load(file)
    for tensor in loaded.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim > 1:
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32(factor), tensor.name))
    onnx.save(loaded, file)
