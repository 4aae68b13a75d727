"""The ray caster: which surface each pixel sees, and whether a point sees a light.

All rays of a batch go through one piece after another (a few tensor operations each); on one room a piece only meets
the rays of the rectangle that it can fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .scene import CEILING, FIRST_NICHE, FIRST_PIECE, FIRST_WALL, FLOOR, MAX_NICHES, Scene

EPSILON = 1e-9
WALL_OF_SIDE = torch.tensor([FIRST_WALL + 2, FLOOR, FIRST_WALL, FIRST_WALL + 3, CEILING, FIRST_WALL + 1])
"""Part id by axis (x, y, z) at the low side, then at the high side."""


@dataclass(frozen=True)
class Surface:
    """What the pixels of C rooms see; P = H · W. World axes, metres."""

    shape: tuple[int, int]
    rays: Tensor
    """[C,3,P], one unit long along the view axis: depth is the ray parameter."""
    depth: Tensor
    """[C,P] along the view axis."""
    part: Tensor
    """[C,P] int64 (scene.py)."""
    point: Tensor
    """[C,3,P]."""
    normal: Tensor
    """[C,3,P] of the exact geometry, unit length, towards the viewer's side."""
    local: Tensor
    """[C,3,P] in the piece's unit shape; world coordinates for the room itself."""
    axis: Tensor
    """[C,P] int64: the box axis that the face is square to (1 for a cylinder's ends, 3 for round sides)."""


def unit(vectors: Tensor) -> Tensor:
    """[C,3,K] to length 1 (torch's own normalize is ten times slower along this axis)."""
    return vectors * (vectors * vectors).sum(1, keepdim=True).clamp(min=1e-12).rsqrt()


def _longest(vectors: Tensor) -> Tensor:
    """[C,3,K] → [C,K] int64: the axis of the largest magnitude."""
    x, y, z = vectors.abs().unbind(1)
    return torch.where(x > y, 2 * (z >= x).long(), 1 + (z > y).long())


def view_rays(scene: Scene, height: int, width: int) -> Tensor:
    """[C,3,height·width] through the pixels' centres."""
    device = scene.eye.device
    pixels = (height * width) ** 0.5
    x = (torch.arange(width, device=device) + 0.5 - width / 2) / pixels
    y = (torch.arange(height, device=device) + 0.5 - height / 2) / pixels
    flat = torch.stack([x.expand(height, width), -y[:, None].expand(height, width)]).flatten(1)
    right_up = scene.axes[:, :, :2] / scene.focal[:, None, None]
    return right_up @ flat + scene.axes[:, :, 2:]


def trace(scene: Scene, height: int, width: int) -> Surface:
    """Finds the nearest surface along every ray."""
    rays = view_rays(scene, height, width)
    depth, part, axis = _walls(scene, rays)
    c = rays.shape[0]
    grid, depth, part = (
        rays.view(c, 3, height, width),
        depth.view(c, height, width),
        part.view(c, height, width),
    )
    for n in range(sum(scene.counts)):
        top, bottom, left, right = _window(scene, n, height, width)
        if top >= bottom or left >= right:
            continue
        some = grid[:, :, top:bottom, left:right]
        origin = torch.einsum("cij,cj->ci", scene.matrix[:, n], scene.eye) + scene.offset[:, n]
        near, far = first_hit(scene, n, origin[:, :, None], scene.matrix[:, n] @ some.flatten(2))
        near.masked_fill_((near >= far) | (far <= 0), torch.inf)
        near = near.view(c, bottom - top, right - left)
        best = depth[:, top:bottom, left:right]
        closer = near < best
        part[:, top:bottom, left:right].masked_fill_(closer, FIRST_PIECE + n)
        torch.minimum(best, near, out=best)
    return _surface(scene, (height, width), rays, depth.flatten(1), part.flatten(1), axis)


def _window(scene: Scene, n: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows and columns (top, bottom, left, right) that piece n of any of the rooms can fill."""
    left, right, top, bottom = (scene.spans[:, n] * (height * width) ** 0.5).T
    rows = height / 2 + np.array([top.min(), bottom.max()])
    columns = width / 2 + np.array([left.min(), right.max()])
    low = np.floor([rows[0], columns[0]]).clip(0, [height, width]).astype(int)
    high = np.ceil([rows[1], columns[1]]).clip(0, [height, width]).astype(int)
    return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def first_hit(scene: Scene, n: int, origin: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays in piece n's unit space ([C,3,K]) enter it and leave it, each [C,K]; enter ≥ leave where they miss.

    ``ray`` is overwritten.
    """
    if n < scene.counts[0]:
        return _box(origin, ray)
    if n < scene.counts[0] + scene.counts[1]:
        return _cylinder(origin, ray, scene.taper[:, n, None])
    return _ball(origin, ray)


def _box(origin: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    inverse = ray.add_(EPSILON).reciprocal_()
    middle = origin * inverse
    reach = inverse.abs_()
    leave = (reach - middle).amin(1)
    return middle.add_(reach).amin(1).neg_(), leave


def _ball(origin: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    a = (ray * ray).sum(1)
    b = (origin * ray).sum(1)
    root = (b * b - a * ((origin * origin).sum(1) - 1)).clamp(min=0).sqrt()
    return (-b - root) / a, (root - b) / a


def _cylinder(origin: Tensor, ray: Tensor, taper: Tensor) -> tuple[Tensor, Tensor]:
    """The side is the cone x² + z² = (1 + taper · y)², cut by y = ±1 (|taper| < 1 keeps its tip outside)."""
    oy, dy = 1 + taper * origin[:, 1], taper * ray[:, 1]
    a = ray[:, 0] ** 2 + ray[:, 2] ** 2 - dy * dy
    b = origin[:, 0] * ray[:, 0] + origin[:, 2] * ray[:, 2] - oy * dy
    c = origin[:, 0] ** 2 + origin[:, 2] ** 2 - oy * oy
    disc = b * b - a * c
    # A ray steeper than the cone (a < 0) crosses it once within the slab: on the side of the far root.
    a = torch.where(a.abs() < EPSILON, torch.full_like(a, EPSILON), a)
    root = disc.clamp(min=0).sqrt()
    first, second = (-b - root) / a, (root - b) / a
    inverse = (ray[:, 1] + EPSILON).reciprocal()
    middle, reach = origin[:, 1] * inverse, inverse.abs()
    bottom, top = -middle - reach, reach - middle
    steep = a < 0
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    # Inside the double cone before `low` or after `high`; the slab lies wholly on one side of the tip.
    beyond = bottom + top > -2 * oy / (dy + EPSILON)
    enter = torch.where(steep, torch.where(beyond, high, bottom), low)
    leave = torch.where(steep, torch.where(beyond, top, low), high)
    enter, leave = torch.maximum(enter, bottom), torch.minimum(leave, top)
    return enter.masked_fill((disc < 0) & ~steep, torch.inf), leave


def _walls(scene: Scene, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depth, part and axis where rays leave the empty room, through its openings where they meet one."""
    inverse = (rays + EPSILON).reciprocal()
    eye = scene.eye[:, :, None]
    low, high = -eye * inverse, (scene.size[:, :, None] - eye) * inverse
    depth, axis = torch.maximum(low, high).min(dim=1)
    ahead = rays.gather(1, axis[:, None])[:, 0] > 0
    part = WALL_OF_SIDE.to(rays.device)[axis + 3 * ahead]
    hit = scene.eye[:, :, None] + rays * depth[:, None]
    for i in range(MAX_NICHES):
        box = scene.niches[:, i, :, None]
        if not torch.isfinite(box).any():
            break
        inside = ((hit > box[:, :3] - 1e-4) & (hit < box[:, 3:] + 1e-4)).all(1)
        far, face = torch.maximum((box[:, :3] - eye) * inverse, (box[:, 3:] - eye) * inverse).min(dim=1)
        span = box[:, 3:] - box[:, :3]
        back = face == span.argmin(1)
        depth = torch.where(inside, far, depth)
        axis = torch.where(inside, face, axis)
        part = torch.where(inside, FIRST_NICHE + 2 * i + (~back).long(), part)
    return depth, part, axis


def _surface(
    scene: Scene, shape: tuple[int, int], rays: Tensor, depth: Tensor, part: Tensor, axis: Tensor
) -> Surface:
    point = scene.eye[:, :, None] + rays * depth[:, None]
    c = part.shape[0]
    eye = torch.eye(3, device=rays.device).expand(c, FIRST_PIECE, 3, 3)
    into = torch.cat([eye, scene.matrix], 1).flatten(2)
    zero = torch.zeros(c, FIRST_PIECE, 3, device=rays.device)
    table = torch.cat([into, torch.cat([zero, scene.offset], 1)], 2)
    rows = table.mT.gather(2, part[:, None].expand(-1, 12, -1))
    m = rows[:, :9].view(c, 3, 3, -1)
    local = (m * point[:, None]).sum(2) + rows[:, 9:]
    first_round = FIRST_PIECE + scene.counts[0]
    boxes, rounds = (part >= FIRST_PIECE) & (part < first_round), part >= first_round
    balls = part >= first_round + scene.counts[1]
    axis = torch.where(boxes, _longest(local), axis)
    cap = rounds & ~balls & (local[:, 1].abs() > 0.9995)
    axis = torch.where(rounds, torch.where(cap, 1, 3), axis)
    flat = torch.nn.functional.one_hot(axis, 4)[..., :3].mT.float() * local.sign()
    inside = -rays.sign() * torch.nn.functional.one_hot(axis, 4)[..., :3].mT
    k = torch.cat([torch.zeros(c, FIRST_PIECE, device=rays.device), scene.taper], 1).gather(1, part)
    slope = torch.where(balls, local[:, 1], -k * (1 + k * local[:, 1]))
    curved = torch.stack([local[:, 0], slope, local[:, 2]], 1)
    own = torch.where((axis == 3)[:, None], curved, torch.where((part < FIRST_PIECE)[:, None], inside, flat))
    normal = unit((m * own[:, :, None]).sum(1))
    facing = (normal * rays).sum(1, keepdim=True) > 0
    normal = torch.where(facing, -normal, normal)
    return Surface(shape, rays, depth, part, point, normal, local, axis)
