"""Loading: the networks of a bundle as the classes of diffusers and transformers, in evaluation mode, FP32."""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
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
    UperNetConfig,
    UperNetForSemanticSegmentation,
    YolosConfig,
    YolosForObjectDetection,
)

from export.bundle import Bundle, BundleError, Weights, local_path
from export.networks.centres import CentresConfig, CentresForObjectDetection
from export.seats import SEATS
from export.sources.ultralytics import UltralyticsFile
from export.sources.weights_from_graphs import copy_network, is_packed

Network = Any
"""A torch module of diffusers or transformers; both set ``config`` on their classes in ways that type checkers miss."""

_DIFFUSERS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    **dict.fromkeys(SEATS, ControlNetModel),
    "vae": AutoencoderKL,
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
_SEGMENTS: dict[str, tuple[Any, Any]] = {
    "upernet": (UperNetConfig, UperNetForSemanticSegmentation),
    "segformer": (SegformerConfig, SegformerForSemanticSegmentation),
}
"""(Configuration, network) by the ``model_type`` of the configuration, which may be left out for the first of each."""


def load_networks(bundle: Bundle) -> dict[str, Network]:
    """Every network of the bundle by name, its weights rounded to what the bundle stores.

    Raises BundleError when weights cannot be loaded or their shapes do not fit together.
    """
    wanted = {name: bundle.networks[name] for name in bundle.used}
    for name, weights in wanted.items():
        if weights.path is not None:
            local_path(bundle, f"networks.{name}", weights.path)
    with TemporaryDirectory(prefix="reroom-networks-") as scratch:
        networks = {
            name: _load(name, _whole(weights, Path(scratch, name)), bundle.seed)
            for name, weights in wanted.items()
        }
    if bundle.stored == "fp16":
        for name, network in networks.items():
            _round_to_fp16(name, network)
    _check_hint_factor(networks)
    return networks


def _whole(weights: Weights, scratch: Path) -> Weights:
    """``weights``; those that are kept in the graphs of a release are copied to the folder ``scratch``."""
    folder = Path(weights.source or "", weights.subfolder)
    if weights.path is None or not is_packed(folder):
        return weights
    copy_network(folder, scratch)
    return Weights(path=str(scratch))


def _load(name: str, weights: Weights, seed: int) -> Network:
    if name == "detector" and weights.path is not None and weights.path.endswith(".onnx"):
        return UltralyticsFile(Path(weights.source or "")).eval()
    if weights.config is not None:
        # Each network draws from a generator of its own, so that changing one leaves the others as they were.
        torch.manual_seed(seed + zlib.crc32(name.encode()) % 100_000)
        network = _random(name, weights)
    else:
        network = _pretrained(name, weights)
    return network.eval().requires_grad_(False)


def _pretrained(name: str, weights: Weights) -> Network:
    if weights.source is None:
        raise BundleError(f"networks.{name}: give repo, path or config")
    place = {"subfolder": weights.subfolder, "revision": weights.revision}
    try:
        if name in _DIFFUSERS:
            return _DIFFUSERS[name].from_pretrained(weights.source, torch_dtype=torch.float32, **place)
        _, model_class = _classes(name, PretrainedConfig.get_config_dict(weights.source, **place)[0])
        return model_class.from_pretrained(
            weights.source, dtype=torch.float32, attn_implementation="eager", **place
        )
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"networks.{name}: cannot load {weights.source}: {reason}") from error


def _classes(name: str, config: dict[str, Any]) -> tuple[Any, Any]:
    """(configuration, network) of transformers for a network with this configuration."""
    if name in _TRANSFORMERS:
        return _TRANSFORMERS[name]
    known = {"depth": _DEPTHS, "detector": _DETECTORS, "segments": _SEGMENTS}[name]
    kind = config.get("model_type", next(iter(known)))
    if kind not in known:
        raise BundleError(f"networks.{name}: {kind} is none of {', '.join(known)}")
    return known[kind]


def _random(kind: str, weights: Weights) -> Network:
    config = dict(weights.config or {})
    if kind in _DIFFUSERS:
        network: Network = _DIFFUSERS[kind].from_config(config)
    else:
        if isinstance(config.get("id2label"), list):
            config["id2label"] = dict(enumerate(config["id2label"]))
        config_class, model_class = _classes(kind, config)
        config.pop("model_type", None)
        network = model_class(config_class(**config, attn_implementation="eager"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if weights.redraw and not parameter.any():
                parameter.normal_(0.0, weights.redraw)
            if parameter.dim() > 1:
                parameter.mul_(
                    prod(factor for prefix, factor in weights.gain.items() if name.startswith(prefix))
                )
    return network


@torch.no_grad()
def _round_to_fp16(name: str, network: Network) -> None:
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


def _check_hint_factor(networks: dict[str, Network]) -> None:
    factor = vae_factor(networks["vae"])
    for name in (seat for seat in SEATS if seat in networks):
        hint = hint_factor(networks[name])
        if hint != factor:
            raise BundleError(
                f"{name} shrinks its hint by {hint}, the VAE by {factor}: they do not fit together"
            )
