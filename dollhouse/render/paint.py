"""Develops the picture: surfaces in a style's materials under the light that the rays found."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .decor import PATTERNS
from .light import Light, sunlit
from .looks import Look
from .materials import GLOSS, GLOW, METAL, PATTERN, SCALE, SEED, A, grades, material_table
from .scene import CEILING, FIRST_NICHE, FIRST_PIECE, FLOOR, Scene
from .textures import Spots
from .trace import Surface, unit

SKY, SUN, DAY = (1.0, 1.02, 1.06), (1.0, 0.86, 0.66), 5.0
"""Colours of daylight (linear) and the radiance of a window."""
ROUNDING = 0.05
"""Metres over which a fully soft edge bends."""


def paint(scene: Scene, surface: Surface, light: Light, looks: Sequence[Look]) -> Tensor:
    """[C,H,W,3] floats 0..1, ready for uint8, of rooms, each with its look."""
    table = material_table(scene, looks)
    grade = grades(scene, looks)[:, :, None]
    rows = table.mT.gather(2, surface.part[:, None].expand(-1, table.shape[2], -1))
    albedo = _albedo(scene, surface, table, rows)
    normal = _soft_normal(scene, surface)
    daylight, lamplight = _direct(scene, surface, light, normal)
    bounce = _bounce(table, albedo, surface, normal) * light.ambient[:, None] * _fill(scene, surface)
    warm = torch.tensor([1.0, 0.72, 0.42], device=normal.device)[None, :, None]
    lit = daylight + lamplight * warm * grade[:, 3:4] + bounce
    metal = rows[:, METAL : METAL + 1]
    colour = albedo * lit * (1 - 0.55 * metal)
    colour = colour + _reflections(scene, surface, table, rows, normal, albedo) * (
        0.35 + 0.65 * light.ambient[:, None]
    )
    glow = rows[:, GLOW : GLOW + 1]
    colour = colour * (1 - (glow > 1).float()) + albedo * glow
    return _develop(colour, grade).view(-1, 3, *surface.shape).permute(0, 2, 3, 1)


def _albedo(scene: Scene, surface: Surface, table: Tensor, rows: Tensor) -> Tensor:
    """[C,3,P], pattern by pattern over the pixels that have it."""
    fields = _fields(scene, surface, rows)
    numbers = rows[:, PATTERN].flatten().long()
    result = torch.empty(3, numbers.shape[0], device=rows.device)
    functions = list(PATTERNS.values())
    for number in sorted(set(table[:, :, PATTERN].flatten().long().tolist())):
        chosen = (numbers == number).nonzero()[:, 0]
        if len(chosen) == 0:
            continue
        result[:, chosen] = functions[number](_spots(fields[:, chosen])).clamp(0, 1)
    return result.view(3, *surface.part.shape).transpose(0, 1)


def _fields(scene: Scene, surface: Surface, rows: Tensor) -> Tensor:
    """What _spots takes apart, [26,C·P]."""
    half = scene.half.mT.gather(2, surface.part[:, None].expand(-1, 3, -1))
    q = surface.local * half
    axis, slant = surface.axis, (surface.normal * surface.rays).sum(1).abs()
    around = torch.atan2(surface.local[:, 0], surface.local[:, 2]) * half[:, 0]
    u = torch.where(axis == 0, q[:, 2], torch.where(axis == 3, around, q[:, 0]))
    v = torch.where(axis == 1, q[:, 2], q[:, 1])
    pixel = 1 / (surface.shape[0] * surface.shape[1]) ** 0.5 / scene.focal[:, None]
    length = (surface.rays * surface.rays).sum(1).sqrt()
    footprint = surface.depth * pixel * (length / slant.clamp(min=0.05)).sqrt()
    x = torch.where(surface.part < FIRST_PIECE, _across(scene, surface), surface.local[:, 0])

    single = torch.stack(
        [u, v, x, surface.local[:, 1], rows[:, SCALE], rows[:, SEED], footprint, axis.float()], 1
    )
    stacked = torch.cat([single, q, half, surface.rays, rows[:, :9]], 1)
    return stacked.transpose(0, 1).flatten(1)


def _spots(fields: Tensor) -> Spots:
    u, v, x, y, scale, seed, footprint, axis = fields[:8].unbind(0)
    q, half, ray, a, b, c = fields[8:].view(6, 3, -1).unbind(0)
    return Spots(u, v, x, y, q, half, axis.long(), ray, a, b, c, scale, seed, footprint)


def _across(scene: Scene, surface: Surface) -> Tensor:
    """−1..1 across an opening's back."""
    index = ((surface.part - FIRST_NICHE) // 2).clamp(0, scene.niches.shape[1] - 1)
    box = scene.niches.nan_to_num(0.0).mT.gather(2, index[:, None].expand(-1, 6, -1))
    middle, half = (box[:, :3] + box[:, 3:]) / 2, (box[:, 3:] - box[:, :3]).clamp(min=1e-3) / 2
    place = (surface.point - middle) / half
    return torch.where(half[:, 0] > half[:, 2], place[:, 0], place[:, 2])


def _soft_normal(scene: Scene, surface: Surface) -> Tensor:
    """Normals that bend towards the next face near the edges of upholstery."""
    part = surface.part
    soft = scene.soft.gather(1, part)[:, None]
    half = scene.half.mT.gather(2, part[:, None].expand(-1, 3, -1))
    bend = (ROUNDING * soft.clamp(min=0.01) / half).clamp(max=1)
    near = ((surface.local.abs() - 1) / bend + 1).clamp(0, 1) ** 2 * surface.local.sign()
    near = near * (soft > 0) * (surface.axis < 3)[:, None]
    # Rows of the matrix are the piece's axes, divided by its half size.
    identity = torch.zeros(part.shape[0], FIRST_PIECE, 9, device=part.device)
    axes = torch.cat([identity, (scene.matrix * scene.half[:, FIRST_PIECE:, :, None]).flatten(2)], 1)
    rows = axes.mT.gather(2, part[:, None].expand(-1, 9, -1)).view(part.shape[0], 3, 3, -1)
    return unit(surface.normal + (rows * near[:, :, None]).sum(1))


def _direct(scene: Scene, surface: Surface, light: Light, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Irradiance from windows and sun [C,3,P], and from lamps [C,1,P]."""
    sky = torch.tensor(SKY, device=normal.device)[None, :, None]
    total = torch.zeros_like(normal)
    for i, seen in enumerate(light.windows):
        middle, half = scene.windows[:, i, :3, None], scene.windows[:, i, 3:, None]
        area = 4 * (half[:, 0] + half[:, 2]) * half[:, 1]
        to = middle - surface.point
        distance = (to * to).sum(1)
        inward = (half == 0).float() * (scene.size[:, :, None] / 2 - middle).sign()
        direction = to * distance.clamp(min=1e-3).rsqrt()[:, None]
        facing = ((direction * normal).sum(1) + 0.12).clamp(min=0) / 1.12
        leaving = (-direction * inward).sum(1).clamp(min=0.05)
        total += sky * (DAY * area * facing * leaving * seen / (distance + 0.35 * area))[:, None]
    lit = sunlit(scene, surface.point, scene.sun[:, :, None])
    cosine = (normal * scene.sun[:, :, None]).sum(1).clamp(min=0)
    sun = torch.tensor(SUN, device=normal.device)[None, :, None]
    total += sun * (5.5 * lit * cosine * light.sun)[:, None]
    lamps = torch.zeros_like(total[:, :1])
    for i in range(scene.lamps.shape[1]):
        to = scene.lamps[:, i, :3, None] - surface.point
        distance = (to * to).sum(1)
        facing = ((to * normal).sum(1) * distance.clamp(min=1e-4).rsqrt()).clamp(min=0)
        shade = light.lamp if i == 0 else light.ambient
        lamps += (scene.lamps[:, i, 3, None] * facing * shade / (distance + 0.12))[:, None]
    return total, lamps


def _fill(scene: Scene, surface: Surface) -> Tensor:
    """How much bounced light there is: more near the windows, never none. [C,1,P]"""
    level = torch.full_like(surface.depth, 0.5)
    for i in range(2):
        middle, half = scene.windows[:, i, :3, None], scene.windows[:, i, 3:, None]
        distance = ((middle - surface.point) ** 2).sum(1)
        level += half.sum(1) * 0.5 / (1 + 0.35 * distance)
    return level[:, None]


def _bounce(table: Tensor, albedo: Tensor, surface: Surface, normal: Tensor) -> Tensor:
    """The tint of bounced light by where a surface looks: floor colour from below, ceiling and walls from elsewhere."""
    floor, ceiling = table[:, FLOOR, A], table[:, CEILING, A]
    walls = table[:, CEILING + 1 : FIRST_NICHE, A].mean(1)
    up = normal[:, 1:2]
    level = 1 - up.abs()
    colour = walls[:, :, None] * (level + 0.35) + ceiling[:, :, None] * up.clamp(min=0)
    colour = (colour + floor[:, :, None] * (0.25 + (-up).clamp(min=0))) * 0.9
    return colour * 0.6 + colour.mean(1, keepdim=True) * 0.4 + 0.2


def _reflections(
    scene: Scene, surface: Surface, table: Tensor, rows: Tensor, normal: Tensor, albedo: Tensor
) -> Tensor:
    """Glossy surfaces mirror the empty room: its walls and the bright windows, blurred by roughness. [C,3,P]"""
    gloss, metal = rows[:, GLOSS : GLOSS + 1], rows[:, METAL : METAL + 1]
    view = unit(surface.rays)
    slant = (view * normal).sum(1, keepdim=True)
    ray = view - 2 * slant * normal
    fresnel = 0.04 + 0.5 * (1 + slant).clamp(0, 1) ** 4
    time = torch.maximum(
        -surface.point / (ray + 1e-6), (scene.size[:, :, None] - surface.point) / (ray + 1e-6)
    )
    far, axis = time.min(dim=1)
    hit = surface.point + ray * far[:, None]
    walls = table[:, CEILING + 1 : FIRST_NICHE, A].mean(1)[:, :, None]
    up = (ray[:, 1:2] > 0) & (axis == 1)[:, None]
    ends = torch.where(up, table[:, CEILING, A][:, :, None], table[:, FLOOR, A][:, :, None])
    seen = torch.where((axis == 1)[:, None], ends, walls) * 0.8
    for i in range(2):
        middle, half = scene.windows[:, i, :3, None], scene.windows[:, i, 3:, None]
        soft = 0.03 + (1 - gloss[:, 0]) * 0.35 * far.clamp(max=3)
        off = ((hit - middle).abs() - half).amax(1)
        bright = (0.5 - off / soft / 2).clamp(0, 1) ** 2 * (half.sum(1) > 0)
        seen = seen + DAY * 0.9 * bright[:, None]
    strength = gloss * (fresnel * (1 - metal) + 0.75 * metal)
    return strength * seen * (1 - metal + metal * albedo * 1.6)


def _develop(colour: Tensor, grade: Tensor) -> Tensor:
    """Exposure to the style's mean, filmic tone curve (K. Narkowicz's fit of ACES), sRGB gamma, tint and saturation."""
    luma = torch.tensor([0.2126, 0.7152, 0.0722], device=colour.device)[None, :, None]
    level = (colour * luma).sum(1).clamp(1e-3, 1.5).log().mean(1).exp()
    x = colour * (grade[:, 0] / level[:, None])[:, None]
    x = x * torch.cat([1 + grade[:, 1:2], torch.ones_like(grade[:, 1:2]), 1 - grade[:, 1:2]], 1)
    x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    grey = (x * luma).sum(1, keepdim=True)
    x = (grey + (x - grey) * grade[:, 2:3]).clamp(0, 1)
    encoded = torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-4) ** (1 / 2.4) - 0.055)
    return (encoded + grade[:, 4:5] * (encoded - 0.5) * (1 - encoded) * encoded * 2).clamp(0, 1)
