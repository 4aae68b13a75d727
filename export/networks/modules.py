"""Which networks each graph is made of, and the torch module that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from torch import nn

from export.bundle import Bundle, Precision
from export.networks.denoiser import Denoiser
from export.networks.depth import depth_module
from export.networks.load import ONNX, Network, load_network
from export.networks.pictures import (
    CentreDetector,
    Detector,
    TextEncoder,
    TinyDecoder,
    Upscaler,
    VaeDecoder,
    VaeEncoder,
)
from export.networks.preparation import HALF, IMAGENET, UNIT, Normalisation, preparation
from export.networks.segments import segments_module
from export.networks.ultralytics import UltralyticsDetector
from export.sampling import VARIANT
from export.seats import CONTROLNETS

_DETECTORS: dict[str, tuple[Any, Normalisation]] = {
    "yolos": (Detector, IMAGENET),
    "centres": (CentreDetector, HALF),
    "ultralytics": (UltralyticsDetector, UNIT),
}
"""Module and normalisation (mean, standard deviation) by the network's ``model_type``."""


def graph_networks(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The graphs of a release of ``bundle``, and the networks of each. Raises BundleError."""
    denoiser = ("unet", *(CONTROLNETS[hint] for hint in bundle.seats))
    return {
        "depth": ("depth",),
        "detector": ("detector",),
        **({"segments": ("segments",)} if "segments" in bundle.seats else {}),
        "text_encoder": ("text_encoder",),
        "vae_encoder": ("vae",),
        "vae_decoder": ("vae",),
        **({"tiny_decoder": ("tiny_decoder",)} if "tiny_decoder" in bundle.networks else {}),
        **({"upscaler": ("upscaler",)} if "upscaler" in bundle.networks else {}),
        "denoiser": denoiser,
        **{f"{VARIANT}{name}": denoiser for name in bundle.variants},
    }


def bundle_of_graph(bundle: Bundle, name: str) -> Bundle:
    """The bundle whose weights the graph ``name`` has: for a variant of the denoiser with its LoRAs too."""
    variant = bundle.variants.get(name.removeprefix(VARIANT)) if name.startswith(VARIANT) else None
    if variant is None:
        return bundle
    return msgspec.structs.replace(bundle, loras=[*bundle.loras, *variant.loras])


def graph_module(bundle: Bundle, name: str, networks: Mapping[str, Network]) -> nn.Module:
    """The module of the graph ``name``, in evaluation mode, from ``networks`` by name, which it takes over."""
    match name:
        case "depth":
            module: nn.Module = depth_module(networks["depth"], bundle)
        case "detector":
            module = _detector(networks["detector"], bundle)
        case "segments":
            module = segments_module(networks["segments"], bundle)
        case "text_encoder":
            module = TextEncoder(networks["text_encoder"])
        case "vae_encoder":
            module = VaeEncoder(networks["vae"])
        case "vae_decoder":
            module = VaeDecoder(networks["vae"])
        case "tiny_decoder":
            module = TinyDecoder(networks["tiny_decoder"])
        case "upscaler":
            module = Upscaler(networks["upscaler"])
        case _:
            controlnets = {hint: networks[CONTROLNETS[hint]] for hint in bundle.seats}
            module = Denoiser(networks["unet"], controlnets)
    return module.eval()


def _detector(network: Network, bundle: Bundle) -> nn.Module:
    module, normalisation = _DETECTORS[network.config.model_type]
    wanted = preparation(bundle, "detector", network.config, normalisation)
    return module(network, wanted.size, wanted.mean, wanted.std, bundle.objects, bundle.object_threshold)


def load_graph_module(bundle: Bundle, name: str) -> nn.Module:
    """The module of the graph ``name``, FP32, with its networks loaded from their sources. Raises BundleError."""
    weights = bundle_of_graph(bundle, name)
    networks = {part: load_network(weights, part) for part in graph_networks(bundle)[name]}
    return graph_module(bundle, name, networks)


def graph_precision(bundle: Bundle, name: str) -> Precision:
    """What the graph ``name`` computes in."""
    # Ultralytics' file is taken as it is.
    taken = name == "detector" and str(bundle.networks["detector"].path).endswith(ONNX)
    return "fp32" if taken or name in bundle.fp32_graphs else bundle.precision
