"""ICC profiles for the colours that a PNG's cICP chunk names by number (ITU-T H.273, PNG third edition 11.3.2.6).

Pictures of high dynamic range are clipped to sRGB: diffuse white, 203 cd/m² (BT.2408), and everything brighter become
white.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Curve = Callable[[Array], Array]

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_SMPTE_170M = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: (*_SMPTE_170M, _D65),
    7: (*_SMPTE_170M, _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: (*_P3, _DCI),
    12: (*_P3, _D65),
}
"""x and y of red, green, blue and white, by H.273's ColourPrimaries (table 2)."""
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAMPLES = 16 * 255 + 1
"""Samples of a curve; every 16th is one of the 256 values of a channel."""
_DIFFUSE_WHITE = 203.0


def _srgb(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _bt709(value: Array) -> Array:
    """The inverse of the camera's curve, as browsers read it."""
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def _pq(value: Array) -> Array:
    power = value ** (1 / 78.84375)
    light = np.maximum(0, power - 0.8359375) / (18.8515625 - 18.6875 * power)
    return np.minimum(1, 10_000 * light ** (1 / 0.1593017578125) / _DIFFUSE_WHITE)


def _hlg(value: Array) -> Array:
    """Light on a display of 1000 cd/m², whose gamma is applied to each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return np.minimum(1, 1000 * scene**1.2 / _DIFFUSE_WHITE)


_TRANSFERS: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _bt709),
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    13: _srgb,
    16: _pq,
    18: _hlg,
}
"""Functions from a channel's value to light, both 0 to 1, by H.273's TransferCharacteristics (table 3)."""


def profile_of(chunk: bytes) -> bytes | None:
    """An ICC profile for a cICP chunk's body: empty for sRGB, None for a chunk that names no known colours."""
    if len(chunk) != 4:
        return None
    primaries, transfer, matrix, full_range = chunk
    if matrix or full_range > 1 or primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    if (primaries, transfer, full_range) == (1, 13, 1):
        return b""
    values = np.linspace(0, 1, _SAMPLES)
    if not full_range:  # black is 16 and white 235, as in video
        values = np.clip((255 * values - 16) / 219, 0, 1)
    return _profile(_colorants(*_PRIMARIES[primaries]), _TRANSFERS[transfer](values))


def _colorants(*places: tuple[float, float]) -> Array:
    """XYZ of red, green and blue, a row each, with the white (the fourth place) adapted to ICC's D50 (Bradford)."""
    red, green, blue, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in places)
    unscaled = np.stack([red, green, blue])
    to_xyz = unscaled * np.linalg.solve(unscaled.T, white)[:, None]
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: Array = to_xyz @ _BRADFORD.T * gains @ np.linalg.inv(_BRADFORD).T
    return adapted


def _profile(colorants: Array, curve: Array) -> bytes:
    """A display's profile (ICC.1:2001-04, version 2.4) of three colorants, and light by value, from 0 to 1."""
    steps = np.round(65535 * curve).astype(">u2").tobytes()
    light = b"curv" + struct.pack(">4xI", len(curve)) + steps
    tags = [(b"wtpt", _xyz(_D50))]
    tags += [(name, _xyz(row)) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)]
    tags += [(name, light) for name in (b"rTRC", b"gTRC", b"bTRC")]
    tags += [
        (b"desc", b"desc" + struct.pack(">4xI", 5) + b"cICP\0" + bytes(78)),
        (b"cprt", b"text\0\0\0\0none\0"),
    ]
    start = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags:
        table += struct.pack(">4sII", name, start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(bodies), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s28x", 2026, 1, 1, 0, 0, 0, b"acsp") + _numbers(_D50)
    return header.ljust(128, b"\0") + table + bodies


def _xyz(values: Array) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: Array) -> bytes:
    return np.round(values * 65536).astype(">i4").tobytes()
