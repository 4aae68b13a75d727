"""The look at a bundle's files: what a folder of diffusers is not the place for, and what is no mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.bundle import Bundle, Lora, Weights, load_bundle
from export.networks.load import load_networks
from export.proofs.inspection import find_problems
from tests.support.single_files import checkpoint

Tensors = dict[str, torch.Tensor]
FILES = {"text_encoder": "model", "depth": "model", "detector": "model"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each network of tiny, and ``one.safetensors``."""
    folder = tmp_path_factory.mktemp("saved")
    networks = load_networks(load_bundle("tiny"))
    for name, network in networks.items():
        network.save_pretrained(folder / name)
    save_file(
        checkpoint(*(networks[name] for name in ("unet", "vae", "text_encoder"))), folder / "one.safetensors"
    )
    return folder


def tiny(**networks: Weights) -> Bundle:
    bundle = load_bundle("tiny")
    return msgspec.structs.replace(bundle, networks=bundle.networks | networks)


def single(file: Path, *names: str) -> Bundle:
    known = load_bundle("tiny").networks
    return tiny(**{name: Weights(path=str(file), like=known[name]) for name in names})


def changed_folder(saved: Path, name: str, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a network with other tensors."""
    file = f"{FILES.get(name, 'diffusion_pytorch_model')}.safetensors"
    target.mkdir()
    save_file(change(load_file(saved / name / file)), target / file)
    (target / "config.json").write_text((saved / name / "config.json").read_text())
    return target


@pytest.mark.parametrize("bundle", ["tiny", "dollhouse", "sd15_quarter", "sd15"])
def test_the_projects_own_bundles_are_right(bundle: str) -> None:
    assert find_problems(load_bundle(bundle)) == []


def test_whole_sources_are_right(saved: Path) -> None:
    assert find_problems(tiny(**{name: Weights(path=str(saved / name)) for name in tiny().networks})) == []
    assert find_problems(single(saved / "one.safetensors", "unet", "vae", "text_encoder")) == []


def without_first_fusion(tensors: Tensors) -> Tensors:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("neck.fusion_stage.layers.0.residual_layer1.")
    }


def as_in_2022(tensors: Tensors) -> Tensors:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, was in old.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{was}.")
        renamed[name] = tensor
    return renamed


def of_older_transformers(tensors: Tensors) -> Tensors:
    return {f"text_model.{name}": tensor for name, tensor in tensors.items()} | {
        "text_model.embeddings.position_ids": torch.arange(77)[None]
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("depth", without_first_fusion),
        ("vae", as_in_2022),
        ("text_encoder", of_older_transformers),
        ("text_encoder", lambda tensors: tensors | {"text_projection.weight": torch.zeros(32, 32)}),
    ],
)
def test_names_of_older_files_are_right(
    name: str, change: Callable[[Tensors], Tensors], saved: Path, tmp_path: Path
) -> None:
    folder = changed_folder(saved, name, tmp_path / name, change)
    before, after = (set(load_file(next(place.glob("*.safetensors")))) for place in (saved / name, folder))
    assert before != after
    assert find_problems(tiny(**{name: Weights(path=str(folder))})) == []


def test_weights_in_several_files(saved: Path, tmp_path: Path) -> None:
    networks = load_networks(load_bundle("tiny"))
    networks["unet"].save_pretrained(tmp_path, max_shard_size="200KB")
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    bundle = tiny(unet=Weights(path=str(tmp_path)))
    assert find_problems(bundle) == []
    files[1].unlink()
    assert find_problems(bundle) == [
        f"tiny.toml: networks.unet: {files[1]}: cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        (
            "controlnet_canny",
            {"cross_attention_dim": 48},
            "controlnet_canny: its cross_attention_dim is 48, the UNet's is 32: take a ControlNet that was trained for "
            "this UNet",
        ),
        (
            "controlnet_depth",
            {"conditioning_embedding_out_channels": [8, 8, 16]},
            "controlnet_depth: it shrinks its hint by 4, the VAE by 8: take a ControlNet that was trained with",
        ),
        (
            "vae",
            {"latent_channels": 16},
            "unet: takes 4 channels and gives 4, the VAE's latents have 16: take a VAE that belongs to the UNet",
        ),
        (
            "unet",
            {"num_class_embeds": 10},
            "unet: its num_class_embeds is 10, an input that restyle does not give: take a checkpoint of Stable "
            "Diffusion 1.5's kind",
        ),
        ("unet", {"block_out_channels": [16, 30]}, "unet: config.json describes no such network: "),
    ],
)
def test_networks_that_do_not_fit_together(name: str, config: dict[str, Any], sentence: str) -> None:
    weights = load_bundle("tiny").networks[name]
    other = msgspec.structs.replace(weights, config=(weights.config or {}) | config)
    (problem,) = find_problems(tiny(**{name: other}))
    assert problem.startswith(f"tiny.toml: networks.{sentence}")


def test_a_bundle_that_says_another_prediction_than_its_weights(saved: Path, tmp_path: Path) -> None:
    """The folder's scheduler_config.json, and of a single file its header."""
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "unet").symlink_to(saved / "unet")
    file = tmp_path / "scheduler" / "scheduler_config.json"
    scaled = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    file.write_text(json.dumps(scaled | {"prediction_type": "v_prediction"}))
    marked = tmp_path / "one.safetensors"
    save_file(load_file(saved / "one.safetensors"), marked, {"modelspec.prediction_type": "v"})
    with_mark = tmp_path / "mark.safetensors"
    save_file(load_file(saved / "one.safetensors") | {"v_pred": torch.zeros(0)}, with_mark)
    for bundle, place, name in (
        (tiny(unet=Weights(path=str(tmp_path), subfolder="unet")), str(file), "v_prediction"),
        (single(marked, "unet"), f"the header of {marked} (modelspec)", "v_prediction"),
        (single(with_mark, "unet"), f"the tensor v_pred of {with_mark}", "v_prediction"),
    ):
        assert find_problems(bundle) == [
            f"tiny.toml: schedule.prediction is 'epsilon', but {place} says prediction_type {name!r}: write what the "
            "networks were trained with"
        ]
        schedule = msgspec.structs.replace(bundle.schedule, prediction="v_prediction")
        assert find_problems(msgspec.structs.replace(bundle, schedule=schedule)) == []


def inpainting(tensors: Tensors) -> Tensors:
    return tensors | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(16, 9, 3, 3)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            inpainting,
            "{f}: model.diffusion_model.input_blocks.0.0.weight has 9 channels: it is an inpainting network",
        ),
        (
            lambda tensors: tensors | {"conditioner.embedders.1.model.ln_final.weight": torch.zeros(2)},
            "{f}: is of Stable Diffusion XL: take a checkpoint of Stable Diffusion 1.5's kind",
        ),
        (
            lambda tensors: tensors | {"cond_stage_model.model.ln_final.weight": torch.zeros(2)},
            "{f}: is of Stable Diffusion 2: take",
        ),
        (
            lambda tensors: tensors | {"model.diffusion_model.out.0.bias": torch.zeros(8)},
            "{f}: conv_norm_out.bias is [8], and [16] after the configuration: take the config.json that belongs",
        ),
        (
            lambda tensors: {key: value for key, value in tensors.items() if ".time_embed.0." not in key},
            "{f}: lacks time_embedding.linear_1.weight (and 1 more): take the weights that belong to the config.json",
        ),
        (
            lambda tensors: {key: value for key, value in tensors.items() if "first_stage" in key},
            "{f}: holds no unet, but vae",
        ),
        (
            lambda tensors: tensors | {"model.diffusion_model.out.2.bias": torch.full((4,), torch.inf)},
            "{f}: model.diffusion_model.out.2.bias has numbers that are not finite: take other weights",
        ),
    ],
    ids=["inpainting", "SDXL", "SD 2", "width", "missing", "no UNet", "infinity"],
)
def test_single_files_that_cannot_be_served(
    change: Callable[[Tensors], Tensors], sentence: str, saved: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(change(load_file(saved / "one.safetensors")), file)
    (problem,) = find_problems(single(file, "unet"))
    assert problem.startswith("tiny.toml: networks.unet: " + sentence.replace("{f}", str(file)))


def test_loras_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    down = "lora_unet_conv_in.lora_down.weight"
    tensors = {down: torch.ones(1, 4, 3, 3), down.replace("down", "up"): torch.ones(16, 1, 1, 1)}
    bundle = msgspec.structs.replace(load_bundle("tiny"), loras=[Lora(path=str(file))])
    assert find_problems(bundle) == [f"tiny.toml: loras: {file}: cannot be read: No such file or directory"]
    save_file(tensors, file)
    assert find_problems(bundle) == []
    tensors[down][0, 0, 0, 0] = torch.nan
    save_file(tensors, file)
    assert find_problems(bundle) == [
        f"tiny.toml: loras: {file}: {down} has numbers that are not finite: take other weights"
    ]
    save_file({f"{down}.dora_scale": torch.ones(1), "lamp": torch.ones(1)}, file)
    assert len(find_problems(bundle)) == 1
