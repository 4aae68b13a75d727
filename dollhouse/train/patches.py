"""A patch discriminator: it learns to distinguish renders from decoded results, and so makes results sharper.

Patches after Isola et al. 2017 (arXiv 1611.07004); spectral norms (Miyato et al. 2018, arXiv 1802.05957) and the hinge
loss keep it stable; the style conditions it by projection (Miyato & Koyama 2018, arXiv 1802.05637).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from .loop import descend
from .workers import Workers

WIDTHS = (32, 64, 128, 128)
HALVINGS = 2
"""The first layers halve the side; patches are 30 pixels."""
LEARNING_RATE = 2e-4


class PatchDiscriminator(nn.Module):
    """Pictures FP32 [B,3,H,W] in −1..1 and style numbers INT64 [B] → [B,1,H/4,W/4], above 0 = real."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, width in enumerate(WIDTHS):
            kernel, stride = (4, 2) if number < HALVINGS else (3, 1)
            layers += [spectral_norm(nn.Conv2d(channels, width, kernel, stride, 1)), nn.LeakyReLU(0.2)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.score = nn.Conv2d(channels, 1, 3, 1, 1)
        self.styles = nn.Embedding(styles, channels)

    def forward(self, pictures: Tensor, styles: Tensor) -> Tensor:
        features = self.features(pictures)
        projection = (features * self.styles(styles)[:, :, None, None]).mean(1, keepdim=True)
        answer: Tensor = self.score(features) + projection
        return answer


class Adversary:
    """The discriminator with its optimiser, both kept in checkpoints."""

    def __init__(self, styles: int, seed: int, device: torch.device, workers: Workers) -> None:
        torch.manual_seed(seed)
        self.network = PatchDiscriminator(styles).to(device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.99))
        self.workers = workers

    def learn(self, real: Tensor, made: Tensor, styles: Tensor) -> Tensor:
        """One training step on real and made pictures; returns the hinge loss (2 for constant answers of 0)."""
        self.network.requires_grad_(True)
        loss = F.relu(1.0 - self.network(real, styles)).mean()
        loss = loss + F.relu(1.0 + self.network(made.detach(), styles)).mean()
        descend(loss, self.optimiser, list(self.network.parameters()), workers=self.workers)
        self.network.requires_grad_(False)
        return loss.detach()

    def generator_loss(self, made: Tensor, styles: Tensor) -> Tensor:
        """The loss that the networks minimise: the negative mean score of their pictures."""
        answer: Tensor = -self.network(made, styles).mean()
        return answer

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
