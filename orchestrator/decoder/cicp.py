"""ICC profiles for the colours that a PNG's cICP chunk names by number (ITU-T H.273, PNG third edition 11.3.2.6).

Pictures of high dynamic range are cut to what sRGB can show: diffuse white, 203 cd/m² (BT.2408), becomes white, and
what shines brighter becomes white too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Curve = Callable[[float], float]
Matrix = tuple[tuple[float, float, float], ...]

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
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_SAMPLES = 16 * 255 + 1
"""Of a curve; every 16th is one of the 256 values of a channel."""
_DIFFUSE_WHITE = 203.0


def _srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _bt709(value: float) -> float:
    """The inverse of the camera's curve, as browsers read it."""
    return value / 4.5 if value < 0.081 else ((value + 0.099) / 1.099) ** (1 / 0.45)


def _pq(value: float) -> float:
    power = value ** (1 / 78.84375)
    nits = 10000 * (max(0.0, power - 0.8359375) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return min(1.0, nits / _DIFFUSE_WHITE)


def _hlg(value: float) -> float:
    """On a display of 1000 cd/m²; its gamma is applied to each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = value**2 / 3 if value <= 0.5 else (2.718281828459045 ** ((value - c) / a) + b) / 12
    return min(1.0, 1000 * scene**1.2 / _DIFFUSE_WHITE)


_TRANSFERS: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _bt709),
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    13: _srgb,
    16: _pq,
    18: _hlg,
}
"""From a channel's value to light, both from 0 to 1, by H.273's TransferCharacteristics (table 3)."""


def profile_of(chunk: bytes) -> bytes | None:
    """An ICC profile for a cICP chunk's body; empty for sRGB, and None for a chunk that says nothing of use."""
    if len(chunk) != 4:
        return None
    primaries, transfer, matrix, full_range = chunk
    if matrix or full_range > 1 or primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    if (primaries, transfer, full_range) == (1, 13, 1):
        return b""
    return _profile(_colorants(*_PRIMARIES[primaries]), _TRANSFERS[transfer], bool(full_range))


def _colorants(
    red: tuple[float, float], green: tuple[float, float], blue: tuple[float, float], white: tuple[float, float]
) -> Matrix:
    """XYZ of red, green and blue, in columns, with the white adapted to ICC's D50 (Bradford)."""
    rows = [(x / y, 1.0, (1 - x - y) / y) for x, y in (red, green, blue)]
    unscaled: Matrix = tuple(zip(*rows, strict=True))  # type: ignore[assignment]
    seen = (white[0] / white[1], 1.0, (1 - white[0] - white[1]) / white[1])
    strengths = _times(_inverse(unscaled), seen)
    to_xyz: Matrix = tuple(
        tuple(value * strength for value, strength in zip(row, strengths, strict=True)) for row in unscaled
    )  # type: ignore[assignment]
    gains = [new / old for new, old in zip(_times(_BRADFORD, _D50), _times(_BRADFORD, seen), strict=True)]
    columns = []
    for column in zip(*to_xyz, strict=True):
        cones = [gain * value for gain, value in zip(gains, _times(_BRADFORD, column), strict=True)]
        columns.append(_times(_inverse(_BRADFORD), cones))
    return tuple(zip(*columns, strict=True))  # type: ignore[return-value]


def _times(matrix: Matrix, vector: tuple[float, ...] | list[float]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    adjugate = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return tuple(tuple(value / determinant for value in row) for row in adjugate)  # type: ignore[return-value]


def _profile(colorants: Matrix, curve: Curve, full_range: bool) -> bytes:
    """A display's profile of three colorants and one curve (ICC.1:2001-04, version 2.4)."""
    curve_tag = b"curv" + bytes(4) + struct.pack(">I", _SAMPLES)
    curve_tag += struct.pack(f">{_SAMPLES}H", *(round(65535 * light) for light in _samples(curve, full_range)))
    tags = [(b"wtpt", _xyz(_D50))]
    tags += [
        (name, _xyz(column))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), zip(*colorants, strict=True), strict=True)
    ]
    tags += [(b"desc", b"desc" + bytes(4) + struct.pack(">I", 5) + b"cICP\0" + bytes(78))]
    tags += [(b"cprt", b"text" + bytes(4) + b"none\0")]
    tags += [(name, curve_tag) for name in (b"rTRC", b"gTRC", b"bTRC")]
    offset = 128 + 4 + 12 * len(tags)
    table, bodies, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for name, body in tags:
        if body not in places:
            places[body] = offset + len(bodies)
            bodies += body + bytes(-len(body) % 4)
        table += struct.pack(">4sII", name, places[body], len(body))
    size = 128 + len(table) + len(bodies)
    header = struct.pack(">I4sI4s4s4s", size, b"", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _numbers(_D50)
    return header.ljust(128, b"\0") + table + bodies


def _samples(curve: Curve, full_range: bool) -> list[float]:
    values = [index / (_SAMPLES - 1) for index in range(_SAMPLES)]
    if not full_range:  # black is 16 and white 235, as in video
        values = [min(1.0, max(0.0, (255 * value - 16) / 219)) for value in values]
    return [curve(value) for value in values]


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _numbers(values)


def _numbers(values: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
