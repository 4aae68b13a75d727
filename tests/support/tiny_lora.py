"""Writes the LoRA of the bundle `tiny`: random matrices of rank 1 for the UNet's attention and some of its kernels.

python -m tests.support.tiny_lora
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import nn

from export.bundle import BUNDLES, load_bundle
from export.networks.load import skeleton

FILE = BUNDLES / "tiny_lora.safetensors"
CHANGED = ("to_q", "to_v", "to_out.0", "proj_in", "conv1")
SCALE = 0.3


def main() -> None:
    torch.manual_seed(12)
    tensors = {}
    for path, module in skeleton(load_bundle("tiny"), "unet").named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and path.endswith(CHANGED):
            outputs, inputs, *sides = module.weight.shape
            key = "lora_unet_" + path.replace(".", "_")
            tensors[f"{key}.lora_down.weight"] = (SCALE * torch.randn(1, inputs, *sides)).half()
            tensors[f"{key}.lora_up.weight"] = (SCALE * torch.randn(outputs, 1, *(1 for _ in sides))).half()
    save_file(tensors, FILE)


if __name__ == "__main__":
    main()
