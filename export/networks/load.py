"""Loading: the networks of a bundle as the classes of diffusers and transformers, in evaluation mode, FP32."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DPTConfig,
    DPTForDepthEstimation,
    PretrainedConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Swin2SRConfig,
    Swin2SRForImageSuperResolution,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    YolosConfig,
    YolosForObjectDetection,
)

from export.bundle import Bundle, BundleError, Weights
from export.networks.centres import CentresConfig, CentresForObjectDetection
from export.seats import SEATS
from export.sources.configuration import CONFIG, read_config
from export.sources.lora import LORA_NETWORKS, fuse
from export.sources.opening import open_network, source_folder
from export.sources.single_file import unpack
from export.sources.ultralytics import UltralyticsFile

Network = Any
"""A torch module of diffusers or transformers; both set ``config`` on their classes in ways that type checkers miss."""

_DIFFUSERS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    **dict.fromkeys(SEATS, ControlNetModel),
    "vae": AutoencoderKL,
    "tiny_decoder": AutoencoderTiny,
}
_TRANSFORMERS: dict[str, tuple[Any, Any]] = {"text_encoder": (CLIPTextConfig, CLIPTextModel)}
_DEPTHS: dict[str, tuple[Any, Any]] = {
    "dpt": (DPTConfig, DPTForDepthEstimation),
    "depth_anything": (DepthAnythingConfig, DepthAnythingForDepthEstimation),
}
_DETECTORS: dict[str, tuple[Any, Any]] = {
    "yolos": (YolosConfig, YolosForObjectDetection),
    "centres": (CentresConfig, CentresForObjectDetection),
}
_UPSCALERS: dict[str, tuple[Any, Any]] = {"swin2sr": (Swin2SRConfig, Swin2SRForImageSuperResolution)}
_SEGMENTS: dict[str, tuple[Any, Any]] = {
    "upernet": (UperNetConfig, UperNetForSemanticSegmentation),
    "segformer": (SegformerConfig, SegformerForSemanticSegmentation),
}
"""(Configuration, network) by the ``model_type`` of the configuration, which may be left out for the first of each."""


ONNX = ".onnx"
"""How the file of a detector ends that Ultralytics exported."""


def load_networks(bundle: Bundle) -> dict[str, Network]:
    """Every network of the bundle by name, as :func:`load_network` loads it. Raises BundleError, also when the networks
    do not fit together."""
    networks = {name: load_network(bundle, name) for name in bundle.used}
    check_hint_factor(networks)
    return networks


def load_network(bundle: Bundle, name: str) -> Network:
    """One network in evaluation mode, its weights rounded to what the bundle stores. Raises BundleError."""
    weights = bundle.networks[name]
    folder = source_folder(bundle, name)
    if folder is not None and folder.suffix == ONNX:
        return _ultralytics(name, folder)
    if folder is None:
        # Each network draws from a generator of its own, so that changing one leaves the others as they were.
        torch.manual_seed(bundle.seed + zlib.crc32(name.encode()) % 100_000)
        network = _random(name, weights)
    else:
        with TemporaryDirectory(prefix="reroom-network-") as scratch:
            if weights.is_file:
                unpack(folder, name, skeleton(bundle, name), Path(scratch))
            network = load_folder(
                name, Path(scratch) if weights.is_file else open_network(folder, Path(scratch))
            )
    if name in LORA_NETWORKS:
        fuse(name, network, bundle.loras)
    network.eval().requires_grad_(False)
    if bundle.stored == "fp16":
        round_to_fp16(name, network)
    return network


def load_folder(name: str, folder: Path) -> Network:
    """The network in ``folder``, as ``from_pretrained`` reads it, FP32. Raises BundleError."""
    try:
        if name in _DIFFUSERS:
            return _DIFFUSERS[name].from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
        _, model_class = _classes(name, PretrainedConfig.get_config_dict(folder)[0])
        return model_class.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"networks.{name}: cannot load {folder}: {reason}") from error


def skeleton(bundle: Bundle, name: str) -> Network:
    """The network ``name`` with its configuration and no numbers, on torch's device "meta". Raises BundleError."""
    folder = source_folder(bundle, name)
    if folder is not None and folder.suffix == ONNX:
        return _ultralytics(name, folder)
    return empty_network(name, read_config(bundle.networks[name]))


def empty_network(name: str, config: dict[str, Any]) -> Network:
    """The network ``name`` of a bundle with this configuration and no numbers, on torch's device "meta".

    Raises BundleError when the configuration describes none.
    """
    try:
        with torch.device("meta"):
            return _build(name, dict(config))
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{CONFIG} describes no such network: {str(error).splitlines()[0]}") from error


def _ultralytics(name: str, file: Path) -> Network:
    if name != "detector":
        raise BundleError(f"networks.{name}: {file} is an ONNX file, and only a detector can come as one")
    return UltralyticsFile(file).eval()


def _classes(name: str, config: dict[str, Any]) -> tuple[Any, Any]:
    """(configuration, network) of transformers for a network with this configuration."""
    if name in _TRANSFORMERS:
        return _TRANSFORMERS[name]
    known = {"depth": _DEPTHS, "detector": _DETECTORS, "segments": _SEGMENTS, "upscaler": _UPSCALERS}[name]
    kind = config.get("model_type", next(iter(known)))
    if kind not in known:
        raise BundleError(f"networks.{name}: {kind} is none of {', '.join(known)}")
    return known[kind]


def _build(name: str, config: dict[str, Any]) -> Network:
    """A network of this configuration, with its class's own initial weights."""
    kind = config.get("_class_name") or config.get("model_type")
    if name in _DIFFUSERS:
        own = _DIFFUSERS[name].__name__
        if "model_type" in config or config.get("_class_name", own) != own:
            raise BundleError(
                f"it is {kind}, and not {own}: give another source, or this one for another network"
            )
        return _DIFFUSERS[name].from_config(config)
    if "_class_name" in config:
        raise BundleError(f"it is {kind} of diffusers: give another source, or this one for another network")
    if isinstance(config.get("id2label"), list):
        config["id2label"] = dict(enumerate(config["id2label"]))
    config_class, model_class = _classes(name, config)
    config.pop("model_type", None)
    return model_class(config_class(**config, attn_implementation="eager"))


def _random(name: str, weights: Weights) -> Network:
    network = _build(name, dict(weights.config or {}))
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if weights.redraw and not parameter.any():
                parameter.normal_(0.0, weights.redraw)
            if parameter.dim() > 1:
                parameter.mul_(
                    prod(factor for prefix, factor in weights.gain.items() if key.startswith(prefix))
                )
    return network


@torch.no_grad()
def round_to_fp16(name: str, network: Network) -> None:
    """Round every parameter to FP16, and keep it in FP32. Raises BundleError when one is too large."""
    for key, parameter in network.named_parameters():
        parameter.copy_(to_fp16(name, key, parameter))


def to_fp16(name: str, key: str, tensor: Tensor) -> Tensor:
    """FP16 of ``tensor``, which is ``key`` of the network ``name``. Raises BundleError when it is too large."""
    half = tensor.half()
    if not half.isfinite().all():
        raise BundleError(f"networks.{name}: {key} does not fit in fp16")
    return half


def hint_factor(controlnet: Network) -> int:
    """Factor by which a ControlNet's hint embedding shrinks pictures: it halves them between neighbouring widths."""
    return int(2 ** (len(controlnet.config.conditioning_embedding_out_channels) - 1))


def vae_factor(vae: Network) -> int:
    """Ratio of picture sides to latent sides."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def unet_factor(unet: Network) -> int:
    """Latent sides must be multiples of this."""
    return int(2 ** (len(unet.config.block_out_channels) - 1))


def check_hint_factor(networks: Mapping[str, Network]) -> None:
    """Raises BundleError when a ControlNet's hints would not have the size of the latents."""
    factor = vae_factor(networks["vae"])
    for name in (seat for seat in SEATS if seat in networks):
        hint = hint_factor(networks[name])
        if hint != factor:
            raise BundleError(
                f"{name} shrinks its hint by {hint}, the VAE by {factor}: they do not fit together"
            )
