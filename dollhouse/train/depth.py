"""The dollhouse's depth model: a small DPT that learns inverse depth up to scale and shift, in every style."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import DPTConfig, DPTForDepthEstimation

from dollhouse.data.augmentation import MEAN, STD, Draw, disturb, draw, mirror, photos
from dollhouse.data.dataset import Dataset
from dollhouse.data.hints import depth_bytes
from export.networks.pictures import Depth

from .grids import save_grid
from .loop import Limit, Losses, Optimising, Pace, Trainer, autocast, step_randomness

SCALES = 4
"""Halvings at which slopes are compared."""

OPTIMISING = Optimising(learning_rate=2e-3, weight_decay=0.02)


STRIDE = 16
"""Pixels per token."""


@dataclass(frozen=True)
class DepthSettings:
    """A small DPT-Hybrid: convolutions down to a 16th of the side, then a transformer."""

    side: int = 128
    stages: tuple[int, int, int] = (32, 64, 128)
    """Channels of the convolutional stages; a quarter of each is a multiple of 8."""
    depths: tuple[int, int, int] = (1, 2, 2)
    width: int = 128
    layers: int = 4
    heads: int = 4
    fusion: int = 32
    batch: int = 16
    slopes: float = 0.5
    """Weight of the gradient term."""
    seed: int = 4
    optimising: Optimising = OPTIMISING


def build_depth(settings: DepthSettings) -> Any:
    """A DPTForDepthEstimation with random weights and batch normalisation in its fusion, which ``fold`` removes."""
    torch.manual_seed(settings.seed)
    stages, width, tokens = list(settings.stages), settings.width, settings.side // STRIDE
    backbone = {
        "model_type": "bit",
        "num_channels": 3,
        "embedding_size": max(8, stages[0] // 2),
        "hidden_sizes": stages,
        "depths": list(settings.depths),
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "global_padding": "same",
        "num_groups": 8,
        "out_features": ["stage1", "stage2", "stage3"],
        "embedding_dynamic_padding": True,
    }
    config = DPTConfig(
        is_hybrid=True,
        backbone_config=backbone,
        backbone_featmap_shape=[1, stages[2], tokens, tokens],
        image_size=settings.side,
        patch_size=STRIDE,
        hidden_size=width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * width,
        # The neck reads two convolutional stages, the middle and the end of the transformer.
        backbone_out_indices=[0, 1, settings.layers // 2 - 1, settings.layers - 1],
        neck_ignore_stages=[0, 1],
        reassemble_factors=[1, 1, 1, 0.5],
        neck_hidden_sizes=[*stages[:2], width, width],
        fusion_hidden_size=settings.fusion,
        readout_type="project",
        use_batch_norm_in_fusion_residual=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # The usual 0.02 is for wide networks.
        initializer_range=0.05,
        attn_implementation="eager",
    )
    network = DPTForDepthEstimation(config)
    _begin_convolutions(network)
    return network


def _begin_convolutions(network: Any) -> None:
    """Initialise neck and head for ReLU (Kaiming), and the bias before the head's last ReLU so that it is open: closed,
    it would pass no gradient."""
    last = None
    for module in (*network.neck.modules(), *network.head.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            last = module
    assert last is not None
    assert last.bias is not None
    nn.init.normal_(last.weight, std=0.05)
    nn.init.constant_(last.bias, 2.0)


def fold(network: Any) -> Any:
    """The same network, on the CPU and in evaluation mode, with the batch normalisations of its fusion folded."""
    network = network.cpu().eval()
    plain = {"use_batch_norm_in_fusion_residual": False, "use_bias_in_fusion_residual": True}
    result = DPTForDepthEstimation(
        DPTConfig(**{**network.config.to_dict(), **plain, "attn_implementation": "eager"})
    )
    state = network.state_dict()
    for name, module in network.named_modules():
        for number in (1, 2):
            norm = getattr(module, f"batch_norm{number}", None)
            if isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(getattr(module, f"convolution{number}"), norm)
                prefix = f"{name}.batch_norm{number}."
                state = {key: value for key, value in state.items() if not key.startswith(prefix)}
                state |= {f"{name}.convolution{number}.{k}": value for k, value in fused.state_dict().items()}
    result.load_state_dict(state)
    return result.eval()


def as_module(network: Any) -> Depth:
    """The network as the repository serves it."""
    side = network.config.image_size
    return Depth(network, (side, side), list(MEAN), list(STD))


def depth_losses(made: Tensor, metres: Tensor, slopes: float) -> Losses:
    """Losses of inverse depth ``made`` [B,h,w], at any scale and shift, against ``metres`` [B,h,w].

    Both inverse depths are brought to median 0 and mean deviation 1 (Ranftl et al. 2020, arXiv 1907.01341, eq. 6),
    then compared by value and, at SCALES scales, by slope (eq. 11). ``loss`` is ``value`` + ``slopes`` × ``slope``.
    """
    error = _normal(made.float()) - _normal(1.0 / metres)
    value = error.abs().mean()
    slope = error.new_zeros(())
    for _ in range(SCALES):
        slope = slope + error.diff(dim=1).abs().mean() + error.diff(dim=2).abs().mean()
        error = F.avg_pool2d(error.unsqueeze(1), 2).squeeze(1)
    return {"loss": value + slopes * slope, "value": value, "slope": slope}


def _normal(inverse: Tensor) -> Tensor:
    flat = inverse.flatten(1)
    flat = flat - flat.median(1, keepdim=True).values
    return (flat / flat.abs().mean(1, keepdim=True).clamp(min=1e-4)).view_as(inverse)


def metres_of(dataset: Dataset, drawn: Draw, side: int) -> Tensor:
    """FP32 [B,side,side]: true depth of a batch, mirrored where its pictures are. Resized as inverse depth."""
    metres = np.stack([dataset.depth(index) for index in drawn.indices])
    inverse = 1.0 / torch.from_numpy(mirror(metres, drawn)).clamp(min=0.05)
    return 1.0 / F.interpolate(inverse.unsqueeze(1), (side, side), mode="area").squeeze(1)


def train_depth(
    dataset: Dataset,
    folder: Path,
    settings: DepthSettings,
    limit: Limit,
    device: torch.device,
    pace: Pace | None = None,
) -> Any:
    """Train (or continue training) in ``folder``; returns the DPTForDepthEstimation folded, in evaluation mode."""
    network = build_depth(settings).to(device)
    module = as_module(network).to(device)

    def losses(step: int) -> Losses:
        choices, noise = step_randomness(settings.seed, step, device)
        drawn = draw(dataset, settings.batch, choices)
        pictures = disturb(module.prepare(photos(dataset, drawn).to(device)), choices, noise)
        metres = metres_of(dataset, drawn, settings.side).to(device)
        with autocast(device):
            made = network(pixel_values=pictures).predicted_depth
        if made.shape[-1] != settings.side:
            made = F.interpolate(made.unsqueeze(1), metres.shape[1:], mode="bilinear").squeeze(1)
        return depth_losses(made, metres, settings.slopes)

    def sample(path: Path) -> None:
        save_grid(path, _sheet(module, dataset, device))

    Trainer({"depth": network}, losses, sample, settings.optimising, asdict(settings), folder, pace).run(
        limit
    )
    return fold(network)


@torch.no_grad()
def _sheet(module: Depth, dataset: Dataset, device: torch.device) -> list[list[Tensor]]:
    """Rows of (picture, answer, truth), each [3,H,W] in −1..1."""
    rows = []
    for index in range(min(4, len(dataset))):
        picture = torch.from_numpy(dataset.picture(index, index % 5))
        answer = module(picture[None].to(device))[0].cpu()
        truth = torch.from_numpy(depth_bytes(dataset.depth(index)))
        greys = [grey.expand(3, -1, -1) for grey in (answer, truth)]
        rows.append([cell.float() / 127.5 - 1.0 for cell in (picture.permute(2, 0, 1), *greys)])
    return rows
