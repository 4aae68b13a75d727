"""Rendered rooms with their exact truths: the training and test data of the ``dollhouse`` bundle.

    rooms = sample_rooms(range(8))
    shots = render(rooms, ["boho"] * 8)

The geometry knows no style: the same room rendered in two styles has the same depth, boxes and edges, bit for bit.
For several styles of one room, call ``trace_view`` once and ``develop`` often: the rays are two thirds of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import ROOM_TYPES, Room, sample_room
from .light import Light, gather_light
from .looks import STYLES, Look, Mixed, Restyled, Styled
from .paint import paint
from .scene import Scene, pack
from .schemes import NO_WISH, ColourWish
from .trace import Surface, trace
from .truth import LABELS, VisibleObject, objects, structure_edges, thin_out, thing_map

__all__ = [
    "LABELS",
    "NO_WISH",
    "ROOM_TYPES",
    "STYLES",
    "ColourWish",
    "Look",
    "Mixed",
    "Render",
    "Restyled",
    "Room",
    "Styled",
    "View",
    "VisibleObject",
    "develop",
    "picture",
    "render",
    "restyle",
    "sample_rooms",
    "trace_view",
]

CHUNK_PIXELS = {"cpu": 1, "cuda": 1 << 22}
"""Rays traced at once: on a CPU one room at a time stays in its caches, a GPU wants work."""


@dataclass(frozen=True)
class View:
    """C rooms seen by their cameras, without a style."""

    scene: Scene
    surface: Surface
    light: Light
    supersample: int
    depth: Tensor
    """FP32 [C,H,W], metres along the view axis."""
    edges: Tensor
    """UINT8 [C,H,W], 0 or 255: boundaries of things and creases, never textures."""
    things: Tensor
    """INT64 [C,H,W]: 0 walls, floor and ceiling, i + 1 for ``rooms[c].things[i]``."""
    objects: tuple[tuple[VisibleObject, ...], ...]

    @property
    def room_types(self) -> tuple[str, ...]:
        return tuple(room.room_type for room in self.scene.rooms)


@dataclass(frozen=True)
class Render:
    """B pictures and their truths, on the device they were asked for."""

    image: Tensor
    """UINT8 [B,H,W,3], sRGB."""
    depth: Tensor
    """FP32 [B,H,W], metres along the view axis."""
    edges: Tensor
    """UINT8 [B,H,W], 0 or 255."""
    things: Tensor
    """INT64 [B,H,W]."""
    objects: tuple[tuple[VisibleObject, ...], ...]
    room_types: tuple[str, ...]
    styles: tuple[str, ...]


def sample_rooms(seeds: Sequence[int], room_type: str | None = None) -> tuple[Room, ...]:
    """One room for each seed (≥ 0), of a drawn type unless one of ROOM_TYPES is given; about 5 ms a room."""
    return tuple(sample_room(seed, room_type) for seed in seeds)


@torch.inference_mode()
def trace_view(
    rooms: Sequence[Room],
    size: int | tuple[int, int] = 256,
    device: str | torch.device = "cpu",
    supersample: int = 1,
) -> View:
    """Traces all rooms in one batch. ``size``: side, or (height, width). Raises ValueError unless multiples of 8.

    ``supersample`` 2 traces four rays a pixel for smooth edges; depth, edges and things are those of one of them.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height % 8 or width % 8 or height < 8 or width < 8:
        raise ValueError(f"size must be multiples of 8, not {height} × {width}")
    if supersample not in (1, 2, 4):
        raise ValueError(f"supersample must be 1, 2 or 4, not {supersample}")
    scene = pack(rooms, torch.device(device))
    surface = trace(scene, height * supersample, width * supersample)
    light = gather_light(scene, surface, 2 * supersample)
    coarse = thin_out(surface, supersample)
    depth = coarse.depth.view(-1, height, width)
    edges, things = structure_edges(scene, coarse), thing_map(scene, coarse)
    found = tuple(tuple(seen) for seen in objects(scene, coarse))
    return View(scene, surface, light, supersample, depth, edges, things, found)


def develop(view: View, styles: Sequence[str]) -> Tensor:
    """UINT8 [C,H,W,3]: each room of the view in its style. Raises ValueError for a style that is not in STYLES."""
    _check_styles(view, styles)
    return picture(view, [Styled(style) for style in styles])


def restyle(view: View, found: Sequence[Look], styles: Sequence[str], wishes: Sequence[ColourWish]) -> Tensor:
    """UINT8 [C,H,W,3]: the targets of restyling photos whose looks are ``found``."""
    _check_styles(view, styles)
    return picture(view, [Restyled(*each) for each in zip(found, styles, wishes, strict=True)])


@torch.inference_mode()
def picture(view: View, looks: Sequence[Look]) -> Tensor:
    """UINT8 [C,H,W,3]: each room of the view with its look."""
    made = paint(view.scene, view.surface, view.light, looks)
    c, height, width = view.depth.shape
    step = view.supersample
    if step > 1:
        made = made.view(c, height, step, width, step, 3).mean((2, 4))
    return (made * 255).round().to(torch.uint8)


def _check_styles(view: View, styles: Sequence[str]) -> None:
    unknown = [style for style in styles if style not in STYLES]
    if unknown or len(styles) != len(view.scene.rooms):
        raise ValueError(
            f"want {len(view.scene.rooms)} styles out of {', '.join(STYLES)}, not {list(styles)}"
        )


def render(
    rooms: Sequence[Room],
    styles: Sequence[str],
    size: int | tuple[int, int] = 256,
    device: str | torch.device = "cpu",
    supersample: int = 1,
) -> Render:
    """Pictures and truths of rooms, each in its style; arguments and errors as in ``trace_view`` and ``develop``."""
    if len(rooms) != len(styles):
        raise ValueError(f"want a style for each of {len(rooms)} rooms, not {len(styles)}")
    height, width = (size, size) if isinstance(size, int) else size
    pixels = height * width * supersample**2
    chunk = max(1, CHUNK_PIXELS.get(torch.device(device).type, 1 << 22) // pixels)
    images, views = [], []
    for rooms_now, styles_now in _chunks(rooms, styles, chunk):
        view = trace_view(rooms_now, size, device, supersample)
        images.append(develop(view, styles_now))
        views.append(view)
    return Render(
        torch.cat(images),
        torch.cat([view.depth for view in views]),
        torch.cat([view.edges for view in views]),
        torch.cat([view.things for view in views]),
        tuple(seen for view in views for seen in view.objects),
        tuple(room.room_type for room in rooms),
        tuple(styles),
    )


def _chunks(
    rooms: Sequence[Room], styles: Sequence[str], count: int
) -> Iterator[tuple[Sequence[Room], Sequence[str]]]:
    for start in range(0, len(rooms), count):
        yield rooms[start : start + count], styles[start : start + count]
