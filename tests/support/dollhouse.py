"""Small networks of the dollhouse's classes, rooms without a renderer and a depth model without weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dollhouse.data.pairs import Pair, pairs_of
from dollhouse.render.looks import STYLES
from dollhouse.train.depth import DepthSettings
from dollhouse.train.detector import DetectorSettings
from dollhouse.train.networks import DenoiserSettings
from dollhouse.train.sampling import SHOWN

CPU = torch.device("cpu")
SIDE = 32

DENOISERS = DenoiserSettings(
    widths=(8, 16), attention=(False, True), heads=2, hint_widths=(4, 8), text_width=16, text_layers=1
)
DETECTOR = DetectorSettings(side=64, widths=(8, 8, 16, 16, 16), blocks=(1, 1, 1, 1), neck=8, batch=4)
DEPTH = DepthSettings(
    side=32, stages=(32, 32, 32), depths=(1, 1, 1), width=16, layers=2, heads=2, fusion=8, batch=4
)


class PaintedRooms:
    """Rooms of flat colours and a box; restyled, the walls have a colour per style. SIDE pixels."""

    def __len__(self) -> int:
        return SHOWN + 4

    def picture(self, index: int, style: int) -> NDArray[np.uint8]:
        picture = np.full((SIDE, SIDE, 3), 40 * style + 20, np.uint8)
        picture[8 + 2 * (index % 8) :, 4 * style + 4 : 4 * style + 12] = (240, 60, 10 * index)
        return picture

    def source(self, index: int, number: int) -> NDArray[np.uint8]:
        return self.picture(index, number % 5)

    def pairs(self, index: int) -> tuple[Pair, ...]:
        return pairs_of(index)

    def target(self, index: int, number: int) -> NDArray[np.uint8]:
        pair = self.pairs(index)[number]
        target = self.source(index, pair.source)
        target[: SIDE // 4] = (50 * STYLES.index(pair.style), 10 * number, 20 * index)
        return target

    def depth(self, index: int) -> NDArray[np.float32]:
        return np.linspace(5.0, 1.0 + index, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)

    def room_type(self, index: int) -> str:
        return "living_room"


class RedIsNear(nn.Module):
    """Stands for a depth model: UINT8 [B,H,W,3] → UINT8 [B,H,W]."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))
        self.calls = 0

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return (self.sign * pictures[..., 0].float()).to(torch.uint8)
