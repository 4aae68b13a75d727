"""Rooms in which one thing has drifted: what a careless restyle does to the structure of a photo, planted on purpose.

The room's geometry is changed and rendered anew, so that light, shadows and what comes into view are right. Only lines
are bent in the picture. Nothing else of the room changes: not its colours, not its furniture.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dollhouse.data.pairs import SOURCES
from dollhouse.render.fixtures import Niche
from dollhouse.render.layout import Room
from dollhouse.render.plan import BACK, LEFT, RIGHT
from dollhouse.render.rooms import (
    NO_WISH,
    STYLES,
    Styled,
    View,
    picture,
    restyle,
    sample_rooms,
    trace_view,
)
from dollhouse.render.scene import FIRST_WALL, NOWHERE
from dollhouse.render.shapes import Floats, Thing, turn_x, turn_y

Picture = NDArray[np.uint8]

LEAST_CHANGED = {"moved_window": 0.02, "removed_door": 0.015, "widened_wall": 0.06, "rotated_camera": 0.0}
"""Share of the picture that shows another thing or wall than before, at least: a fault that a person would notice."""
MOVED = 0.6
"""A window moves by this share of its width, at least MOVED_METRES."""
MOVED_METRES = 0.5
WIDER = 0.25
"""A wall moves outwards by this share of the room's width or depth."""
YAW, PITCH = np.radians((5.0, 3.0))
"""The most that the camera turns; the least is a half of it."""
WAVE, WAVES = 0.012, (1.5, 3.0)
"""Bent lines: the amplitude as a share of the side, and the number of waves across the picture."""


class NothingToPlant(Exception):
    """This room does not show what would drift."""


@dataclass(frozen=True)
class Drifted:
    """A photo, the room restyled faithfully in several styles, and with one thing drifted in the first of them."""

    photo: Picture
    faithful: Mapping[str, Picture]
    """By style."""
    faulty: Mapping[str, Picture]
    """By FAULTS, of those that were wanted and that the room has a place for."""
    views: Mapping[str, View]
    """What is truly seen: in the photo and its faithful restyles under PHOTO, and in faulty ones under the fault."""


def moved_window(room: Room, view: View, choices: np.random.Generator) -> Room:
    """The largest window that is seen, further along its wall, with its curtains."""
    niche = _seen_niche(room, view, "window")
    width = niche.u[1] - niche.u[0]
    length = room.size[0] if niche.wall < LEFT else room.size[2]
    others = [each.u for each in room.niches if each is not niche and each.wall == niche.wall]
    step = max(MOVED_METRES, MOVED * width)
    for way in choices.permutation([-1.0, 1.0]):
        low, high = niche.u[0] + way * step, niche.u[1] + way * step
        free = not any(low - 0.1 < end and begin < high + 0.1 for begin, end in others)
        moved = _shift_niche(room, niche, way * step)
        if free and low > 0.1 and high < length - 0.1 and _shows(moved, view, moved.niches, niche.label):
            return moved
    raise NothingToPlant


def removed_door(room: Room, view: View, choices: np.random.Generator) -> Room:
    """The door that is seen is walled up."""
    niche = _seen_niche(room, view, "door")
    gone = _moved(niche.frame, np.full(3, NOWHERE))
    things = tuple(gone if thing is niche.frame else thing for thing in room.things)
    return replace(room, things=things, niches=tuple(each for each in room.niches if each is not niche))


def widened_wall(room: Room, view: View, choices: np.random.Generator) -> Room:
    """The wall without a window or door of which most is seen stands further out, and what hangs on it goes with it."""
    part = view.surface.part[0]
    openings = {each.wall for each in room.niches}
    walls = [wall for wall in (BACK, LEFT, RIGHT) if wall not in openings]
    if not walls:
        raise NothingToPlant
    wall = max(walls, key=lambda each: int((part == FIRST_WALL + each).sum()))
    width, height, depth = room.size
    by = WIDER * (depth if wall == BACK else width)
    out = by * np.array({BACK: (0.0, 0.0, 1.0), LEFT: (-1.0, 0.0, 0.0), RIGHT: (1.0, 0.0, 0.0)}[wall])
    things = tuple(_moved(thing, out) if _hangs(thing, wall, room.size) else thing for thing in room.things)
    size = (width, height, depth + by) if wall == BACK else (width + by, height, depth)
    made = _same_niches(replace(room, size=size, things=things), room)
    return _all_moved(made, -out) if wall == LEFT else made


def rotated_camera(room: Room, view: View, choices: np.random.Generator) -> Room:
    """Turned to one side, and up or down."""
    yaw, pitch = (limit * choices.uniform(0.5, 1.0) * choices.choice((-1.0, 1.0)) for limit in (YAW, PITCH))
    axes = turn_y(yaw) @ room.camera.axes @ turn_x(pitch)
    return replace(room, camera=replace(room.camera, axes=axes))


def bent_lines(made: Picture, choices: np.random.Generator) -> Picture:
    """Straight lines become wavy, as a network draws them that loses its ruler."""
    height, width = made.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    amplitude = WAVE * max(height, width)
    waves, phases = choices.uniform(*WAVES, 2), choices.uniform(0.0, 2.0 * np.pi, 2)
    dx = amplitude * np.sin(2 * np.pi * waves[0] * y / height + phases[0])
    dy = amplitude * np.sin(2 * np.pi * waves[1] * x / width + phases[1])
    bent = cv2.remap(
        made,
        (x + dx).astype(np.float32),
        (y + dy).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(bent, np.uint8)


GEOMETRY: Mapping[str, Callable[[Room, View, np.random.Generator], Room]] = {
    "moved_window": moved_window,
    "removed_door": removed_door,
    "widened_wall": widened_wall,
    "rotated_camera": rotated_camera,
}
"""Faults of the room or the camera, by name."""

BENT = "bent_lines"
FAULTS = (*GEOMETRY, BENT)

KINDS = {
    "moved_window": "openings",
    "removed_door": "openings",
    "widened_wall": "planes",
    "rotated_camera": "camera",
    BENT: "lines",
}
"""The kind of drift that each of FAULTS is."""


PHOTO = "photo"


def drifted(
    seed: int,
    size: int,
    soft: Callable[[Picture], Picture],
    *,
    styles: int = 4,
    wanted: Collection[str] = FAULTS,
) -> Drifted | None:
    """The room of a seed at ``size``², restyled in that many styles; None where none of the ``wanted`` faults has a
    place in it. ``soft`` makes a render as soft as a network leaves it."""
    (room,) = sample_rooms([seed])
    view, found = trace_view([room], size), SOURCES[seed % len(SOURCES)]
    views = {PHOTO: view}
    for number, (name, plant) in enumerate(GEOMETRY.items()):
        if name in wanted and (seen := _planted(name, plant, room, view, number)) is not None:
            views[name] = seen
    if len(views) == 1 and BENT not in wanted:
        return None
    own = found.style if isinstance(found, Styled) else None
    others = [style for style in STYLES if style != own]
    first = seed // len(STYLES) % len(others)
    names = [*others[first:], *others[:first]][:styles]

    def made(of: View, style: str) -> Picture:
        return np.asarray(restyle(of, [found], [style], [NO_WISH])[0].numpy())

    faithful = {style: made(view, style) for style in names}
    faulty = {name: made(seen, names[0]) for name, seen in views.items() if name != PHOTO}
    if BENT in wanted:
        faulty[BENT] = bent_lines(faithful[names[0]], np.random.default_rng([seed, len(GEOMETRY)]))
    (photo,) = picture(view, [found]).numpy()
    return Drifted(
        np.asarray(photo),
        {style: soft(each) for style, each in faithful.items()},
        {name: soft(each) for name, each in faulty.items()},
        views,
    )


def _planted(
    name: str, plant: Callable[[Room, View, np.random.Generator], Room], room: Room, view: View, number: int
) -> View | None:
    """The room with the fault; None where it has no place or cannot be noticed."""
    try:
        changed = plant(room, view, np.random.default_rng([room.seed, number]))
    except NothingToPlant:
        return None
    seen = trace_view([changed], view.depth.shape[1])
    share = float((seen.surface.part != view.surface.part).float().mean())
    return seen if share >= LEAST_CHANGED[name] else None


def _seen_niche(room: Room, view: View, label: str) -> Niche:
    """The opening that covers most of the picture. Raises NothingToPlant."""
    shares = {
        number: float((view.things[0] == number + 1).float().mean())
        for number, thing in enumerate(room.things)
        if thing.label == label
    }
    if not shares or not max(shares.values()):
        raise NothingToPlant
    frame = room.things[max(shares, key=lambda number: shares[number])]
    return next(each for each in room.niches if each.frame is frame)


def _shows(room: Room, view: View, niches: tuple[Niche, ...], label: str) -> bool:
    """Whether the picture still shows the middle of the opening that was moved, not at its very rim."""
    moved = [each for each in niches if each.label == label]
    camera = room.camera
    for niche in moved:
        middle = np.mean([piece.center for piece in niche.frame.pieces], axis=0)
        right, up, ahead = (middle - camera.position) @ camera.axes
        if not (ahead > 0.5 and max(abs(right), abs(up)) < 0.8 * ahead * np.tan(camera.fov / 2)):
            return False
    return True


def _shift_niche(room: Room, niche: Niche, by: float) -> Room:
    along = np.array([by, 0.0, 0.0] if niche.wall < LEFT else [0.0, 0.0, by])
    frame = _moved(niche.frame, along)
    middle = np.mean([piece.center for piece in niche.frame.pieces], axis=0)

    def placed(thing: Thing) -> Thing:
        if thing is niche.frame:
            return frame
        if thing.label == "curtain":
            own = np.mean([piece.center for piece in thing.pieces], axis=0)
            if np.hypot(*(own - middle)[[0, 2]]) < 0.5:
                return _moved(thing, along)
        return thing

    shifted = replace(niche, u=(niche.u[0] + by, niche.u[1] + by), frame=frame)
    return replace(
        room,
        things=tuple(placed(thing) for thing in room.things),
        niches=tuple(shifted if each is niche else each for each in room.niches),
    )


def _hangs(thing: Thing, wall: int, size: tuple[float, float, float]) -> bool:
    """Whether it hangs on the wall."""
    if thing.label not in ("picture", "mirror", "clock", "towel", "cabinet", "hood"):
        return False
    low = np.min([piece.bounds()[0] for piece in thing.pieces], axis=0)
    high = np.max([piece.bounds()[1] for piece in thing.pieces], axis=0)
    if wall == BACK:
        return bool(high[2] > size[2] - 0.1)
    return bool(low[0] < 0.1 if wall == LEFT else high[0] > size[0] - 0.1)


def _moved(thing: Thing, by: Floats) -> Thing:
    return replace(thing, pieces=tuple(replace(piece, center=piece.center + by) for piece in thing.pieces))


def _all_moved(room: Room, by: Floats) -> Room:
    """The same room further along the axes: a room begins at 0."""
    made = _same_niches(replace(room, things=tuple(_moved(thing, by) for thing in room.things)), room)
    niches = tuple(
        replace(each, u=(each.u[0] + by[0], each.u[1] + by[0]) if each.wall < LEFT else each.u)
        for each in made.niches
    )
    return replace(made, niches=niches, camera=replace(room.camera, position=room.camera.position + by))


def _same_niches(room: Room, before: Room) -> Room:
    """With the frames of its own things, which stand where those of the room ``before`` stood in its list."""
    own = {id(old): new for old, new in zip(before.things, room.things, strict=True)}
    return replace(room, niches=tuple(replace(each, frame=own[id(each.frame)]) for each in room.niches))
