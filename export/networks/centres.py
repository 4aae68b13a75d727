"""A small one-stage detector: objects are peaks of a heat map per label, and each peak's cell knows its box.

After CenterNet (Zhou et al. 2019, arXiv 1904.07850) and TTFNet (Liu et al. 2020, arXiv 1909.00700). A peak suppresses
its neighbours by max-pooling, so that the graph needs no other suppression.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import PretrainedConfig, PreTrainedModel

STRIDE = 4
"""Input pixels per cell of the heat map."""

REACH = 0.1
"""Initial distance to a side of the box, as a share of the picture."""


class CentresConfig(PretrainedConfig):
    """``layers``: for each label, which of the box maps it uses. Things that carry or back others (a rug, a shelf)
    have the same centre as these and must not share their map. ``folded``: without batch normalisation, which has
    become part of the convolutions; only such a network can be exported weight by weight."""

    model_type = "centres"

    def __init__(
        self,
        image_size: tuple[int, int] = (192, 192),
        widths: tuple[int, ...] = (16, 32, 64, 96, 128),
        blocks: tuple[int, ...] = (1, 2, 2, 2),
        neck: int = 48,
        layers: tuple[int, ...] = (0, 0),
        folded: bool = False,
        **kwargs: Any,
    ) -> None:
        self.image_size, self.widths, self.blocks = list(image_size), list(widths), list(blocks)
        self.neck, self.layers, self.folded = neck, list(layers), folded
        super().__init__(**kwargs)


class _Convolution(nn.Sequential):
    """Convolution and batch normalisation, which may be folded."""

    def __init__(self, inside: int, outside: int, stride: int, folded: bool) -> None:
        convolution = nn.Conv2d(inside, outside, 3, stride, 1, bias=folded)
        super().__init__(convolution, nn.Identity() if folded else nn.BatchNorm2d(outside))


def _rectified(inside: int, outside: int, stride: int, folded: bool) -> nn.Sequential:
    return nn.Sequential(_Convolution(inside, outside, stride, folded), nn.ReLU())


class _Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, width: int, folded: bool) -> None:
        super().__init__()
        self.first = _rectified(width, width, 1, folded)
        self.second = _Convolution(width, width, 1, folded)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class CentresForObjectDetection(PreTrainedModel):
    """Normalised picture FP32 [B,3,H,W] → (heat logits [B,C,h,w], boxes [B,G,4,h,w]: left, top, right, bottom in
    0..1 as every cell sees them, not clipped), h = H/4, for C labels and G box maps. H, W: multiples of 32."""

    config_class = CentresConfig

    def __init__(self, config: CentresConfig) -> None:
        super().__init__(config)
        widths, neck, folded = config.widths, config.neck, config.folded
        self.stem = _rectified(3, widths[0], 2, folded)
        self.levels = nn.ModuleList(
            nn.Sequential(
                _rectified(inside, outside, 2, folded), *(_Block(outside, folded) for _ in range(count))
            )
            for inside, outside, count in zip(widths[:-1], widths[1:], config.blocks, strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths[1:])
        self.smooth = nn.ModuleList(_rectified(neck, neck, 1, folded) for _ in widths[2:])
        peaks = nn.Conv2d(neck, len(config.id2label), 1)
        assert peaks.bias is not None
        # As focal loss wants it: at the start nearly nothing is an object.
        nn.init.constant_(peaks.bias, -4.0)
        self.heat_head = nn.Sequential(_rectified(neck, neck, 1, folded), peaks)
        sides = nn.Conv2d(neck, 4 * (1 + max(config.layers)), 1)
        self.box_head = nn.Sequential(_rectified(neck, neck, 1, folded), sides)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The layers' own initialisation stands."""

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(pixel_values)
        seen = []
        for level in self.levels:
            x = level(x)
            seen.append(x)
        merged = self.laterals[-1](seen[-1])
        for index in range(len(seen) - 2, -1, -1):
            upsampled = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.smooth[index](upsampled + self.laterals[index](seen[index]))
        distances = REACH * self.box_head(merged).clamp(-6.0, 2.5).exp().unflatten(1, (-1, 4))
        height, width = pixel_values.shape[2] // STRIDE, pixel_values.shape[3] // STRIDE
        y = (torch.arange(height, device=merged.device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=merged.device, dtype=torch.float32) + 0.5) / width
        left, top, right, bottom = distances.float().unbind(2)
        y = y.view(1, 1, -1, 1)
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], 2)
        return self.heat_head(merged), boxes


def fold(network: CentresForObjectDetection) -> CentresForObjectDetection:
    """The same network, on the CPU and in evaluation mode, with its batch normalisations folded into convolutions."""
    network = network.cpu().eval()
    result = CentresForObjectDetection(CentresConfig(**{**network.config.to_dict(), "folded": True}))
    state = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, _Convolution) and not network.config.folded:
            convolution, norm = module[0], module[1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            fused = fuse_conv_bn_eval(convolution, norm)
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.1.")}
            state |= {f"{name}.0.{key}": value for key, value in fused.state_dict().items()}
    result.load_state_dict(state)
    return result.eval()
