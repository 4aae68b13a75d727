"""A folder of networks as a training leaves them, without the minutes: tensors of a few numbers each."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.bundle import NETWORKS

DIFFUSERS = ("unet", "controlnet_depth", "controlnet_canny", "vae")


def write_networks(folder: Path, weight: float = 0.1) -> Path:
    """Every network of the bundle and both files of figures; ``weight`` is in each."""
    for name in NETWORKS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps({"name": name}))
        tensors = {"weight": torch.full((3,), weight), "ids": torch.tensor([1, 70_000])}
        save_file(tensors, weights_file(folder, name), {"format": "pt"})
    (folder / "facts.json").write_text(json.dumps({"reconstruction": {"psnr": 29.94, "edge_f1": 0.871}}))
    (folder / "perception.json").write_text(json.dumps({"depth_absrel": 0.1}))
    return folder


def weights_file(folder: Path, name: str) -> Path:
    """As ``from_pretrained`` wants it called."""
    return folder / name / f"{'diffusion_pytorch_model' if name in DIFFUSERS else 'model'}.safetensors"
