"""Depth models: whichever it is, the graph answers with relative inverse depth, white = near."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from export.bundle import Bundle, BundleError
from export.networks.folding import fold_batch_norms, fold_standardisation
from export.networks.load import Network
from export.networks.pictures import Depth
from export.networks.precision import widen
from export.networks.preparation import HALF, IMAGENET, Mode, Normalisation, preparation

FAR = 100.0
"""Distances are cut off at this fraction of the picture's farthest one: one pixel at 0 would turn all others black."""

USUAL: dict[str, tuple[Normalisation, Mode]] = {
    "dpt": (HALF, "bilinear"),
    "depth_anything": (IMAGENET, "bicubic"),
}
"""How depth models of each ``model_type`` want photos, where their source does not say."""


class InverseDepth(nn.Module):
    """A network that predicts distances, as one that predicts relative inverse depth: 1 / distance."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network: Network = network

    def forward(self, pixel_values: Tensor) -> Any:
        distance = widen(self.network(pixel_values=pixel_values).predicted_depth)
        nearest = distance.amax((1, 2), keepdim=True).clamp(min=1e-6) / FAR
        return SimpleNamespace(predicted_depth=1.0 / torch.maximum(distance, nearest))


def depth_module(network: Network, bundle: Bundle) -> Depth:
    """The graph's module. Raises BundleError; see :func:`export.networks.preparation.preparation`."""
    wanted = preparation(bundle, "depth", network.config, *USUAL[network.config.model_type])
    height, width = wanted.size
    if network.config.model_type == "dpt" and height != width:
        raise BundleError(
            f"networks.depth: DPT takes squares only, not {height}×{width}: write another input_size"
        )
    fold_batch_norms(network)
    fold_standardisation(network)
    if getattr(network.config, "is_hybrid", False):
        # It refuses all sizes but this, though it interpolates its position embeddings.
        network.dpt.embeddings.image_size = wanted.size
    if (bundle.networks["depth"].depth_direction or usual_direction(network.config)) == "distance":
        network = InverseDepth(network)
    return Depth(network, wanted.size, wanted.mean, wanted.std, wanted.mode)


def usual_direction(config: Any) -> str:
    """``inverse``: large = near; ``distance``: large = far. Depth Anything is trained for either."""
    return "distance" if getattr(config, "depth_estimation_type", "relative") == "metric" else "inverse"
