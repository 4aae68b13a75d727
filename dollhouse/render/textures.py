"""Procedural surfaces: a pattern turns places on a surface into colours.

A pattern takes K places at once and returns [3,K] linear colours. ``s.u``, ``s.v`` are metres along a face; ``s.x``,
``s.y`` run −1..1 across the front of a piece; ``s.q`` [3,K] are metres inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NOISE_SIDE = 256


@dataclass(frozen=True)
class Spots:
    """K places with the same pattern; every field [K] unless noted."""

    u: Tensor
    v: Tensor
    x: Tensor
    y: Tensor
    q: Tensor
    """[3,K] metres from the piece's middle (world metres on walls, floor and ceiling)."""
    half: Tensor
    """[3,K] half size in metres."""
    axis: Tensor
    """int64: the axis that the face is square to, 3 on round sides."""
    ray: Tensor
    """[3,K] from the eye, world axes."""
    a: Tensor
    """[3,K] linear colour, as b and c."""
    b: Tensor
    c: Tensor
    scale: Tensor
    seed: Tensor
    """0..1."""
    footprint: Tensor
    """Metres of surface that a pixel covers: finer detail must fade."""

    @property
    def front(self) -> Tensor:
        """1 on faces square to z, the fronts of pieces."""
        return (self.axis == 2).float()

    def fade(self, size: Tensor | float) -> Tensor:
        """1 where detail of this size (metres) is seen, falling to 0 where a pixel swallows it."""
        return (1.5 - 2 * self.footprint / size).clamp(0, 1)


Pattern = Callable[[Spots], Tensor]
PATTERNS: dict[str, Pattern] = {}


def pattern(name: str) -> Callable[[Pattern], Pattern]:
    def register(function: Pattern) -> Pattern:
        PATTERNS[name] = function
        return function

    return register


def _make_noise() -> Tensor:
    """[2,S,S]: periodic smooth noise (a sum of octaves, 0..1, mean ½) and white noise, 0..1."""
    generator = torch.Generator().manual_seed(7)
    total, octave = torch.zeros(1, 1, NOISE_SIDE, NOISE_SIDE), 8
    while octave <= NOISE_SIDE:
        grid = torch.rand(1, 1, octave, octave, generator=generator)
        wrapped = torch.nn.functional.pad(grid, (2, 2, 2, 2), mode="circular")
        factor = NOISE_SIDE // octave
        wide = torch.nn.functional.interpolate(
            wrapped, scale_factor=factor, mode="bicubic", align_corners=False
        )
        cut = 2 * factor
        total += wide[:, :, cut : cut + NOISE_SIDE, cut : cut + NOISE_SIDE] * (8 / octave) ** 0.8
        octave *= 2
    total = (total - total.mean()) / total.std() * 0.17 + 0.5
    white = torch.rand(NOISE_SIDE, NOISE_SIDE, generator=generator)
    return torch.stack([total[0, 0].clamp(0, 1), white])


_NOISE: dict[torch.device, Tensor] = {}


def _tables(device: torch.device) -> Tensor:
    if device not in _NOISE:
        _NOISE[device] = _make_noise().to(device)
    return _NOISE[device]


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Smooth cloudy noise around ½ whose coarsest lumps are about one unit wide."""
    table = _tables(u.device)[0].flatten()
    x, y = u * 32, v * 32
    fx, fy = x.floor(), y.floor()
    x, y = x - fx, y - fy
    last = NOISE_SIDE - 1
    i, j = fx.long() & last, fy.long() & last
    i1, j1 = (i + 1) & last, (j + 1) & last
    top = table[j * NOISE_SIDE + i] * (1 - x) + table[j * NOISE_SIDE + i1] * x
    low = table[j1 * NOISE_SIDE + i] * (1 - x) + table[j1 * NOISE_SIDE + i1] * x
    return top * (1 - y) + low * y


def random(i: Tensor, j: Tensor, seed: Tensor | float = 0.0) -> Tensor:
    """White noise 0..1 for whole numbers i, j."""
    table = _tables(i.device)[1].flatten()
    index = i.long() * 73 + j.long() * 4099 + (torch.as_tensor(seed, device=i.device) * 9973).long()
    return table[index & (NOISE_SIDE * NOISE_SIDE - 1)]


def mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    return a + (b - a) * share


def step(edge: float | Tensor, value: Tensor, soft: float | Tensor = 1e-3) -> Tensor:
    """0 below ``edge``, 1 above, blurred over ``soft``."""
    return ((value - edge) / soft + 0.5).clamp(0, 1)


def _line(place: Tensor, width: Tensor | float, footprint: Tensor) -> Tensor:
    """1 on a line around whole numbers of ``place``; width and footprint in the same unit."""
    off = (place - place.round()).abs()
    return ((width / 2 - off) / footprint.clamp(min=1e-4) + 0.5).clamp(0, 1)


def line(place: Tensor, width: Tensor | float, footprint: Tensor) -> Tensor:
    """1 on a line around whole numbers of ``place``, thinning out as pixels grow larger than it."""
    share = (width / footprint.clamp(min=1e-4)).clamp(0, 1)
    return _line(place, width, footprint) * share.sqrt()


@pattern("plain")
def _plain(s: Spots) -> Tensor:
    return s.a * (0.96 + 0.08 * noise(s.u * 0.7 + s.seed * 9, s.v * 0.7))


@pattern("plaster")
def _plaster(s: Spots) -> Tensor:
    cloud = noise(s.u * 0.6 + s.seed, s.v * 0.6) * 0.7 + noise(s.u * 4, s.v * 4) * 0.3
    return mix(s.a, s.b, ((cloud - 0.3) * 1.6).clamp(0, 1))


@pattern("concrete")
def _concrete(s: Spots) -> Tensor:
    cloud = noise(s.u * 0.45 + s.seed * 3, s.v * 0.45) * 0.65 + noise(s.u * 2.5, s.v * 2.5) * 0.35
    colour = mix(s.a, s.b, ((cloud - 0.32) * 2.4).clamp(0, 1))
    seams = torch.maximum(
        line(s.u / s.scale, 0.012 / s.scale, s.footprint / s.scale),
        line(s.v / s.scale + 0.5, 0.012 / s.scale, s.footprint / s.scale),
    )
    return colour * (1 - 0.35 * seams)


@pattern("brick")
def _brick(s: Spots) -> Tensor:
    row = (s.v / 0.085).floor()
    place = s.u / 0.26 + 0.5 * (row % 2)
    tint = random(place.floor(), row, s.seed)
    colour = mix(s.a, s.b, tint) * (0.72 + 0.56 * noise(s.u * 3, s.v * 3))
    colour = colour * (1 - 0.45 * (random(place.floor(), row, 0.37) > 0.9).float())
    foot = s.footprint
    mortar = torch.maximum(line(s.v / 0.085, 0.16, foot / 0.085), line(place - 0.0, 0.055, foot / 0.26))
    return mix(colour, s.c, mortar * 0.9)


@pattern("tiles")
def _tiles(s: Spots) -> Tensor:
    i, j = (s.u / s.scale).floor(), (s.v / s.scale).floor()
    colour = mix(s.a, s.b, random(i, j, s.seed) * 0.8) * (0.94 + 0.12 * noise(s.u * 1.3, s.v * 1.3))
    foot = s.footprint / s.scale
    grout = torch.maximum(line(s.u / s.scale, 0.03, foot), line(s.v / s.scale, 0.03, foot))
    return mix(colour, s.c, grout * 0.8)


@pattern("metro")
def _metro(s: Spots) -> Tensor:
    """Small tiles in running bond."""
    row = (s.v / s.scale).floor()
    place = s.u / (2 * s.scale) + 0.5 * (row % 2)
    colour = mix(s.a, s.b, random(place.floor(), row, s.seed))
    foot = s.footprint / s.scale
    grout = torch.maximum(line(s.v / s.scale, 0.07, foot), line(place, 0.035, foot / 2))
    return mix(colour, s.c, grout * 0.8)


@pattern("checker")
def _checker(s: Spots) -> Tensor:
    i, j = (s.u / s.scale).floor(), (s.v / s.scale).floor()
    foot = s.footprint / s.scale
    grout = torch.maximum(line(s.u / s.scale, 0.02, foot), line(s.v / s.scale, 0.02, foot))
    return mix(mix(s.a, s.b, (i + j) % 2), s.c, grout * 0.6)


@pattern("mosaic")
def _mosaic(s: Spots) -> Tensor:
    """Patterned cement tiles: a star in every tile."""
    x, y = (s.u / s.scale) % 1 * 2 - 1, (s.v / s.scale) % 1 * 2 - 1
    ring = (x * x + y * y).sqrt()
    star = step(0.55, ring + 0.28 * torch.cos(4 * torch.atan2(y, x)), 0.08)
    colour = mix(s.b, s.a, star)
    colour = mix(colour, s.c, step(-0.12, -(ring - 0.95).abs(), 0.06) * 0.8)
    return mix(colour, (s.a + s.b) / 2, 1 - s.fade(s.scale * 0.3))


@pattern("planks")
def _planks(s: Spots) -> Tensor:
    """Floorboards, along u or v."""
    across, along = torch.where(s.seed > 0.5, s.v, s.u), torch.where(s.seed > 0.5, s.u, s.v)
    column = (across / s.scale).floor()
    place = along / 1.6 + random(column, column, s.seed)
    tint = random(column, place.floor(), s.seed)
    grain = noise(across * 6 + tint * 17, along * 0.5)
    colour = mix(s.a, s.b, (0.35 + 0.75 * (tint - 0.5) + 1.5 * (grain - 0.5) * s.fade(0.02)).clamp(0, 1))
    gap = torch.maximum(
        line(across / s.scale, 0.035, s.footprint / s.scale), line(place, 0.004, s.footprint / 1.6)
    )
    return mix(colour, s.c, gap * 0.7)


@pattern("herringbone")
def _herringbone(s: Spots) -> Tensor:
    width = s.scale
    band = (s.u / (width * 4)).floor()
    slant = torch.where(band % 2 > 0, s.u, -s.u) * 0.9 + s.v
    board = (slant / width).floor()
    tint = random(band, board, s.seed)
    colour = mix(s.a, s.b, (0.15 + 0.8 * tint).clamp(0, 1))
    foot = s.footprint / width
    gap = torch.maximum(line(slant / width, 0.06, foot), line(s.u / (width * 4), 0.015, foot / 4))
    return mix(colour, s.c, gap * 0.6)


@pattern("grain")
def _grain(s: Spots) -> Tensor:
    """Solid wood: streaks along the piece's longest side."""
    longest = s.half.argmax(0, keepdim=True)
    along = s.q.gather(0, longest)[0]
    across = s.q.sum(0) - along
    streak = (
        noise(along * 0.7 + s.seed * 13, across * 7) * 0.7 + noise(along * 0.3, across * 2.2 + s.seed) * 0.3
    )
    return mix(s.a, s.b, ((streak - 0.28) * 1.9).clamp(0, 1))


@pattern("fabric")
def _fabric(s: Spots) -> Tensor:
    fine = random((s.u / s.scale).floor(), (s.v / s.scale).floor(), s.seed) - 0.5
    soft = noise(s.u * 1.2 + s.seed * 5, s.v * 1.2) - 0.5
    return s.a * (1 + 0.22 * fine * s.fade(s.scale) + 0.25 * soft)


@pattern("leather")
def _leather(s: Spots) -> Tensor:
    worn = noise(s.u * 1.1 + s.seed * 3, s.v * 1.1) * 0.6 + noise(s.u * 5, s.v * 5) * 0.4
    return mix(s.b, s.a, ((worn - 0.25) * 2).clamp(0, 1))


@pattern("marble")
def _marble(s: Spots) -> Tensor:
    warp = noise(s.u * 0.8, s.v * 0.8) * 2.4
    vein = 1 - (((s.u * 0.9 + s.v * 0.6 + warp) * 2.2) % 1 - 0.5).abs() * 9
    return mix(s.a, s.b, vein.clamp(0, 1) * 0.7)


@pattern("leaf")
def _leaf(s: Spots) -> Tensor:
    vein = step(-0.1, -s.x.abs(), 0.1)
    return mix(s.a, s.b, (0.55 * s.seed + 0.5 * noise(s.u * 5, s.v * 5)).clamp(0, 1)) * (1 + 0.4 * vein)


@pattern("drape")
def _drape(s: Spots) -> Tensor:
    fold = torch.sin(s.u * 62 + 3 * torch.sin(s.u * 9 + s.seed * 6) + 0.6 * torch.sin(s.v * 1.5))
    return s.a * (0.84 + 0.2 * fold)


@pattern("beams")
def _beams(s: Spots) -> Tensor:
    """A ceiling of colour a with beams of colour b across, ``scale`` metres apart, a shadow line beside each."""
    place = s.v / s.scale
    beam = _line(place, 0.16 / s.scale, s.footprint / s.scale)
    shade = _line(place - 0.13 / s.scale, 0.12 / s.scale, s.footprint / s.scale)
    colour = mix(s.a, s.a * 0.6, shade) * (0.85 + 0.3 * noise(s.u * 0.7, s.v * 0.7))
    return mix(colour, s.b * (0.7 + 0.6 * noise(s.u * 0.8, s.v * 9)), beam)
