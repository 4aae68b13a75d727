"""How the camera has turned between two pictures of a room, by their straight segments.

A camera that turns on the spot moves every vanishing point by the angle of its turn, whatever stands in the room. The
turn is found that lays most of the result's segments onto the photo's. It needs neither colours nor textures, which a
restyle changes.
"""

from dataclasses import dataclass

import numpy as np

from restyle.pictures.images import Floats
from restyle.pictures.segments import SIDE, Nearest, Points, across

FOCAL = 0.8 * SIDE
"""Pixels. Phones and cameras have 0.7 to 1 of the long side; another one changes the angle, not the fit."""
_REACH = (10.0, 6.0, 4.0, 3.0, 2.0, 2.0)
"""Pixels: how far segments may lie apart to pull on each other, in each round."""
_FIRM = (0.04, 0.04, 0.3, 0.3)
"""Damping of yaw, pitch, roll and zoom, as if so many points would not move."""
_NEAR = 2.0
"""Pixels: segments no farther apart lie on each other."""
_GAIN = 0.04
"""A turn is believed when it lays so much more of the segments onto each other, as a share of them."""
_ENOUGH = 0.6
"""Share of the segments that lie on each other without a turn, at which none is looked for."""
_GRID = 8
_FAR = 0.15
"""Share of SIDE: the largest shift that is looked for."""


@dataclass(frozen=True)
class Motion:
    """What the camera did after the photo: ``turn`` FP64 [3,3] and ``zoom``, the growth of the picture less 1."""

    turn: Floats
    zoom: float

    def back(self, at: Floats) -> Floats:
        """Where points [N,2] of the result were in the photo."""
        rays = np.concatenate([at / FOCAL, np.ones((len(at), 1))], 1) @ self.turn.T
        return (rays[:, :2] / np.maximum(rays[:, 2:], 0.1) * (FOCAL * (1.0 + self.zoom))).astype(np.float32)

    def forth(self, at: Floats) -> Floats:
        """Where points [N,2] of the photo are in the result."""
        rays = np.concatenate([at / (FOCAL * (1.0 + self.zoom)), np.ones((len(at), 1))], 1) @ self.turn
        return (rays[:, :2] / np.maximum(rays[:, 2:], 0.1) * FOCAL).astype(np.float32)

    def undo(self, points: Points) -> Points:
        """Points of the result as the photo's camera would have seen them."""
        at, ahead = self.back(points.at), self.back(points.at + points.way)
        way = ahead - at
        return Points(at, way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6), points.of)

    @property
    def degrees(self) -> float:
        """The mean angle by which it moves what is seen."""
        places = np.linspace(-0.5, 0.5, 5) * SIDE
        grid = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
        return float(np.degrees(np.linalg.norm(self.back(grid) - grid, axis=1).mean() / FOCAL))


STILL = Motion(np.eye(3), 0.0)


def find_motion(nearest: Nearest, result: Points) -> tuple[Motion, float]:
    """The motion between the photo, whose segments ``nearest`` finds, and the result; and the share of the result's
    points that it lays onto the photo's segments."""
    photo = nearest.points
    if not len(photo) or not len(result):
        return STILL, 0.0
    still = _on_each_other(STILL, result, nearest)
    if still >= _ENOUGH:
        return STILL, still
    best, most = STILL, still + _GAIN
    for begin in (STILL, _shifted(photo, result)):
        motion = _refined(begin, result, nearest)
        share = _on_each_other(motion, result, nearest)
        if share > most:
            best, most = motion, share
    return best, still if best is STILL else most


def _on_each_other(motion: Motion, result: Points, nearest: Nearest) -> float:
    photo, moved = nearest.points, motion.undo(result)
    found, there = nearest(moved)
    apart = np.linalg.norm(moved.at - photo.at[found], axis=1)
    off = np.abs(across(moved.at - photo.at[found], photo.way[found]))
    return float((there & (off <= _NEAR) & (apart <= 3 * _NEAR)).mean())


def _refined(motion: Motion, result: Points, nearest: Nearest) -> Motion:
    """Gauss–Newton on the distances of points to the nearest segments, of which far ones count less."""
    photo = nearest.points
    for reach in _REACH:
        moved = motion.undo(result)
        found, there = nearest(moved)
        offset, way = moved.at - photo.at[found], photo.way[found]
        off = across(offset, way)
        weight = there * np.exp(-(np.square(offset).sum(1) / reach**2))
        slopes = _across_slopes(moved.at, way)
        matrix = (slopes * weight[:, None]).T @ slopes + np.diag(_FIRM) * FOCAL**2
        step = np.linalg.solve(matrix, -(slopes * (weight * off)[:, None]).sum(0))
        step = np.clip(step, -0.12, 0.12)
        motion = Motion(_rotation(*step[:3]) @ motion.turn, motion.zoom + float(step[3]))
    return motion


def _across_slopes(at: Floats, way: Floats) -> Floats:
    """[N,4]: how far yaw, pitch, roll and zoom move points across their segments, in pixels per radian."""
    x, y = at[:, 0], at[:, 1]
    u, v = x / FOCAL, y / FOCAL
    moves = np.stack(
        [
            np.stack([FOCAL * (1 + u * u), FOCAL * u * v], -1),
            np.stack([-FOCAL * u * v, -FOCAL * (1 + v * v)], -1),
            np.stack([-y, x], -1),
            np.stack([x, y], -1),
        ],
        1,
    )
    return moves[..., 1] * way[:, None, 0] - moves[..., 0] * way[:, None, 1]


def _rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Turns rays (x right, y down, z ahead): yaw moves what is seen to the right, pitch upwards, roll clockwise."""
    cross = np.array([[0, -roll, yaw], [roll, 0, -pitch], [-yaw, pitch, 0]])
    angle = float(np.sqrt(yaw**2 + pitch**2 + roll**2))
    if angle < 1e-9:
        return np.eye(3)
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def _shifted(photo: Points, result: Points) -> Motion:
    """The turn whose shift lays most points onto each other, on a coarse grid: where the correlation of the two is
    highest."""
    first, second = (np.fft.rfft2(_drawn(points), axes=(0, 1)) for points in (photo, result))
    cells = SIDE // _GRID * 2
    match = np.fft.irfft2((first * second.conj()).sum(-1), (cells, cells), axes=(0, 1))
    far = int(_FAR * SIDE / _GRID)
    around = np.roll(match, (far, far), (0, 1))[: 2 * far + 1, : 2 * far + 1]
    row, column = np.unravel_index(int(around.argmax()), around.shape)
    return Motion(_rotation((column - far) * _GRID / FOCAL, -(row - far) * _GRID / FOCAL, 0.0), 0.0)


def _drawn(points: Points) -> Floats:
    """Points by place and direction, FP32 [cells, cells, 4]: twice as many cells as the picture has, so that nothing
    wraps around."""
    cells = SIDE // _GRID * 2
    drawn = np.zeros((cells, cells, 4), np.float32)
    column, row = np.clip(np.floor(points.at / _GRID).astype(int) + cells // 4, 0, cells // 2 - 1).T
    ways = (np.arctan2(points.way[:, 1], points.way[:, 0]) % np.pi * (4 / np.pi)).astype(int) % 4
    np.add.at(drawn, (row, column, ways), 1.0)
    return np.sqrt(drawn)
