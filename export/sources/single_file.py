"""Single .safetensors files, as most fine-tuned checkpoints are passed on, made into folders for ``from_pretrained``.

They hold the networks of a pipeline under the names of the first Stable Diffusion's code. diffusers converts them; what
it would fetch from a hub, the configurations, comes from the base bundle here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from export.bundle import BundleError
from export.sources.configuration import is_diffusers
from export.sources.headers import Header, read_header

_PREFIXES = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.transformer.",),
    "controlnet": ("control_model.",),
}
"""By network: what its names begin with in a file that holds several."""
_ALONE = {
    "unet": ("input_blocks.0.0.weight", "up_blocks.0.resnets.0.norm1.weight"),
    "vae": ("decoder.conv_in.weight",),
    "text_encoder": ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"),
    "controlnet": ("input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"),
}
"""By network: a name that a file of it alone has, in the first code's words or in diffusers'."""
_OTHERS = {
    "conditioner.embedders.": "Stable Diffusion XL",
    "cond_stage_model.model.": "Stable Diffusion 2",
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
    "double_blocks.": "Flux",
}
"""Beginnings of names that only other models have."""


def networks_in(header: Header) -> list[str]:
    """Which of "unet", "vae", "text_encoder" and "controlnet" a file holds."""
    return [kind for kind in _PREFIXES if _names(header, kind)]


def foreign_model(header: Header) -> str | None:
    """The model that a file holds, where it is none that can be served."""
    for beginning, model in _OTHERS.items():
        if any(name.startswith(beginning) for name in header.tensors):
            return model
    return None


def converted(header: Header, name: str, network: Any) -> dict[str, Tensor]:
    """The tensors of the network ``name`` as diffusers or transformers call them, on the device ``meta``.

    ``network`` is one of the same configuration; its numbers are not read. Raises BundleError when the file holds no
    such network.
    """
    empty = header.empty()
    return _convert(header, name, network, {key: empty[key] for key in names_of(header, name)})


def unpack(file: Path, name: str, network: Any, folder: Path) -> None:
    """Write the network ``name`` that ``file`` holds into ``folder``, as ``from_pretrained`` reads it.

    ``network`` has its configuration; its own numbers are not read. Those of the file stay in the type that they have
    and are widened when they are loaded. Raises BundleError when the file holds no such network.
    """
    header = read_header(file)
    with safe_open(file, "pt") as content:
        tensors = {key: content.get_tensor(key) for key in names_of(header, name)}
    tensors = _convert(header, name, network, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / ".unfinished"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, unfinished, {"format": "pt"})
    os.replace(unfinished, folder / weights_file(name))
    if is_diffusers(network):
        network.save_config(folder)
    else:
        network.config.save_pretrained(folder)


def weights_file(name: str) -> str:
    """The file that ``from_pretrained`` looks for."""
    diffusers = name in ("unet", "vae", "tiny_decoder") or name.startswith("controlnet")
    return f"{'diffusion_pytorch_model' if diffusers else 'model'}.safetensors"


def _kind(name: str) -> str:
    return "controlnet" if name.startswith("controlnet") else name


def _names(header: Header, kind: str) -> list[str]:
    """The names in the file of the tensors of one network, with its prefix if there is one."""
    for prefix in _PREFIXES[kind]:
        if names := [name for name in header.tensors if name.startswith(prefix)]:
            return names
    if any(mark in header.tensors for mark in _ALONE[kind]):
        # A ControlNet has most of a UNet's names; what it alone has tells it apart.
        if kind == "unet" and any(mark in header.tensors for mark in _ALONE["controlnet"]):
            return []
        return list(header.tensors)
    return []


def names_of(header: Header, name: str) -> list[str]:
    """The names in the file of the tensors of the network ``name``. Raises BundleError when it holds none."""
    kind = _kind(name)
    if kind not in _PREFIXES:
        raise BundleError(f"{header.path}: {name} must be a folder with config.json, not a single file")
    if names := _names(header, kind):
        return names
    found = networks_in(header)
    raise BundleError(f"{header.path}: holds no {kind}, but {', '.join(found) or 'nothing that is known'}")


def _convert(header: Header, name: str, network: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kind = _kind(name)
    if kind == "text_encoder":
        original = any(key.startswith(_PREFIXES[kind]) for key in tensors)
        found = convert_ldm_clip_checkpoint(tensors) if original else dict(tensors)
        return {key: tensor for key, tensor in found.items() if not key.endswith("position_ids")}
    # Of the network, not of its config.json, which may leave members to the class.
    whole = dict(network.config)
    try:
        if kind == "unet" and "conv_in.weight" not in tensors:
            return dict(convert_ldm_unet_checkpoint(_with_prefix(tensors, kind), whole))
        if kind == "vae" and not any(key.startswith("encoder.down_blocks.") for key in tensors):
            return dict(convert_ldm_vae_checkpoint(dict(tensors), whole))
        if kind == "controlnet":
            found = convert_controlnet_checkpoint(dict(tensors), whole)
            return {key: tensor for key, tensor in found.items() if tensor is not None}
    except (KeyError, IndexError) as error:
        raise BundleError(f"{header.path}: diffusers cannot convert its {kind}: {error}") from error
    return dict(tensors)


def _with_prefix(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    (prefix,) = _PREFIXES[kind]
    return {key if key.startswith(prefix) else prefix + key: tensor for key, tensor in tensors.items()}
