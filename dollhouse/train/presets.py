"""Sizes of the restyling networks and shares of the time, for the machine at hand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch

from .autoencoder import AutoencoderSettings
from .loop import Optimising, Pace
from .networks import DenoiserSettings
from .recipe import DiffusionSettings, Phase


@dataclass(frozen=True)
class Preset:
    autoencoder_minutes: float
    diffusion_minutes: float
    autoencoder: AutoencoderSettings
    diffusion: DiffusionSettings
    workers: int = 1
    """Processes that train the denoisers together, each with its share of the cores."""
    pace: Pace | None = None

    def within(self, minutes: float, parts: Collection[str]) -> Preset:
        """The preset with ``minutes`` in all for ``parts`` (of restyling.PARTS), in the same proportions."""
        usual = {"autoencoder": self.autoencoder_minutes, "diffusion": self.diffusion_minutes}
        share = minutes / sum(usual[part] for part in parts)
        return replace(
            self,
            autoencoder_minutes=share * self.autoencoder_minutes,
            diffusion_minutes=share * self.diffusion_minutes,
        )


CPU = Preset(
    autoencoder_minutes=35.0,
    diffusion_minutes=95.0,
    autoencoder=AutoencoderSettings(crop=64, batch=4),
    diffusion=DiffusionSettings(
        sizes=DenoiserSettings(widths=(48, 64, 96, 128)),
    ),
    workers=2,
)
"""Two cores: 10 M parameters in all."""

CUDA = Preset(
    autoencoder_minutes=3.3,
    diffusion_minutes=7.7,
    autoencoder=AutoencoderSettings(widths=(24, 48, 96), layers=2, crop=128, batch=64),
    diffusion=DiffusionSettings(
        sizes=DenoiserSettings(widths=(48, 96, 128, 192)),
        phases=(Phase(0.25, 128, 128, 96), Phase(0.6, 128, 128, 96, 0.12), Phase(1.0, 256, 32, 192, 0.12)),
        word_steps=600,
        optimising=Optimising(learning_rate=1.5e-3),
    ),
    pace=Pace(checkpoint=1.5, sample=1.5, log=0.1),
)
"""One large GPU in bf16. Twice the parameters, still within six seconds a picture on two cores."""


def preset_for(device: torch.device) -> Preset:
    return CUDA if device.type == "cuda" else CPU
