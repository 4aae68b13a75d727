"""What can be seen, exactly: object boxes and the edges of structure, from geometry alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .scene import FIRST_NICHE, FIRST_PIECE, Scene
from .trace import Surface

LABELS = (
    "bed",
    "book",
    "chair",
    "clock",
    "couch",
    "dining table",
    "laptop",
    "oven",
    "potted plant",
    "refrigerator",
    "sink",
    "toilet",
    "tv",
    "vase",
    "bathtub",
    "cabinet",
    "coffee table",
    "counter",
    "curtain",
    "desk",
    "door",
    "hood",
    "lamp",
    "mirror",
    "nightstand",
    "picture",
    "rug",
    "shelf",
    "sideboard",
    "stool",
    "towel",
    "wardrobe",
    "window",
)
"""Every label there is: COCO's names first, then our own."""
LEAST_SHARE = 6e-4
"""Share of the picture's pixels below which a thing is not an object in it (39 pixels at 256 × 256)."""
LEAST_SHOWN = 0.25
"""Share of a thing's own rectangle in the picture that must be visible for it to be an object."""
BENT, BROKEN = 0.9, 0.025
"""An edge: neighbours' normals with a smaller cosine, or inverse depth bending by more than this share."""


class VisibleObject(NamedTuple):
    """An object in the picture. ``box``: left, top, right, bottom of its visible part, 0..1."""

    label: str
    box: tuple[float, float, float, float]
    thing: int
    """Its number in the thing map."""


def thin_out(surface: Surface, step: int) -> Surface:
    """Every ``step``-th pixel of each row and column: with supersampling, the one up and left of the middle."""
    if step == 1:
        return surface
    height, width = surface.shape

    def thin(field: Tensor) -> Tensor:
        return field.view(*field.shape[:-1], height, width)[..., ::step, ::step].flatten(-2)

    fields = (
        surface.rays,
        surface.depth,
        surface.part,
        surface.point,
        surface.normal,
        surface.local,
        surface.axis,
    )
    return Surface((height // step, width // step), *(thin(field) for field in fields))


def thing_map(scene: Scene, surface: Surface) -> Tensor:
    """[C,H,W] int64: 0 walls, floor and ceiling, i + 1 for ``rooms[c].things[i]``."""
    return scene.thing.gather(1, surface.part).view(-1, *surface.shape)


def structure_edges(scene: Scene, surface: Surface) -> Tensor:
    """[C,H,W] uint8, 255 on the upper or left of two neighbours that a boundary of things or a crease parts.

    Textures, pictures on walls' paint and leaves within one plant make none.
    """
    height, width = surface.shape
    part = surface.part.view(-1, height, width)
    # A pane or a door's leaf is another surface than its own frame.
    leaf = (part >= FIRST_NICHE) & (part < FIRST_PIECE) & ((part - FIRST_NICHE) % 2 == 0)
    thing = 2 * thing_map(scene, surface) + leaf
    hollow = scene.hollow.gather(1, surface.part).view(-1, height, width)
    normal, near = surface.normal.view(-1, 3, height, width), 1 / surface.depth.view(-1, height, width)
    edges = torch.zeros_like(thing, dtype=torch.bool)
    for axis in (1, 2):
        count = thing.shape[axis] - 1

        def pair(field: Tensor, axis: int = axis, count: int = count) -> tuple[Tensor, Tensor]:
            axis += field.dim() - 3
            return field.narrow(axis, 0, count), field.narrow(axis, 1, count)

        first, second = pair(thing)
        parted = first != second
        bent = (pair(normal)[0] * pair(normal)[1]).sum(1) < BENT
        within = pair(hollow)[0] & ~parted
        edges.narrow(axis, 0, count).logical_or_(parted | ((bent | _broken(near, axis)) & ~within))
    return edges.to(torch.uint8) * 255


def _broken(near: Tensor, axis: int) -> Tensor:
    """Whether depth jumps between neighbours: inverse depth is straight across a plane, however slanted."""
    count = near.shape[axis] - 1
    slope = near.narrow(axis, 1, count) - near.narrow(axis, 0, count)
    before = torch.cat([slope.narrow(axis, 0, 1), slope.narrow(axis, 0, count - 1)], axis)
    after = torch.cat([slope.narrow(axis, 1, count - 1), slope.narrow(axis, count - 1, 1)], axis)
    off = torch.minimum((slope - before).abs(), (slope - after).abs())
    return off > BROKEN * near.narrow(axis, 0, count)


def objects(scene: Scene, surface: Surface) -> list[list[VisibleObject]]:
    """The things of each room that show enough of themselves, largest first."""
    height, width = surface.shape
    thing = thing_map(scene, surface).flatten(1)
    most = 1 + max(len(room.things) for room in scene.rooms)
    index = torch.arange(height * width, device=thing.device).expand_as(thing)
    x, y = index % width, index // width
    empty = torch.zeros(thing.shape[0], most, dtype=torch.int64, device=thing.device)
    count = empty.scatter_add(1, thing, torch.ones_like(thing))
    low = [(empty + max(surface.shape)).scatter_reduce(1, thing, v, "amin") for v in (x, y)]
    high = [empty.scatter_reduce(1, thing, v, "amax") + 1 for v in (x, y)]
    table = torch.stack([*low, *high, count], 2).cpu().numpy()
    scale, pixels = np.array([width, height, width, height]), (height * width) ** 0.5
    found = []
    for r, room in enumerate(scene.rooms):
        spans = _spans(scene, r, len(room.things)) * pixels / scale + 0.5
        seen = []
        for i, made in enumerate(room.things):
            left, top, right, bottom = (float(v) for v in table[r, i + 1, :4] / scale)
            whole = np.prod((spans[i, 2:].clip(0, 1) - spans[i, :2].clip(0, 1)).clip(1e-6))
            shown = (right - left) * (bottom - top) / whole
            if table[r, i + 1, 4] >= LEAST_SHARE * height * width and shown >= LEAST_SHOWN:
                seen.append(VisibleObject(made.label, (left, top, right, bottom), i + 1))
        found.append(sorted(seen, key=lambda s: -(s.box[2] - s.box[0]) * (s.box[3] - s.box[1])))
    return found


def _spans(scene: Scene, r: int, things: int) -> np.ndarray:
    """[things,4] left, top, right, bottom of each thing of room r, hidden or not, in √(height · width) pixels."""
    owner = scene.thing[r, -scene.spans.shape[1] :].cpu().numpy()
    result = np.tile(np.array([9.0, 9.0, -9.0, -9.0]), (things, 1))
    for n, thing in enumerate(owner):
        if thing > 0:
            left, right, top, bottom = scene.spans[r, n]
            result[thing - 1, :2] = np.minimum(result[thing - 1, :2], (left, top))
            result[thing - 1, 2:] = np.maximum(result[thing - 1, 2:], (right, bottom))
    return result
