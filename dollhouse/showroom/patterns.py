"""What covers walls, cushions and canvases in more styles than the dollhouse learns: panelling, papers, stone, checks.

Importing this module adds them to those of ``dollhouse.render``, whose numbers and looks stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dollhouse.render.textures import PATTERNS, Spots, line, mix, noise, pattern, random, step

__all__ = ["PATTERNS"]

DADO = 0.95
"""Height of panelling that ends below a rail, in metres."""
TILED = 1.2
"""Height of tiles on a wall."""


def _boards(s: Spots, across: Tensor, along: Tensor) -> Tensor:
    """Boards ``scale`` wide in colours a to b, their gaps in c."""
    place, foot = across / s.scale, s.footprint / s.scale
    tint = random(place.floor(), place.floor(), 0.3)
    grain = noise(across * 6 + tint * 17, along * 0.5)
    colour = mix(s.a, s.b, (0.5 + 0.7 * (tint - 0.5) + 1.3 * (grain - 0.5) * s.fade(0.02)).clamp(0, 1))
    return mix(colour, s.c, line(place, 0.09, foot) * 0.8)


@pattern("shiplap")
def _shiplap(s: Spots) -> Tensor:
    return _boards(s, s.v, s.u)


@pattern("panelling")
def _panelling(s: Spots) -> Tensor:
    return _boards(s, s.u, s.v)


@pattern("fluted")
def _fluted(s: Spots) -> Tensor:
    """Upright reeds, ``scale`` wide."""
    bulge = ((s.u / s.scale) % 1 * 2 - 1) ** 2
    return mix(s.a, s.b, mix(torch.full_like(bulge, 0.4), bulge, s.fade(s.scale)))


def _frames(s: Spots, low: float, high: float) -> Tensor:
    """1 on the rims of sunk fields between two heights, ``scale`` metres apart."""
    place = ((s.u / s.scale) % 1 - 0.5).abs() * s.scale
    out = torch.maximum(place - (s.scale / 2 - 0.09), (s.v - (low + high) / 2).abs() - (high - low) / 2)
    return step(-0.022, -out.abs(), (s.footprint * 1.2).clamp(min=0.01)) * s.fade(0.05).clamp(min=0.5)


@pattern("mouldings")
def _mouldings(s: Spots) -> Tensor:
    """Paint a with the rims of fields in b from the floor to the ceiling."""
    rims = torch.maximum(_frames(s, 0.2, 0.82), _frames(s, 1.02, 2.3))
    colour = s.a * (0.97 + 0.06 * noise(s.u, s.v))
    return mix(colour, s.b, torch.maximum(rims, step(-0.025, -(s.v - 0.92).abs(), 0.02)) * 0.9)


def _above_dado(s: Spots, paper: Tensor, below: Tensor) -> Tensor:
    wood = below * (1 - 0.4 * _frames(s, 0.17, 0.78)) * (0.95 + 0.1 * noise(s.u * 4, s.v * 0.6))
    rail = step(-0.035, -(s.v - DADO).abs(), 0.015)
    return mix(mix(wood, paper, step(DADO, s.v, 0.01)), below * 1.15, rail)


@pattern("wainscot")
def _wainscot(s: Spots) -> Tensor:
    """Paint a above panels of b."""
    return _above_dado(s, s.a * (0.96 + 0.08 * noise(s.u, s.v)), s.b)


def _damask(s: Spots) -> Tensor:
    x, y = s.u / s.scale, s.v / s.scale
    y = y + 0.5 * (x.floor() % 2)
    px, py = x % 1 - 0.5, y % 1 - 0.5
    radius, turn = ((px * 1.7) ** 2 + (py * 1.15) ** 2).sqrt(), torch.atan2(px, py)
    petals = radius - 0.09 * torch.cos(6 * turn)
    motif = step(-0.36, -petals, 0.05) - step(-0.05, -(petals - 0.2).abs(), 0.03)
    stems = step(-0.045, -(px.abs() - 0.25 - 0.2 * torch.cos(2 * torch.pi * py)).abs(), 0.03)
    return mix(s.a, s.b, torch.maximum(motif, stems * 0.7).clamp(0, 1))


@pattern("damask")
def _damask_paper(s: Spots) -> Tensor:
    """A woven motif b on a, ``scale`` metres wide."""
    return _damask(s)


@pattern("damask dado")
def _damask_dado(s: Spots) -> Tensor:
    """Damask above panels of c."""
    return _above_dado(s, _damask(s), s.c)


def _flowers(s: Spots) -> Tensor:
    """Blossoms c with leaves b, one in a cell ``scale`` wide, on a."""
    i, j = (s.u / s.scale).floor(), (s.v / s.scale).floor()
    px = (s.u / s.scale) % 1 - 0.5 - 0.3 * (random(i, j, 0.1) - 0.5)
    py = (s.v / s.scale) % 1 - 0.5 - 0.3 * (random(i, j, 0.6) - 0.5)
    radius, turn = (px * px + py * py).sqrt(), torch.atan2(py, px) + 6.3 * random(i, j, 0.8)
    leaves = step(-0.4, -(radius + 0.2 * torch.sin(1.5 * turn) ** 2), 0.06)
    blossom = step(-0.22, -(radius + 0.03 * torch.cos(5 * turn)), 0.04)
    petal = 0.85 + 0.3 * torch.cos(radius * 42 + 2 * turn) * s.fade(s.scale * 0.15)
    return mix(mix(s.a, s.b, leaves * 0.85), s.c * petal, blossom)


@pattern("flowers")
def _flower_paper(s: Spots) -> Tensor:
    return _flowers(s)


@pattern("flowers dado")
def _flowers_dado(s: Spots) -> Tensor:
    """Flowers above panels in the leaves' colour."""
    return _above_dado(s, _flowers(s), s.b)


@pattern("palms")
def _palms(s: Spots) -> Tensor:
    """Long leaves in b and c over a, in cells ``scale`` wide."""
    colour = s.a
    for layer, green in enumerate((s.b, s.c, s.b, s.c)):
        x, y = s.u / s.scale + 0.37 * layer, s.v / s.scale + 0.53 * layer
        i, j = x.floor(), y.floor()
        angle = 3.1 * random(i, j, 0.21 * layer + 0.1)
        px, py = x % 1 - 0.5, y % 1 - 0.5
        along, off = (
            px * torch.cos(angle) + py * torch.sin(angle),
            py * torch.cos(angle) - px * torch.sin(angle),
        )
        inside = step(-1.0, -((along / 0.5) ** 2 + (off / 0.17) ** 2), 0.2)
        ribs = torch.sin((along - off.abs() * 1.4) * 60) * s.fade(s.scale * 0.1)
        colour = mix(colour, green * (0.9 + 0.22 * ribs) * (1 + 0.5 * step(-0.02, -off.abs(), 0.02)), inside)
    return colour


@pattern("scallops")
def _scallops(s: Spots) -> Tensor:
    """Fans of rings in b on a, after the cinemas of the 1920s."""
    rows = 2 * s.v / s.scale
    low = rows.floor()
    best = torch.zeros_like(rows)
    for back in (1.0, 0.0):
        row = low - back
        x = s.u / s.scale + 0.5 * (row % 2)
        distance = ((x % 1 - 0.5) ** 2 + (0.5 * (rows - row)) ** 2).sqrt()
        best = torch.where(distance < 0.5, distance, best) if back == 0.0 else distance
    rings = torch.minimum((best - 0.46).abs(), torch.minimum((best - 0.31).abs(), (best - 0.16).abs()))
    return mix(s.a, s.b, step(-0.035, -rings, 0.03) * s.fade(s.scale * 0.12).clamp(min=0.35))


@pattern("rings")
def _rings(s: Spots) -> Tensor:
    """Discs within discs, b and c on a."""
    x, y = s.u / s.scale, s.v / s.scale
    radius = ((x % 1 - 0.5) ** 2 + ((y + 0.5 * (x.floor() % 2)) % 1 - 0.5) ** 2).sqrt()
    colour = mix(s.a, s.b, step(-0.44, -radius, 0.03))
    return mix(mix(colour, s.a, step(-0.31, -radius, 0.03)), s.c, step(-0.19, -radius, 0.03))


@pattern("zellige")
def _zellige(s: Spots) -> Tensor:
    """Glazed tiles in a and b with stars in c up to TILED, plaster c above."""
    i, j = (s.u / s.scale).floor(), (s.v / s.scale).floor()
    foot = s.footprint / s.scale
    glaze = mix(s.a, s.b, random(i, j, 0.4) * 0.5) * (0.8 + 0.4 * random(i, j, 0.7))
    px, py = (s.u / (4 * s.scale)) % 1 - 0.5, (s.v / (4 * s.scale)) % 1 - 0.5
    square, turned = torch.maximum(px.abs(), py.abs()), (px.abs() + py.abs()) * 0.7071
    star = step(-0.3, -torch.minimum(square, turned), 0.03) - step(
        -0.15, -torch.maximum(square, turned), 0.03
    )
    tile = mix(glaze, s.c, star * 0.85)
    tile = tile * (1 - 0.4 * torch.maximum(line(s.u / s.scale, 0.06, foot), line(s.v / s.scale, 0.06, foot)))
    plaster = s.c * (0.94 + 0.1 * noise(s.u * 0.8, s.v * 0.8))
    rim = step(-0.04, -(s.v - TILED).abs(), 0.01)
    return mix(mix(tile, plaster, step(TILED, s.v, 0.01)), s.b, rim)


@pattern("stone")
def _stone(s: Spots) -> Tensor:
    """Rubble in a to b, its joints in c; stones about ``scale`` wide."""
    x, y = s.u / s.scale, s.v / (0.62 * s.scale)
    near = torch.full_like(x, 9.0)
    second, tint = near.clone(), torch.zeros_like(x)
    for i in (-1.0, 0.0, 1.0):
        for j in (-1.0, 0.0, 1.0):
            column, row = x.floor() + i, y.floor() + j
            px, py = (
                column + 0.15 + 0.7 * random(column, row, 0.2),
                row + 0.15 + 0.7 * random(column, row, 0.5),
            )
            away = ((x - px) ** 2 + (y - py) ** 2).sqrt()
            second = torch.minimum(second, torch.maximum(away, near))
            tint = torch.where(away < near, random(column, row, 0.9), tint)
            near = torch.minimum(near, away)
    stone = mix(s.a, s.b, tint) * (0.75 + 0.5 * noise(s.u * 3, s.v * 3))
    return mix(s.c, stone, step(0.1, second - near, 0.08))


@pattern("board concrete")
def _board_concrete(s: Spots) -> Tensor:
    """Concrete that shows the boards it was poured against, ``scale`` wide, and the holes of ties."""
    place, foot = s.v / s.scale, s.footprint / s.scale
    board = place.floor()
    tint = random(board, (s.u / 1.3).floor(), 0.3)
    cloud = noise(s.u * 0.5, s.v * 0.5) * 0.6 + noise(s.u * 0.8, s.v * 7) * 0.4
    colour = mix(s.a, s.b, (0.5 + 0.9 * (tint - 0.5) + 1.5 * (cloud - 0.5)).clamp(0, 1))
    hole = ((s.u % 0.9 - 0.45) ** 2 + (s.v % 0.9 - 0.45) ** 2).sqrt()
    colour = colour * (1 - 0.6 * step(-0.03, -hole, 0.012))
    return mix(
        colour, s.c, torch.maximum(line(place, 0.06, foot), line(s.u / 1.3, 0.008, s.footprint / 1.3)) * 0.6
    )


@pattern("check")
def _check(s: Spots) -> Tensor:
    """Gingham of a and b."""
    i, j = ((s.u / s.scale).floor() % 2), ((s.v / s.scale).floor() % 2)
    return mix(mix(s.a, s.b, (i + j) / 2), (s.a + s.b) / 2, 1 - s.fade(s.scale))


@pattern("facets")
def _facets(s: Spots) -> Tensor:
    """Triangles in three colours."""
    x, y = s.u / s.scale, s.v / s.scale
    upper = ((x % 1) > (y % 1)).float()
    drawn = random(x.floor() * 2 + upper, y.floor(), 0.4)
    return mix(mix(s.a, s.b, (drawn > 0.45).float()), s.c, (drawn > 0.75).float())


@pattern("landscape")
def _landscape(s: Spots) -> Tensor:
    """An oil painting: sky a over hills b and a dark foreground c."""
    far = 0.1 + 0.5 * (noise(s.x * 0.4 + s.seed * 9, s.seed) - 0.5)
    close = -0.35 + 0.6 * (noise(s.x * 0.5 + s.seed * 5, s.seed + 1) - 0.5)
    colour = mix(s.a * (0.8 + 0.4 * noise(s.x, s.y * 2)), s.b, step(-far, -s.y, 0.05))
    return mix(colour, s.c * (0.7 + 0.6 * noise(s.x * 2, s.y * 2)), step(-close, -s.y, 0.05))


@pattern("composition")
def _composition(s: Spots) -> Tensor:
    """A poster of plain shapes: a disc in b, a bar in c and a black one, on a."""
    disc = step(-0.42, -((s.x + 0.2) ** 2 + (s.y - 0.25) ** 2).sqrt(), 0.02)
    bar = step(-0.16, -((s.x - 0.3) * 0.7 + (s.y + 0.2) * 0.7).abs(), 0.02) * step(-0.8, -s.y.abs(), 0.01)
    black = step(-0.05, -(s.y + 0.6).abs(), 0.01) * step(-0.75, -s.x.abs(), 0.01)
    return mix(mix(mix(s.a, s.b, disc), s.c, bar), 0 * s.a + 0.01, black)
