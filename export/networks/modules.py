"""Which networks each graph is made of, and the torch module that joins them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from export.bundle import Bundle, Precision
from export.networks.denoiser import Denoiser
from export.networks.load import Network, load_network
from export.networks.pictures import CentreDetector, Depth, Detector, TextEncoder, VaeDecoder, VaeEncoder

_HALF = [0.5, 0.5, 0.5]
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_DETECTORS = {"yolos": (Detector, _IMAGENET), "centres": (CentreDetector, (_HALF, _HALF))}
"""Module and normalisation (mean, standard deviation) by the network's ``model_type``."""

GRAPHS: dict[str, tuple[str, ...]] = {
    "depth": ("depth",),
    "detector": ("detector",),
    "text_encoder": ("text_encoder",),
    "vae_encoder": ("vae",),
    "vae_decoder": ("vae",),
    "denoiser": ("unet", "controlnet_depth", "controlnet_canny"),
}
"""The networks of each graph."""


def graph_module(bundle: Bundle, name: str, networks: Mapping[str, Network]) -> nn.Module:
    """The module of the graph ``name``, in evaluation mode, from ``networks`` by name, which it takes over."""
    match name:
        case "depth":
            side = networks["depth"].config.image_size
            module: nn.Module = Depth(networks["depth"], (side, side), _HALF, _HALF)
        case "detector":
            network = networks["detector"]
            kind, normalisation = _DETECTORS[network.config.model_type]
            height, width = network.config.image_size
            module = kind(network, (height, width), *normalisation, bundle.objects, bundle.object_threshold)
        case "text_encoder":
            module = TextEncoder(networks["text_encoder"])
        case "vae_encoder":
            module = VaeEncoder(networks["vae"])
        case "vae_decoder":
            module = VaeDecoder(networks["vae"])
        case _:
            module = Denoiser(*(networks[part] for part in GRAPHS["denoiser"]))
    return module.eval()


def load_graph_module(bundle: Bundle, name: str) -> nn.Module:
    """The module of the graph ``name``, FP32, with its networks loaded from their sources. Raises BundleError."""
    return graph_module(bundle, name, {part: load_network(bundle, part) for part in GRAPHS[name]})


def graph_precision(bundle: Bundle, name: str) -> Precision:
    """What the graph ``name`` computes in."""
    return "fp32" if name in bundle.fp32_graphs else bundle.precision
