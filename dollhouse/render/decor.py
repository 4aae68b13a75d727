"""Patterns that draw things: rugs, pictures, books, screens, fronts with doors and handles, the view outside."""

from __future__ import annotations

import torch
from torch import Tensor

from .textures import PATTERNS, Spots, line, mix, noise, pattern, random, step

__all__ = ["PATTERNS"]


def _weave(s: Spots, colour: Tensor) -> Tensor:
    fine = random((s.u / 0.015).floor(), (s.v / 0.015).floor()) - 0.5
    return colour * (1 + 0.25 * fine * s.fade(0.015))


def _edge(s: Spots) -> Tensor:
    """Metres to the nearest rim of a rug: of its rectangle, or of its circle."""
    square = torch.minimum(s.half[0] - s.q[0].abs(), s.half[2] - s.q[2].abs())
    return torch.where(s.axis == 3, 0.0 * square, square)


@pattern("shag")
def _shag(s: Spots) -> Tensor:
    pile = random((s.u / 0.02).floor(), (s.v / 0.02).floor()) * 0.5 + noise(s.u * 3, s.v * 3) * 0.5
    return mix(s.a, s.b, pile)


@pattern("bordered")
def _bordered(s: Spots) -> Tensor:
    """A plain rug with a border in colour b and a thin line in c."""
    edge = _edge(s)
    colour = mix(s.b, s.a, step(0.12, edge, 0.01))
    return _weave(s, mix(colour, s.c, step(-0.012, -(edge - 0.19).abs(), 0.008)))


@pattern("abstract rug")
def _abstract_rug(s: Spots) -> Tensor:
    """Large soft patches."""
    x, y = s.q[0] * 0.35 + s.seed * 7, s.q[2] * 0.35
    colour = mix(s.a, s.b, step(0.53, noise(x, y), 0.04))
    return _weave(s, mix(colour, s.c, step(0.62, noise(x * 1.3 + 3, y * 1.3), 0.03)))


@pattern("lattice")
def _lattice(s: Spots) -> Tensor:
    """Thin lozenges, as on Beni Ourain rugs."""
    wobble = 0.05 * noise(s.u * 2, s.v * 2)
    foot = s.footprint / s.scale
    p, q = (s.q[0] + s.q[2] * 0.6 + wobble) / s.scale, (s.q[0] - s.q[2] * 0.6 + wobble) / s.scale
    return _weave(s, mix(s.a, s.b, torch.maximum(line(p, 0.1, foot), line(q, 0.1, foot)) * 0.85))


@pattern("kilim")
def _kilim(s: Spots) -> Tensor:
    """Bands of diamonds and zigzags between plain stripes."""
    v = s.q[2] / s.scale + s.q[1] / s.scale
    band, place = v.floor(), v % 1
    zigzag = ((s.q[0] / s.scale * 2) % 1 * 2 - 1).abs()
    kind = random(band, band * 0, s.seed)
    ground, motif = mix(s.a, s.b, (band % 2)), mix(s.c, s.a, (band % 2) * (kind > 0.5).float())
    diamonds = step(zigzag, (place * 2 - 1).abs() * 1.1, 0.08)
    teeth = step((zigzag * 0.6 - place + 0.2).abs(), torch.full_like(place, 0.16), 0.08)
    colour = mix(ground, motif, torch.where(kind > 0.35, 1 - diamonds, teeth))
    stripes = torch.minimum(place, 1 - place) < 0.08
    colour = mix(colour, s.c * 0.45, stripes.float())
    edge = step(0.06, _edge(s), 0.01)
    return _weave(s, mix(s.c * 0.5, colour, torch.where(s.half[1] > 0.03, 1.0, edge)))


@pattern("oriental")
def _oriental(s: Spots) -> Tensor:
    """A medallion in a field of small flowers, wide borders."""
    edge, x, z = _edge(s), s.q[0] / s.half[0], s.q[2] / s.half[2]
    radius, turn = (x * x + z * z).sqrt(), torch.atan2(z, x)
    petals = radius - 0.1 * torch.cos(8 * turn)
    field = mix(s.a, s.c, step(0.62, noise(s.q[0].abs() * 3.1, s.q[2].abs() * 3.1), 0.05))
    colour = mix(field, s.b, step(-0.46, -petals, 0.02))
    colour = mix(colour, s.c, step(-0.03, -(petals - 0.46).abs(), 0.02) + step(-0.18, -petals, 0.03))
    dots = torch.sin((s.q[0] + s.q[2]) * 40) * torch.sin((s.q[0] - s.q[2]) * 40)
    border = mix(s.b, s.c, step(0.3, dots, 0.2) * s.fade(0.06))
    colour = mix(border, colour, step(0.17, edge, 0.01))
    lines = torch.minimum((edge - 0.17).abs(), (edge - 0.03).abs())
    return _weave(s, mix(colour, s.c, step(-0.014, -lines, 0.01)))


@pattern("stripes")
def _stripes(s: Spots) -> Tensor:
    place = (s.q[0] + s.q[1] * (s.axis == 0).float()) / s.scale
    colour = mix(s.a, s.b, step(0.55, place % 1, 0.05))
    return _weave(s, mix(colour, s.c, step(0.9, place % 1, 0.04)))


@pattern("throw")
def _throw(s: Spots) -> Tensor:
    """A blanket with cross stripes and a chunky knit."""
    knit = noise(s.u * 9, s.v * 4) - 0.5
    colour = mix(s.a, s.b, step(0.62, (s.q[2] / s.scale) % 1, 0.04))
    return colour * (1 + 0.5 * knit)


@pattern("cane")
def _cane(s: Spots) -> Tensor:
    """Woven rattan."""
    i, j = (s.u / s.scale).floor(), (s.v / s.scale).floor()
    over = (i + j) % 2
    x, y = (s.u / s.scale) % 1 - 0.5, (s.v / s.scale) % 1 - 0.5
    bulge = 1 - 2 * torch.where(over > 0, x, y) ** 2 * 2
    woven = mix(s.b, s.a, bulge.clamp(0, 1)) * mix(torch.ones_like(x), 0.8 + 0 * x, over)
    return mix((s.a + s.b) / 2, woven, s.fade(s.scale))


@pattern("books")
def _books(s: Spots) -> Tensor:
    """Spines on the faces square to x and z, paper on top."""
    place = (s.u + s.half[0]) / 0.036 + s.seed * 40
    spine = place.floor()
    tint, dark = random(spine, spine * 0 + 3, s.seed), random(spine, spine * 0 + 9, s.seed)
    colour = mix(s.a, s.b, step(0.4, tint)) * (1 - step(0.72, tint)) + s.c * step(0.72, tint)
    colour = colour * (0.65 + 0.6 * dark)
    title = step(-0.12, -(s.y - 0.45).abs(), 0.05) * step(-0.28, -(place - spine - 0.5).abs(), 0.1)
    colour = mix(colour, 1 - colour * 0.5, title * 0.35)
    gap = line(place, 0.1, s.footprint / 0.036)
    short = step(0.55 + 0.6 * random(spine, spine * 0 + 5, s.seed), s.y, 0.03)
    front = colour * (1 - 0.6 * gap) * (1 - 0.85 * short)
    paper = 0.55 + 0 * s.a
    return mix(front, paper, (s.axis == 1).float())


@pattern("panels")
def _panels(s: Spots) -> Tensor:
    """A painted front with doors or drawers and their handles (colour c)."""
    return _fronts(s, s.a * (0.97 + 0.06 * noise(s.u, s.v)))


@pattern("wood panels")
def _wood_panels(s: Spots) -> Tensor:
    return _fronts(s, PATTERNS["grain"](s))


def _fronts(s: Spots, colour: Tensor) -> Tensor:
    low, count = s.half[1] < 0.34, (s.half[0] * 2 / 0.5).round().clamp(1, 4)
    rows = torch.where(low & (s.half[0] < 0.6), 2.0, torch.where(s.half[1] > 0.8, 1.0, 1.0))
    i, j = (s.x + 1) / 2 * count, (s.y + 1) / 2 * rows
    foot = s.footprint
    gaps = torch.maximum(line(i, 0.012 * count, foot * count), line(j, 0.012 * rows, foot * rows))
    rim = torch.maximum(s.x.abs(), s.y.abs()) > 0.985
    px, py = (i % 1 - 0.5) / count * 2 * s.half[0], (j % 1 - 0.5) / rows * 2 * s.half[1]
    level = torch.where(rows > 1, 0.0 * py, s.half[1] * 0.6)
    handle = (px.abs() < 0.07) & ((py - level).abs() < 0.014)
    colour_front = mix(colour * (1 - 0.65 * gaps), s.c, handle.float() * s.fade(0.02))
    return mix(colour, colour_front, s.front * (1 - rim.float()))


@pattern("door")
def _door(s: Spots) -> Tensor:
    """A door leaf with two sunk fields; a niche's back knows only world metres."""
    x, y = s.x, s.v
    inner = torch.maximum(
        (x.abs() - 0.62) * 0.4, torch.minimum((y - 0.55).abs() - 0.35, (y - 1.47).abs() - 0.4)
    )
    rim = step(-0.02, -inner.abs(), 0.015)
    return s.a * (1 - 0.3 * rim) * (0.96 + 0.08 * noise(s.u * 5, s.v * 0.5))


@pattern("board door")
def _board_door(s: Spots) -> Tensor:
    """Upright boards with cross bands in colour c."""
    board = (s.x * 0.42 / 0.13).floor()
    grain = noise(s.u * 6 + board, s.v * 0.4)
    colour = mix(s.a, s.b, grain.clamp(0, 1)) * (1 - 0.5 * line(s.x * 0.42 / 0.13, 0.06, s.footprint / 0.13))
    bands = torch.minimum((s.v - 0.3).abs(), (s.v - 1.75).abs()) < 0.06
    return mix(colour, s.c, bands.float())


@pattern("half metro")
def _half_metro(s: Spots) -> Tensor:
    """Tiles (a, grout c) up to 1.35 m, paint (b) above."""
    row = (s.v / s.scale).floor()
    place = s.u / (2 * s.scale) + 0.5 * (row % 2)
    foot = s.footprint / s.scale
    grout = torch.maximum(line(s.v / s.scale, 0.07, foot), line(place, 0.035, foot / 2))
    tile = mix(s.a * (0.9 + 0.2 * random(place.floor(), row, s.seed)), s.c, grout * 0.8)
    return mix(tile, s.b * (0.96 + 0.08 * noise(s.u, s.v)), step(1.35, s.v, 0.005))


@pattern("half mosaic")
def _half_mosaic(s: Spots) -> Tensor:
    """Cement tiles of 20 cm (a, b, c) up to 1.35 m, paint a above."""
    return mix(PATTERNS["mosaic"](s), s.a * (0.96 + 0.08 * noise(s.u, s.v)), step(1.35, s.v, 0.005))


@pattern("screen")
def _screen(s: Spots) -> Tensor:
    sheen = ((s.x * 0.5 + s.y * 0.5) + 1).clamp(0, 2) / 2
    return s.a * (0.6 + 0.8 * sheen)


@pattern("clock")
def _clock(s: Spots) -> Tensor:
    r, turn = (s.x * s.x + s.y * s.y).sqrt(), torch.atan2(s.x, s.y)
    marks = step(0.74, r, 0.04) * step(-0.1, -((turn / (torch.pi / 6) + 0.5) % 1 - 0.5).abs(), 0.05)
    hands = ((s.x.abs() < 0.05) & (s.y > 0) & (s.y < 0.6)) | ((s.y.abs() < 0.05) & (s.x > 0) & (s.x < 0.45))
    colour = mix(s.a, s.b, (marks + hands.float()).clamp(0, 1))
    return mix(colour, s.c, step(0.9, r, 0.05))


@pattern("art")
def _art(s: Spots) -> Tensor:
    """Abstract shapes on paper of colour a."""
    x, y = s.x + (s.seed - 0.5), s.y + ((s.seed * 7) % 1 - 0.5) * 0.6
    blob = (x * x + y * y * 1.3).sqrt() + 0.25 * (noise(s.x * 0.8 + s.seed * 9, s.y * 0.8) - 0.5)
    colour = mix(s.a, s.b, step(-0.5, -blob, 0.02))
    ground = step(-s.y - 0.3 + 0.5 * (noise(s.x * 0.5 + s.seed * 3, s.seed) - 0.5), torch.zeros_like(y), 0.02)
    colour = mix(s.c, colour, ground)
    return mix(colour, s.a, step(0.86, torch.maximum(s.x.abs(), s.y.abs()), 0.01))


@pattern("blocks")
def _blocks(s: Spots) -> Tensor:
    """Colour fields after Mondrian, without his black."""
    i = step(0.8 * (s.seed - 0.5), s.x, 0.01)
    j = step(0.8 * ((s.seed * 5) % 1 - 0.5), s.y, 0.01)
    colour = mix(mix(s.a, s.b, i * j), s.c, (1 - i) * (1 - j))
    return mix(colour, s.b * 0.5, i * (1 - j) * step(0.4, s.seed))


@pattern("sprig")
def _sprig(s: Spots) -> Tensor:
    """A drawn twig (b) on paper (a)."""
    bend = s.x - 0.15 * torch.sin(s.y * 2 + s.seed * 6)
    stem = step(-0.03, -bend.abs(), 0.03) * step(-0.75, -s.y.abs(), 0.05)
    place = (s.y * 3.2 + 0.5 * (bend > 0).float()) % 1 - 0.4
    slope = bend.abs() - 0.27
    leaf = step(-1.0, -((slope / 0.24) ** 2 + ((place - slope) / 0.26) ** 2), 0.3) * step(
        -0.7, -s.y.abs(), 0.05
    )
    return mix(s.a, s.b, torch.maximum(stem, leaf))


@pattern("mandala")
def _mandala(s: Spots) -> Tensor:
    """A woven wall hanging: rings of petals, fringe below."""
    y = (s.y - 0.15) * s.half[1] / s.half[0]
    r, turn = (s.x * s.x + y * y).sqrt(), torch.atan2(y, s.x)
    waves = torch.sin(r * 16 + 1.2 * torch.cos(10 * turn))
    colour = mix(s.a, mix(s.b, s.c, step(0.45, r, 0.02)), step(0.0, waves, 0.3))
    colour = mix(colour, s.a, step(0.88, r, 0.02))
    fringe = step(0.0, torch.sin(s.x * 40), 0.4) * s.fade(0.03)
    return _weave(s, mix(colour, s.a * (0.55 + 0.45 * fringe), step(0.7, -s.y, 0.02)))


@pattern("drawing")
def _drawing(s: Spots) -> Tensor:
    """Fine lines (b) of circles and bars on a ground (a): a technical drawing."""
    r = ((s.x - 0.2) ** 2 + s.y**2).sqrt()
    rings = torch.minimum((r - 0.5).abs(), (r - 0.25).abs())
    bars = torch.minimum((s.y + 0.6).abs(), (s.x + 0.45).abs())
    return mix(s.a, s.b, step(-0.03, -torch.minimum(rings, bars), 0.03))


@pattern("dot")
def _dot(s: Spots) -> Tensor:
    """Almost nothing: one disc (b) on paper (a)."""
    y = (s.y - 0.2) * s.half[1] / s.half[0]
    return mix(s.a, s.b, step(-0.3, -((s.x * s.x + y * y).sqrt()), 0.03))


@pattern("view")
def _view(s: Spots) -> Tensor:
    """Sky (a above, b at the horizon) over hills or roofs (c), by direction: it lies far away."""
    level = (s.ray[0] ** 2 + s.ray[2] ** 2).sqrt()
    high, turn = s.ray[1] / level, torch.atan2(s.ray[0], s.ray[2])
    clouds = step(0.56, noise(turn * 0.9 + s.seed * 5, high * 2.2), 0.25) * 0.6
    sky = mix(mix(s.b, s.a, (high * 1.6).clamp(0, 1)), 0 * s.a + 1.0, clouds)
    far = 0.04 + 0.16 * noise(turn * 0.7 + s.seed, s.seed)
    near = -0.08 + 0.22 * noise(turn * 1.9 + s.seed * 3, s.seed)
    block = (turn * 6).floor()
    near = torch.where(s.seed > 0.6, 0.25 * random(block, block * 0, s.seed) - 0.08, near)
    colour = mix(sky, mix(s.c, s.b, torch.full_like(high, 0.55)), step(-far, -high, 0.01))
    leaves = 0.7 + 0.6 * noise(turn * 8, high * 8)
    return mix(colour, s.c * leaves, step(-near, -high, 0.008))
