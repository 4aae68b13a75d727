"""What things are made of: one row of numbers for every part of a room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .colours import linear
from .decor import PATTERNS
from .looks import Look, share
from .scene import Scene
from .swatches import Swatch

A, B, C = slice(0, 3), slice(3, 6), slice(6, 9)
PATTERN, SCALE, GLOSS, GLOW, SEED, METAL = range(9, 15)
COLUMNS = 15
"""Columns of a row: three linear colours, pattern number, its scale in metres, gloss, glow, seed 0..1, metal 0 or 1."""

VARIED = {"books", "leaf", "tabletop", "shelf", "wall"}
"""Slots whose pieces differ within one thing."""


def material_table(scene: Scene, looks: Sequence[Look]) -> Tensor:
    """[C,parts,COLUMNS] for rooms, each with its look."""
    rows = np.zeros((len(looks), scene.thing.shape[1], COLUMNS), np.float32)
    # Counted at every call: other packages may add patterns.
    numbers = {name: i for i, name in enumerate(PATTERNS)}
    thing = scene.thing.cpu().numpy()
    for r, (room, slots, look) in enumerate(zip(scene.rooms, scene.slots, looks, strict=True)):
        kept = dict[str, Swatch]()
        for part, slot in enumerate(slots):
            if not slot:
                continue
            key = slot if slot != "wall" else f"{slot} {part}"
            if key not in kept:
                kept[key] = look.swatch(room, slot, part)
            rows[r, part] = _row(
                kept[key],
                numbers[kept[key].pattern],
                share(room.seed, f"{slot} {scene.serials[r][part] if slot in VARIED else thing[r, part]}"),
            )
    return torch.as_tensor(rows, device=scene.eye.device)


def grades(scene: Scene, looks: Sequence[Look]) -> Tensor:
    """[C,len(Grade)]: how each room is exposed and tinted."""
    values = [look.grade(room) for room, look in zip(scene.rooms, looks, strict=True)]
    return torch.tensor(values, device=scene.eye.device)


def _row(swatch: Swatch, pattern: int, seed: float) -> list[float]:
    colours = [channel for colour in swatch.colours for channel in linear(colour)]
    return [
        *colours,
        pattern,
        swatch.scale,
        swatch.gloss,
        swatch.glow,
        seed,
        float(swatch.metal),
    ]
