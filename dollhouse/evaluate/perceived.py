"""What a release's perception networks find in a picture, with the dollhouse's labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dollhouse.metrics import Detections
from dollhouse.render.rooms import LABELS
from measuring.service import Service


@dataclass(frozen=True)
class Perceived:
    """A picture UINT8 [H,W,3] and the models' answers: depth and edges UINT8 [H,W], objects."""

    picture: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    objects: Detections


async def perceive(service: Service, picture: NDArray[np.uint8]) -> Perceived:
    """A picture UINT8 [H,W,3] as the service's models see it; objects that LABELS lacks are left out."""
    names = service.release.facts["labels"]
    # The detector's last label, -1, is padding.
    numbers = np.array([*(LABELS.index(name) if name in LABELS else -1 for name in names), -1])
    tensors = await service.perceive(picture)
    labels = numbers[tensors["labels"]]
    real = labels >= 0
    found = Detections(tensors["boxes"][real], labels[real], tensors["scores"][real])
    return Perceived(picture, tensors["depth"], tensors["edges"], found)
