"""Which things stand where: the six kinds of rooms, and the camera that looks at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import fixtures, furniture
from .fixtures import Niche
from .furniture import Rng, between
from .interiors import FURNISH, SIZES
from .plan import BACK, FRONT, LEFT, RIGHT, Plan
from .shapes import Floats, Thing, turn_x, turn_y

FREE = 1.05
"""Metres along the front wall where the photographer stands and nothing else does."""
TRIES = 20
"""Rooms drawn until one shows what it must; the last is taken as it is."""
MUST_SHOW = {
    "living room": ("couch",),
    "bedroom": ("bed",),
    "dining room": ("dining table", "chair"),
    "kitchen": ("oven", "refrigerator"),
    "bathroom": ("toilet", "bathtub"),
    "office": ("desk", "chair"),
}
ROOM_TYPES = ("living room", "bedroom", "dining room", "kitchen", "bathroom", "office")


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. ``axes`` [3,3]: columns right, up, forward in world axes."""

    position: Floats
    axes: Floats
    fov: float
    """Radians across √(height · width)."""


@dataclass(frozen=True)
class Room:
    """One furnished room without a style; the same seed makes the same room on every machine."""

    seed: int
    room_type: str
    size: tuple[float, float, float]
    """Width (x), height (y) and depth (z) in metres; the front wall is behind the camera."""
    things: tuple[Thing, ...]
    niches: tuple[Niche, ...]
    camera: Camera
    sun: Floats
    """Unit vector towards the sun, [3]."""


def sample_room(seed: int, room_type: str | None = None) -> Room:
    """The room of a seed (0 … 2⁶³): its type too, unless given."""
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = ROOM_TYPES[int(rng.integers(len(ROOM_TYPES)))]
    kind = drawn if room_type is None else room_type
    for _ in range(TRIES):
        plan, outer = _furnish(rng, kind)
        camera = _look(plan)
        if _shows(plan, camera, MUST_SHOW[kind]):
            break
    return Room(seed, kind, plan.size, tuple(plan.things), tuple(plan.niches), camera, _sun(rng, outer))


def _furnish(rng: Rng, kind: str) -> tuple[Plan, int]:
    low, high = SIZES[kind]
    w, h, d = (between(rng, a, b) for a, b in zip(low, high, strict=True))
    plan = Plan((w, h, d), rng)
    plan.floor.append((0.0, w, 0.0, FREE))
    outer = _openings(plan, kind)
    FURNISH[kind](plan)
    hangs = any(piece.slot == "pendant" for thing in plan.things for piece in thing.pieces)
    if not hangs and rng.random() < 0.75:
        plan.things.append(furniture.ceiling_lamp(rng).at(w * 0.5, d * 0.55, 0.0, h))
    return plan, outer


def _shows(plan: Plan, camera: Camera, labels: tuple[str, ...]) -> bool:
    """Whether the middle of one thing of each label lies well within a square picture."""
    seen = set()
    for thing in plan.things:
        middle = np.mean([piece.center for piece in thing.pieces], axis=0)
        right, up, ahead = (middle - camera.position) @ camera.axes
        if ahead > 0.8 and max(abs(right), abs(up)) < 0.85 * ahead * np.tan(camera.fov / 2):
            seen.add(thing.label)
    return all(label in seen for label in labels)


def _look(plan: Plan) -> Camera:
    """From where a person would take the photo: the free place near the front wall that shows most furniture."""
    rng, (w, h, d) = plan.rng, plan.size
    middles, weights = [np.array([w / 2, 0.0, d * 0.85])], [0.5]
    for thing in plan.things:
        if thing.size[0] * thing.size[2] > 0.15 and thing.label not in ("rug", "window", "door", "curtain"):
            middles.append(np.mean([piece.center for piece in thing.pieces], axis=0))
            weights.append(thing.size[0] * max(thing.size[1], thing.size[2]))
    points, fov = np.array(middles), between(rng, 1.1, 1.36)
    best, chosen = -1.0, (w / 2, 0.35, 0.0)
    for _ in range(24):
        x, z = w * between(rng, 0.16, 0.84), between(rng, 0.25, 0.6)
        yaw = between(rng, -0.75, 0.75)
        turned = np.arctan2(points[:, 0] - x, points[:, 2] - z) - yaw
        away = np.hypot(points[:, 0] - x, points[:, 2] - z)
        shown = np.clip((fov * 0.5 - np.abs(turned)) / 0.3, 0, 1) * np.clip(away - 1.0, 0, 1)
        score = float((shown * weights).sum())
        if score > best:
            best, chosen = score, (x, z, yaw)
    x, z, yaw = chosen
    y = min(between(rng, 1.25, 1.65), h - 0.5)
    return Camera(np.array([x, y, z]), turn_y(yaw) @ turn_x(between(rng, 0.0, 0.24)), fov)


def _openings(plan: Plan, kind: str) -> int:
    """One or two windows in outer walls, a door in another; returns the wall of the first window."""
    rng = plan.rng
    walls = [BACK, LEFT, RIGHT]
    rng.shuffle(walls)
    high, outer = kind in ("kitchen", "bathroom"), walls[0]
    windows = 2 if not high and rng.random() < 0.4 else 1
    height = min(between(rng, 1.2, 1.6), plan.size[1] - 1.1)
    sill = between(rng, 0.84, 1.0)
    if high:
        sill, height = between(rng, 1.1, 1.25), between(rng, 0.8, 1.05)
    bars = (int(rng.integers(1, 4)), int(rng.integers(0, 3)))
    for i in range(windows):
        wall = outer if i == 0 or rng.random() < 0.5 else walls[1]
        length = plan.length(wall)
        w = min(between(rng, 0.9, 1.9), length * 0.5) * (0.75 if high else 1.0)
        low = w / 2 + 0.35 if wall == BACK else max(w / 2 + 0.35, length * 0.42)
        for _ in range(8):
            u = between(rng, low, max(length - w / 2 - 0.35, low + 0.01))
            if plan.open("window", wall, u, w, sill, height, bars):
                if not high and rng.random() < 0.4:
                    plan.drape(wall, u, fixtures.curtains(rng, w, sill + height + 0.14))
                break
    door = FRONT if rng.random() < 0.3 else walls[2]
    for _ in range(8):
        w = between(rng, 0.8, 0.95)
        low = 0.3 + w / 2 if door in (FRONT, BACK) else min(2.0, plan.length(door) * 0.55)
        if plan.open("door", door, between(rng, low, plan.length(door) - w / 2 - 0.15), w, 0.0, 2.03, (0, 0)):
            break
    plan.things += [niche.frame for niche in plan.niches]
    return outer


def _sun(rng: Rng, wall: int) -> Floats:
    """Through the first window, 20° to 55° high."""
    out = {BACK: (0.0, 1.0), LEFT: (-1.0, 0.0), RIGHT: (1.0, 0.0)}[wall]
    along, high = between(rng, -0.7, 0.7), between(rng, 0.35, 0.95)
    # The camera looks towards +z: a sun behind the back wall shines towards it, others fall across.
    flat = np.array([out[0] + along * out[1], 0.0, out[1] - along * abs(out[0])])
    sun = flat / np.linalg.norm(flat) * np.cos(high)
    return np.array([sun[0], np.sin(high), sun[2]])
