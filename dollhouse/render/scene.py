"""Rooms as tensors: every piece a matrix into its unit shape, padded so that a batch of rooms is one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .layout import Room
from .shapes import BALL, BOX, CYLINDER, Floats, Piece

FLOOR, CEILING, FIRST_WALL, FIRST_NICHE = 0, 1, 2, 6
MAX_NICHES = 4
FIRST_PIECE = FIRST_NICHE + 2 * MAX_NICHES
"""Part ids: floor, ceiling, four walls (front, back, left, right), back and sides of each niche, then the pieces."""
SHAPES = (BOX, CYLINDER, BALL)
NOWHERE = 1e4
"""Where padding pieces lie: beyond every wall, so that no ray meets them first. Metres."""
MAX_LIGHTS = 3
FLAT = frozenset(
    [
        "books",
        "handle",
        "knob",
        "burner",
        "picture",
        "picture_frame",
        "mirror",
        "clock",
        "screen",
        "rug",
        "door_frame",
        "window_frame",
        "sill",
        "cover",
        "soil",
        "metal_bright",
        "bulb",
        "plinth",
        "cord",
    ]
)
"""Slots of pieces too thin or too hidden for a visible shadow."""


@dataclass(frozen=True)
class Scene:
    """C rooms on one device. N pieces a room: ``counts`` boxes, cylinders and balls, padded to the batch's most."""

    rooms: tuple[Room, ...]
    slots: tuple[tuple[str, ...], ...]
    """What each part is made of, by room and part id."""
    serials: tuple[tuple[int, ...], ...]
    """A number for each part that does not depend on the batch's padding."""
    counts: tuple[int, int, int]
    size: Tensor
    """[C,3] metres."""
    eye: Tensor
    """[C,3] metres."""
    axes: Tensor
    """[C,3,3]: columns right, up, forward."""
    focal: Tensor
    """[C] in units of √(height · width) pixels."""
    matrix: Tensor
    """[C,N,3,3], world → unit shape."""
    offset: Tensor
    """[C,N,3]."""
    half: Tensor
    """[C,F+N,3] by part id (F = FIRST_PIECE), ones for the room itself."""
    soft: Tensor
    """[C,F+N]."""
    taper: Tensor
    """[C,N]."""
    casts: Tensor
    """[C,N] bool: throws a shadow."""
    thing: Tensor
    """[C,F+N] int64 by part id: 0 the room itself, i + 1 for ``rooms[c].things[i]``."""
    hollow: Tensor
    """[C,F+N] bool."""
    spans: np.ndarray
    """[C,N,4] left, right, top, bottom of each piece from the picture's centre, in √(height · width) pixels."""
    niches: Tensor
    """[C,MAX_NICHES,6] lowest and highest corner of each opening's hollow, NaN where there is none."""
    windows: Tensor
    """[C,2,6] middle of the pane and its half size; a missing one has half size 0."""
    lamps: Tensor
    """[C,MAX_LIGHTS,4] position and strength (0 where there is none)."""
    sun: Tensor
    """[C,3]."""


def pack(rooms: Sequence[Room], device: torch.device) -> Scene:
    """Sorts each room's pieces by shape, pads them to a common count and moves them to the device."""
    sorted_rooms = [_by_shape(room) for room in rooms]
    counts = tuple(max(1, *(len(group[k]) for group in sorted_rooms)) for k in range(3))
    total = sum(counts)
    c, parts = len(rooms), FIRST_PIECE + total
    matrix, offset = np.tile(np.eye(3), (c, total, 1, 1)), np.full((c, total, 3), NOWHERE)
    half, soft, taper = np.ones((c, parts, 3)), np.zeros((c, parts)), np.zeros((c, total))
    casts, thing = np.zeros((c, total), bool), np.zeros((c, parts), np.int64)
    hollow, spans = np.zeros((c, parts), bool), np.tile(np.array([9.0, -9.0, 9.0, -9.0]), (c, total, 1))
    slots, serials = [], []
    for r, room in enumerate(rooms):
        names, serial = room_slots(room) + [""] * total, list(range(parts))
        thing[r, FIRST_NICHE:FIRST_PIECE] = _niche_things(room)
        for k, group in enumerate(sorted_rooms[r]):
            start = sum(counts[:k])
            for n, (owner, piece) in enumerate(group, start):
                into = (piece.turn / piece.half).T
                matrix[r, n], offset[r, n], taper[r, n] = into, -into @ piece.center, piece.taper
                casts[r, n], spans[r, n] = piece.shadow and piece.slot not in FLAT, _span(room, piece)
                part = FIRST_PIECE + n
                serial[part] = FIRST_PIECE + 1000 * k + n - start
                half[r, part], soft[r, part], names[part] = piece.half, piece.soft, piece.slot
                thing[r, part], hollow[r, part] = owner + 1, room.things[owner].hollow
        slots.append(tuple(names))
        serials.append(tuple(serial))

    def tensor(values: Floats) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    return Scene(
        tuple(rooms),
        tuple(slots),
        tuple(serials),
        (counts[0], counts[1], counts[2]),
        **_camera_and_light(rooms, device),
        matrix=_tensor(matrix, device),
        offset=_tensor(offset, device),
        half=_tensor(half, device),
        soft=_tensor(soft, device),
        taper=_tensor(taper, device),
        casts=torch.as_tensor(casts, device=device),
        thing=torch.as_tensor(thing, device=device),
        hollow=torch.as_tensor(hollow, device=device),
        spans=spans,
    )


def _tensor(values: Floats, device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)


def _camera_and_light(rooms: Sequence[Room], device: torch.device) -> dict[str, Tensor]:
    fields = {
        "size": [np.array(room.size) for room in rooms],
        "eye": [room.camera.position for room in rooms],
        "axes": [room.camera.axes for room in rooms],
        "focal": [0.5 / np.tan(room.camera.fov / 2) for room in rooms],
        "niches": [_hollows(room) for room in rooms],
        "windows": [_windows(room) for room in rooms],
        "lamps": [_lamps(room) for room in rooms],
        "sun": [room.sun for room in rooms],
    }
    return {name: _tensor(np.stack(values), device) for name, values in fields.items()}


def room_slots(room: Room) -> list[str]:
    """Slots of the parts below FIRST_PIECE."""
    names = ["floor", "ceiling", "wall", "wall", "wall", "wall"]
    for niche in room.niches[:MAX_NICHES]:
        names += ["view", "reveal"] if niche.label == "window" else ["door", "door_frame"]
    return names + [""] * (FIRST_PIECE - len(names))


def _by_shape(room: Room) -> list[list[tuple[int, Piece]]]:
    groups: dict[str, list[tuple[int, Piece]]] = {shape: [] for shape in SHAPES}
    for owner, thing in enumerate(room.things):
        for piece in thing.pieces:
            groups[piece.shape].append((owner, piece))
    return [groups[shape] for shape in SHAPES]


def _niche_things(room: Room) -> list[int]:
    owners: list[int] = []
    for niche in room.niches[:MAX_NICHES]:
        index = next(i for i, thing in enumerate(room.things) if thing is niche.frame)
        owners += [index + 1, index + 1]
    return owners + [0] * (2 * MAX_NICHES - len(owners))


def _span(room: Room, piece: Piece) -> Floats:
    seen = (piece.corners() - room.camera.position) @ room.camera.axes
    if seen[:, 2].min() < 0.05:
        # Partly behind the eye: the projection of its corners has no meaning.
        return (
            np.array([9.0, -9.0, 9.0, -9.0]) if seen[:, 2].max() < 0.05 else np.array([-9.0, 9.0, -9.0, 9.0])
        )
    x, y = seen[:, 0] / seen[:, 2], -seen[:, 1] / seen[:, 2]
    return np.array([x.min(), x.max(), y.min(), y.max()]) * 0.5 / np.tan(room.camera.fov / 2)


def _hollows(room: Room) -> Floats:
    w, _, d = room.size
    found = np.full((MAX_NICHES, 6), np.nan)
    for i, niche in enumerate(room.niches[:MAX_NICHES]):
        low, high = [(-niche.depth, 0.0), (d, d + niche.depth), (-niche.depth, 0.0), (w, w + niche.depth)][
            niche.wall
        ]
        across, along = ((low, high), niche.u) if niche.wall >= 2 else (niche.u, (low, high))
        found[i] = (across[0], niche.v[0], along[0], across[1], niche.v[1], along[1])
    return found


def _windows(room: Room) -> Floats:
    """Panes in the wall's plane, so that light need not find its way through the reveal."""
    found = np.zeros((2, 6))
    boxes = _hollows(room)
    size = np.array(room.size)
    windows = [boxes[i] for i, niche in enumerate(room.niches[:MAX_NICHES]) if niche.label == "window"]
    for i, box in enumerate(windows[:2]):
        low, high = np.clip(box[:3], 0, size), np.clip(box[3:], 0, size)
        found[i] = (*((low + high) / 2), *((high - low) / 2))
    return found


def _lamps(room: Room) -> Floats:
    found = np.zeros((MAX_LIGHTS, 4))
    strength = {"pendant": 1.0, "ceiling_lamp": 1.0, "lampshade": 0.5}
    lights = [(strength[p.slot], p) for t in room.things for p in t.pieces if p.slot in strength]
    lights.sort(key=lambda light: -light[0])
    for i, (power, piece) in enumerate(lights[:MAX_LIGHTS]):
        low = 0.22 if piece.slot == "pendant" else 0.06 if piece.slot == "ceiling_lamp" else 0.0
        found[i] = (*(piece.center - np.array([0, low, 0])), power)
    return found
