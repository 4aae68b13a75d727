"""Settings of the denoisers' training: sizes, phases, shares. A checkpoint belongs to one set of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .loop import Optimising
from .networks import DenoiserSettings


@dataclass(frozen=True)
class Phase:
    """Part of a run. The networks are convolutional, so most steps use crops, at a quarter of the cost."""

    until: float
    """Progress at which the next phase begins; the last one's is 1."""
    crop: int
    """Side in pixels, a multiple of the autoencoder's factor times the UNet's."""
    batch: int
    window: int = 64
    """Side in pixels of the part whose decoded pixels are compared."""
    adversarial: float = 0.0
    """Weight of the discriminator."""


SIZES = DenoiserSettings()
PHASES = (Phase(0.4, 128, 8), Phase(0.8, 128, 8, 96, 0.12), Phase(1.0, 256, 2, 128, 0.12))
OPTIMISING = Optimising(learning_rate=2e-3, average=0.998)


@dataclass(frozen=True)
class DiffusionSettings:
    sizes: DenoiserSettings = SIZES
    phases: tuple[Phase, ...] = PHASES
    unconditional: float = 0.04
    """Share of captions that do not describe the picture."""
    seen_depth: float = 0.75
    """Share of the depth hints that are the depth model's; the others are exact ones, disturbed."""
    usual_timestep: float = 0.75
    """Share of the samples at TIMESTEP; the others lie anywhere in ``timesteps``."""
    timesteps: tuple[int, int] = (20, 450)
    second_steps: float = 0.12
    """Share of the training steps that begin where a first denoising step, taken without gradients, has ended."""
    word_steps: int = 1200
    """Steps on captions alone, before the first picture; see :mod:`.wording`."""
    seed: int = 2
    optimising: Optimising = OPTIMISING

    def phase(self, progress: float) -> Phase:
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])

    def going_on(self, sizes: DenoiserSettings) -> DiffusionSettings:
        """Settings for networks of ``sizes`` that are trained already: no steps on captions alone, half the learning
        rate."""
        half = replace(self.optimising, learning_rate=self.optimising.learning_rate / 2)
        return replace(self, sizes=sizes, word_steps=0, optimising=half)
