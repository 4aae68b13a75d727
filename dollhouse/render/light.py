"""Which light reaches a point: soft visibility of windows, lamp, sun and surroundings.

A few rays a pixel at half the picture's resolution, their directions changing in a 4 × 4 pattern, then an average over
4 × 4 neighbours on the same surface (interleaved sampling): as smooth as sixteen times the rays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from .scene import Scene
from .trace import Surface, first_hit, unit

TILE = 4
AMBIENT_REACH = 0.9
"""Metres within which surroundings darken a point."""
LIFT = 4e-3
"""Metres that rays start above their surface."""


@dataclass(frozen=True)
class Light:
    """Unblocked shares, 0..1, each [C,P], the same in every style."""

    windows: tuple[Tensor, Tensor]
    lamp: Tensor
    """The first lamp's share."""
    sun: Tensor
    """Blocked by furniture only; ``paint`` checks whether the ray leaves through a window."""
    ambient: Tensor


def gather_light(scene: Scene, surface: Surface, step: int = 2) -> Light:
    """Shoots the rays from every ``step``-th pixel and spreads their answers over all of the surface's."""
    height, width = surface.shape
    c = surface.depth.shape[0]

    def coarse(field: Tensor) -> Tensor:
        return field.view(c, 3, height, width)[:, :, ::step, ::step].contiguous()

    normal, point = coarse(surface.normal), coarse(surface.point)
    rows, columns = point.shape[2:]
    start = (point + LIFT * normal).flatten(2)
    rank = _ranks(rows, columns, scene.eye.device)
    facing = normal.flatten(2)
    rays = [_to_window(scene, start, rank, k, scene.windows[:, k]) for k in (0, 1)]
    rays.append(scene.lamps[:, 0, :3, None] + 0.12 * _ball(rank, 2) - start)
    there = [scene.windows[:, 0, 3:].sum(1) > 0, scene.windows[:, 1, 3:].sum(1) > 0, scene.lamps[:, 0, 3] > 0]
    wanted = [((ray * facing).sum(1) > 0) & lit[:, None] for ray, lit in zip(rays, there, strict=True)]
    rays.append((scene.sun[:, :, None] + 0.02 * _ball(rank, 3)) * 20.0 + 0 * start)
    wanted.append(sunlit(scene, start, scene.sun[:, :, None], 0.3) > 0)
    rays.append(_around(facing, rank, 4))
    wanted.append(torch.ones_like(wanted[0]))
    seen = torch.stack([unblocked(scene, start, *pair) for pair in zip(rays, wanted, strict=True)], 1)
    fields = seen.view(c, 5, rows, columns)
    # Once to meet all sixteen directions, once more, centred back, to hide their grid.
    smooth = _blur(_blur(fields, point, normal, 2), point, normal, 1)
    spread = _upsample(smooth, point, normal, surface, step)
    ambient = spread[:, 4] * _corners(scene, surface)
    return Light((spread[:, 0], spread[:, 1]), spread[:, 2], spread[:, 3], ambient)


def unblocked(scene: Scene, start: Tensor, ray: Tensor, wanted: Tensor) -> Tensor:
    """1 where no shadow-throwing piece lies between ``start`` and ``start + ray``, else 0.

    [C,3,K] each → [C,K]; 1 too where not ``wanted`` ([C,K] bool): those rays are spared if no room wants them.
    """
    free = torch.ones_like(start[:, 0])
    columns = wanted.any(0).nonzero()[:, 0]
    if len(columns) == 0:
        return free
    start, ray = start[:, :, columns], ray[:, :, columns]
    blocked = torch.zeros_like(start[:, 0], dtype=torch.bool)
    casts_any = scene.casts.any(0).tolist()
    for n in range(sum(scene.counts)):
        if casts_any[n]:
            matrix = scene.matrix[:, n]
            enter, leave = first_hit(scene, n, matrix @ start + scene.offset[:, n, :, None], matrix @ ray)
            blocked |= (enter.clamp_(min=1e-4) < leave.clamp_(max=0.999)) & scene.casts[:, n, None]
    # Another room's rays must not change this room's answer.
    free[:, columns] = (~(blocked & wanted[:, columns])).float()
    return free


def _ranks(rows: int, columns: int, device: torch.device) -> Tensor:
    """[rows·columns]: which of the pattern's 16 directions a pixel shoots, neighbours far apart in order."""
    order = torch.tensor([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], device=device)
    return order.repeat(-(-rows // TILE), -(-columns // TILE))[:rows, :columns].flatten()


def _numbers(rank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Two evenly spread numbers in 0..1 for the k-th ray of each pixel (the R2 sequence of M. Roberts)."""
    index = rank + 16.0 * k + 0.5
    return (index * 0.7548776662) % 1, (index * 0.5698402910) % 1


def _ball(rank: Tensor, k: int) -> Tensor:
    """Unit vectors, [3,K]."""
    a, b = _numbers(rank, k)
    y, turn = 2 * a - 1, 2 * torch.pi * b
    flat = (1 - y * y).sqrt()
    return torch.stack([flat * turn.cos(), y, flat * turn.sin()])


def _to_window(scene: Scene, start: Tensor, rank: Tensor, k: int, window: Tensor) -> Tensor:
    a, b = _numbers(rank, k)
    # A pane is flat along one horizontal axis: the first number serves x and z alike.
    spread = torch.stack([2 * a - 1, 2 * b - 1, 2 * a - 1]) * 0.9
    return window[:, :3, None] + window[:, 3:, None] * spread - start


def _around(normal: Tensor, rank: Tensor, k: int) -> Tensor:
    """Cosine-weighted directions; shorter ones are likelier to be free, which fades the darkening with distance."""
    reach = AMBIENT_REACH * (((rank + 0.5) / 16 + 0.37 * k) % 1)
    return unit(normal + 0.98 * _ball(rank, k)) * reach


def _corners(scene: Scene, surface: Surface) -> Tensor:
    """Share of light that the empty room's own walls leave, [C,P]: a formula, so that corners have no grain."""
    share = torch.ones_like(surface.depth)
    for side, distance in ((1.0, surface.point), (-1.0, scene.size[:, :, None] - surface.point)):
        near = (1 - distance.clamp(min=0) / AMBIENT_REACH).clamp(min=0)
        # A surface that faces away from a wall gets no shade from it.
        felt = (1 - side * surface.normal).clamp(0, 1)
        share = share * (1 - 0.38 * near * near * felt).prod(1)
    return share


def sunlit(scene: Scene, point: Tensor, sun: Tensor, margin: float = 0.0) -> Tensor:
    """1 where a ray towards the sun leaves the empty room through a window (grown by ``margin`` metres), [C,K]."""
    lit = torch.zeros_like(point[:, 0])
    for i in range(2):
        middle, half = scene.windows[:, i, :3, None], scene.windows[:, i, 3:, None]
        normal = (half == 0).float() * (half.sum(1, keepdim=True) > 0)
        away = ((middle - point) * normal).sum(1, keepdim=True)
        speed = (sun * normal).sum(1, keepdim=True)
        # Outward or not, the sun's ray must cross this wall's plane ahead of it.
        time = away / torch.where(speed.abs() < 1e-6, torch.full_like(speed, 1e-6), speed)
        off = (point + sun * time - middle).abs() - half - margin * (half > 0)
        outward = speed * (middle - scene.size[:, :, None] / 2).mul(normal).sum(1, keepdim=True) > 0
        lit += ((off < 1e-3).all(1) & (time[:, 0] > 0) & outward[:, 0]).float()
    return lit.clamp(max=1)


def _likeness(point: Tensor, normal: Tensor, other: Tensor, other_normal: Tensor) -> Tensor:
    """1 for points on one smooth surface, falling to 0 with distance from its plane and with turning normals."""
    off = ((other - point) * normal).sum(1).abs()
    turned = 1 - (normal * other_normal).sum(1)
    return torch.exp(-off * 40 - turned * 8)[:, None]


def _blur(fields: Tensor, point: Tensor, normal: Tensor, before: int) -> Tensor:
    """Averages over 4 × 4 neighbours, ``before`` of them above and left, [C,K,h,w]."""
    rows, columns = fields.shape[2:]
    after = TILE - 1 - before
    edges = (before, after, before, after)
    wide = [pad(field, edges, mode="replicate") for field in (fields, point, normal)]
    total, weights = torch.zeros_like(fields), torch.zeros_like(fields[:, :1])
    for i in range(TILE):
        for j in range(TILE):
            near, there, facing = (field[:, :, i : i + rows, j : j + columns] for field in wide)
            weight = _likeness(point, normal, there, facing)
            total += near * weight
            weights += weight
    return total / weights.clamp(min=1e-4)


def _upsample(fields: Tensor, point: Tensor, normal: Tensor, surface: Surface, step: int) -> Tensor:
    """Each pixel takes the mean of its four coarse neighbours, those on its own surface counting most; [C,K,P]."""
    height, width = surface.shape
    fine_point, fine_normal = (f.view(*f.shape[:2], height, width) for f in (surface.point, surface.normal))
    wide = [pad(field, (0, 1, 0, 1), mode="replicate") for field in (fields, point, normal)]
    rows, columns = fields.shape[2:]
    result = torch.empty(*fields.shape[:2], height, width, device=fields.device)
    for i in range(step):
        for j in range(step):
            here, facing = fine_point[:, :, i::step, j::step], fine_normal[:, :, i::step, j::step]
            total = torch.zeros_like(fields)
            weights = torch.full_like(fields[:, :1], 1e-4)
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                share = (1 - abs(a - i / step)) * (1 - abs(b - j / step))
                if share > 0:
                    near, there, turned = (field[:, :, a : a + rows, b : b + columns] for field in wide)
                    weight = (_likeness(here, facing, there, turned) + 1e-3) * share
                    total += near * weight
                    weights += weight
            result[:, :, i::step, j::step] = total / weights
    return result.flatten(2)
