"""Makes ICC profiles, and computes what must come out of them by the formulas of colour science."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.support.gate.files import Colour


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """An ICC profile of version 2.4 (ICC.1:2001-04): header, table of tags, tags."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, kind, space, pcs) + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">iii", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + data


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def curve(values: Iterable[float]) -> bytes:
    """From samples of 0 to 1."""
    words = [round(value * 65535) for value in values]
    return b"curv" + bytes(4) + struct.pack(f">I{len(words)}H", len(words), *words)


def grey_profile(power: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma(power)})


def rgb_profile(primaries: np.ndarray[Any, Any], trc: bytes) -> bytes:
    """The profile of a space with its white at D65; ``primaries`` [3,2] are chromaticities of red, green and blue."""
    to_d50 = np.array(
        [
            [1.0479298, 0.0229468, -0.0501922],
            [0.0296278, 0.9904345, -0.0170738],
            [-0.0092430, 0.0150552, 0.7518743],
        ]
    )  # Bradford's, D65 to D50
    columns = (to_d50 @ to_xyz(primaries)).T
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {name: xyz(*column) for name, column in zip(names, columns, strict=True)}
    return profile(b"RGB ", {**tags, b"rTRC": trc, b"gTRC": trc, b"bTRC": trc})


def to_xyz(primaries: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The matrix from linear RGB to XYZ with white at D65 (SMPTE RP 177)."""

    def whole(xy: Any) -> list[float]:
        return [xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]]

    columns = np.array([whole(xy) for xy in primaries]).T
    return np.asarray(columns * np.linalg.solve(columns, whole((0.3127, 0.3290))))


SRGB_PRIMARIES = np.array([[0.640, 0.330], [0.300, 0.600], [0.150, 0.060]])
P3_PRIMARIES = np.array([[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]])
ADOBE_PRIMARIES = np.array([[0.640, 0.330], [0.210, 0.710], [0.150, 0.060]])
ADOBE_GAMMA = 563 / 256
COLOURS = ((200, 60, 20), (60, 140, 70), (40, 60, 190), (128, 128, 128), (255, 255, 255), (8, 8, 8))
"""Such as photos have, within every gamut here."""


def srgb_to_linear(values: Any) -> Any:
    """IEC 61966-2-1."""
    values = np.asarray(values, float)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Any) -> Any:
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def in_srgb(linear: Any, primaries: np.ndarray[Any, Any]) -> Colour:
    """The 8-bit sRGB colour nearest to a linear RGB colour of other primaries, clipped channel by channel."""
    result = linear_to_srgb(np.linalg.solve(to_xyz(SRGB_PRIMARIES), to_xyz(primaries) @ np.asarray(linear)))
    red, green, blue = np.round(255 * result)
    return int(red), int(green), int(blue)


def cmyk_profile(colour_of: Any) -> bytes:
    """A press whose every mix of whole inks is given as CIELAB by ``colour_of(c, m, y, k)``, each ink 0 or 1.

    The table has two nodes an ink (type lut8), so mixtures are interpolated between them.
    """
    linear = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9)))
    nodes = b""
    for index in range(16):
        lightness, a, b = colour_of(*(index >> shift & 1 for shift in (3, 2, 1, 0)))
        nodes += bytes((round(lightness * 2.55), round(a + 128), round(b + 128)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * linear + nodes + 3 * linear
    return profile(b"CMYK", {b"A2B0": table}, pcs=b"Lab ", kind=b"prtr")
