"""What becomes part of convolutions before a network is exported, so that the graph's weights can be compared with the
network's by name, and TensorRT can read it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.networks.load import Network

_PAIRS = (
    ("conv", "batch_norm"),
    ("linear_fuse", "batch_norm"),
    ("convolution1", "batch_norm1"),
    ("convolution2", "batch_norm2"),
)
"""Convolution and the normalisation right behind it, by their names in the modules of transformers (UperNet, SegFormer,
DPT's residual layers)."""


@torch.no_grad()
def fold_batch_norms(network: Network) -> None:
    """Make batch normalisations part of the convolutions before them. The exporter's optimiser would do it, and the
    weights would differ from the network's."""
    for module in list(network.modules()):
        for first, second in _PAIRS:
            convolution, norm = getattr(module, first, None), getattr(module, second, None)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, norm).requires_grad_(False))
                setattr(module, second, nn.Identity())


class _Convolution(nn.Conv2d):
    """A convolution behind the padding that its predecessor had."""

    def __init__(self, standardised: Any) -> None:
        super().__init__(
            standardised.in_channels,
            standardised.out_channels,
            standardised.kernel_size,
            standardised.stride,
            standardised.padding,
            standardised.dilation,
            standardised.groups,
            bias=standardised.bias is not None,
        )
        self.pad = standardised.pad or nn.Identity()

    def forward(self, hidden_state: Tensor) -> Tensor:
        return super().forward(self.pad(hidden_state))


@torch.no_grad()
def fold_standardisation(network: Network) -> None:
    """Standardise the weights of a BiT backbone once. It does so at every call, by a batch normalisation in training
    mode, which TensorRT refuses."""
    for name, module in list(network.named_modules()):
        if type(module).__name__ == "WeightStandardizedConv2d":
            rows = module.weight.flatten(1)
            mean, variance = rows.mean(1, keepdim=True), rows.var(1, correction=0, keepdim=True)
            folded = _Convolution(module)
            folded.weight.copy_(((rows - mean) * (variance + module.eps).rsqrt()).view_as(module.weight))
            if module.bias is not None:
                assert folded.bias is not None
                folded.bias.copy_(module.bias)
            network.set_submodule(name, folded.requires_grad_(False))
