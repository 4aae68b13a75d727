"""What things are made of in each style: one row of numbers for every part of a room."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from .decor import PATTERNS
from .palettes import ALIASES, COMMON, GRADES, PALETTES
from .scene import Scene
from .swatches import Swatch

STYLES = ("modern", "scandinavian", "boho", "industrial", "minimalist")
"""The order of style numbers everywhere in the dollhouse; the names are those of orchestrator/styles.toml."""
A, B, C = slice(0, 3), slice(3, 6), slice(6, 9)
PATTERN, SCALE, GLOSS, GLOW, SEED, METAL = range(9, 15)
COLUMNS = 15
"""Columns of a row: three linear colours, pattern number, its scale in metres, gloss, glow, seed 0..1, metal 0 or 1."""

VARIED = {"books", "leaf", "tabletop", "shelf", "wall"}
"""Slots whose pieces differ within one thing."""

_NUMBER = {name: i for i, name in enumerate(PATTERNS)}


def material_table(scene: Scene, styles: Sequence[int]) -> Tensor:
    """[C,parts,COLUMNS] for rooms in the styles of those numbers; one room and style always look the same."""
    rows = np.zeros((len(styles), scene.thing.shape[1], COLUMNS), np.float32)
    thing = scene.thing.cpu().numpy()
    for r, (room, slots, style) in enumerate(zip(scene.rooms, scene.slots, styles, strict=True)):
        name, kept = STYLES[style], dict[str, Swatch]()
        for part, slot in enumerate(slots):
            if not slot:
                continue
            key = slot if slot != "wall" else f"{slot} {part}"
            if key not in kept:
                kept[key] = _choose(name, slot, room.seed, room.room_type, part)
            rows[r, part] = _row(
                kept[key],
                _share(room.seed, f"{slot} {scene.serials[r][part] if slot in VARIED else thing[r, part]}"),
            )
    return torch.as_tensor(rows, device=scene.eye.device)


def grades(styles: Sequence[int], device: torch.device) -> Tensor:
    """[C,len(Grade)]: how each style's photographer exposes and tints."""
    return torch.tensor([GRADES[STYLES[style]] for style in styles], device=device)


def _choose(style: str, slot: str, seed: int, room_type: str, part: int) -> Swatch:
    """A slot takes its own entry, else what its alias takes; wet rooms ask for tiles first."""
    palette, wanted = PALETTES[style], [slot]
    if slot in ("wall", "floor") and room_type in ("kitchen", "bathroom"):
        wanted.insert(0, f"{room_type} {slot}")
    while ALIASES.get(wanted[-1]):
        wanted.append(ALIASES[wanted[-1]])
    for name in wanted:
        options = palette.get(name) or COMMON.get(name)
        if options:
            # One wood, one metal, one wall paint a room: the choice hangs on the entry, not on the piece.
            feature = (
                name == "wall" and _share(seed, "feature") * 4 // 1 + 2 == part and "feature wall" in palette
            )
            options = palette["feature wall"] if feature else options
            owner = style if name in palette else "any style"
            return options[int(_share(seed, f"{owner} {name}") * len(options))]
    raise KeyError(f"style {style} has no material for {slot!r}")


def _share(seed: int, name: str) -> float:
    """A number 0 ≤ n < 1 that hangs on both, the same everywhere."""
    return (crc32(f"{seed} {name}".encode()) & 0xFFFFFFFF) / 2**32


def _row(swatch: Swatch, seed: float) -> list[float]:
    colours = [channel for colour in swatch.colours for channel in linear(colour)]
    return [
        *colours,
        _NUMBER[swatch.pattern],
        swatch.scale,
        swatch.gloss,
        swatch.glow,
        seed,
        float(swatch.metal),
    ]


def linear(colour: str) -> tuple[float, float, float]:
    """ "#rrggbb" in sRGB to linear light, 0..1."""
    values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue
