"""Sizes of the restyling networks and shares of the time, for the machine at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .autoencoder import AutoencoderSettings
from .diffusion import DiffusionSettings, Phase
from .networks import DenoiserSettings
from .training import Optimising


@dataclass(frozen=True)
class Preset:
    minutes: float
    """Of training in all; encoding the rooms in between is not counted."""
    autoencoder_share: float
    autoencoder: AutoencoderSettings
    diffusion: DiffusionSettings
    workers: int = 1
    """Processes, each with its share of the cores."""

    @property
    def autoencoder_minutes(self) -> float:
        return self.minutes * self.autoencoder_share

    @property
    def diffusion_minutes(self) -> float:
        return self.minutes - self.autoencoder_minutes


CPU = Preset(
    minutes=130.0,
    autoencoder_share=0.27,
    autoencoder=AutoencoderSettings(crop=64, batch=4),
    diffusion=DiffusionSettings(
        sizes=DenoiserSettings(widths=(48, 64, 96, 128)),
    ),
    workers=2,
)
"""Two cores: 10 M parameters in all."""

CUDA = Preset(
    minutes=11.0,
    autoencoder_share=0.3,
    autoencoder=AutoencoderSettings(widths=(24, 48, 96), layers=2, crop=128, batch=64),
    diffusion=DiffusionSettings(
        sizes=DenoiserSettings(widths=(48, 96, 128, 192)),
        phases=(Phase(0.4, 128, 256), Phase(0.8, 128, 256, 96, 0.12), Phase(1.0, 256, 64, 128, 0.12)),
        optimising=Optimising(learning_rate=1e-3),
    ),
)
"""One large GPU in bf16. Twice the parameters, still within six seconds a picture on two cores."""


def preset_for(device: torch.device) -> Preset:
    return CUDA if device.type == "cuda" else CPU
