"""Makes the files that the gate is tested with, byte by byte where no library writes them, and looks at results."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.uploads import Photo, PhotoGate, PhotoRejected

MAX_PIXELS = 5_000_000
PNG = b"\x89PNG\r\n\x1a\n"
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 40), (30, 40, 210), (230, 220, 40)

Colour = tuple[int, int, int]


def picture(mode: str = "RGB", size: tuple[int, int] = (160, 96), color: Any = (200, 60, 20)) -> Image.Image:
    return Image.new(mode, size, color)


def quadrants(size: tuple[int, int] = (160, 96)) -> Image.Image:
    """Red and green above, blue and yellow below."""
    width, height = size
    image = picture(size=size, color=RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    image.paste(BLUE, (0, height // 2, width, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def noise(size: tuple[int, int] = (160, 96)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (*size[::-1], 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


# What comes out


async def accepted(gate: PhotoGate, data: bytes) -> Image.Image:
    return opened(await gate.accept(data))


def opened(photo: Photo) -> Image.Image:
    """The photo decoded, after a look at whether it is what the gate promises."""
    image = Image.open(io.BytesIO(photo.jpeg))
    image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (photo.width, photo.height))
    assert set(segments_of(photo.jpeg)) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}
    assert photo.jpeg.endswith(b"\xff\xd9")
    return image


def segments_of(jpeg: bytes) -> list[int]:
    """The markers of a baseline JPEG's segments, its scan last."""
    found: list[int] = []
    position = 2
    while not found or found[-1] != 0xDA:
        assert jpeg[position] == 0xFF
        found.append(jpeg[position + 1])
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return found


async def refusal(gate: PhotoGate, data: bytes) -> str:
    return (await refused(gate, data)).code


async def refused(gate: PhotoGate, data: bytes) -> PhotoRejected:
    with pytest.raises(PhotoRejected) as caught:
        await gate.accept(data)
    return caught.value


def colour_at(image: Image.Image, x: float = 0.5, y: float = 0.5) -> Colour:
    """The mean of some pixels around a place, given as fractions."""
    column, row = int(x * image.width), int(y * image.height)
    red, green, blue = np.asarray(image)[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).mean(0)
    return round(red), round(green), round(blue)


def distance(one: Colour, other: Colour) -> int:
    """The largest difference of a channel."""
    return max(abs(first - second) for first, second in zip(one, other, strict=True))


def shows_quadrants(image: Image.Image, tolerance: int = 12) -> bool:
    """Whether this is ``quadrants``, upright."""
    places = {(0.25, 0.25): RED, (0.75, 0.25): GREEN, (0.25, 0.75): BLUE, (0.75, 0.75): YELLOW}
    return all(distance(colour_at(image, *place), colour) <= tolerance for place, colour in places.items())


# JPEG


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def jpeg_with(jpeg: bytes, *segments: bytes) -> bytes:
    """With more segments right behind the beginning."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def jpeg_parts(jpeg: bytes) -> tuple[dict[int, bytes], bytes]:
    """The body of each kind of segment before the first scan (several of a kind joined), and all from the scan on."""
    found: dict[int, bytes] = {}
    position = 2
    while jpeg[position + 1] != 0xDA:
        length = int.from_bytes(jpeg[position + 2 : position + 4], "big")
        found[jpeg[position + 1]] = (
            found.get(jpeg[position + 1], b"") + jpeg[position + 4 : position + 2 + length]
        )
        position += 2 + length
    return found, jpeg[position:]


def jpeg_from(parts: dict[int, bytes], scans: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(jpeg_segment(marker, body) for marker, body in parts.items()) + scans


def exif(orientation: int | None = None, kind: int = 3, order: str = "<", tail: bytes = b"") -> bytes:
    """An EXIF block (without its six bytes of a JPEG) whose first directory holds the orientation alone."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    if orientation is None:
        return head + struct.pack(order + "H", 0) + bytes(4) + tail
    # 1 is a byte, 2 text, 3 a short, 4 a long
    value = (
        b"%d\0\0\0" % orientation
        if kind == 2
        else struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[kind], orientation)
    )
    return head + struct.pack(order + "HHHI", 1, 0x0112, kind, 1) + value + bytes(4) + tail


def exif_segment(block: bytes) -> bytes:
    return jpeg_segment(0xE1, b"Exif\0\0" + block)


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


# PNG


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    depth: int,
    kind: int,
    rows: bytes,
    before: Iterable[bytes] = (),
    interlaced: bool = False,
) -> bytes:
    """From packed rows without filters; ``kind`` is PNG's: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""
    step = len(rows) // height
    filtered = b"".join(b"\0" + rows[start : start + step] for start in range(0, len(rows), step))
    return (
        PNG
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
        + b"".join(before)
        + png_chunk(b"IDAT", zlib.compress(filtered))
        + png_chunk(b"IEND", b"")
    )


def flat_png(depth: int, kind: int, sample: bytes, *before: bytes, side: int = 64) -> bytes:
    """All of one colour: ``sample`` is a row's repeating unit of whole bytes."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    row = sample * (side * channels * depth // 8 // len(sample))
    return png(side, side, depth, kind, row * side, before)


def png_with(data: bytes, *chunks: bytes) -> bytes:
    """With more chunks right behind the header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


# WebP


def webp_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, flags: int = 0) -> bytes:
    body = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", body)


def webp_pixels(data: bytes) -> bytes:
    """The chunk of pixels of a WebP that has no other."""
    assert data[12:16] in (b"VP8 ", b"VP8L")
    return data[12:]


def webp_with(image: Image.Image, flags: int, *chunks: bytes) -> bytes:
    """A WebP with a header that announces more chunks."""
    return webp(webp_canvas(*image.size, flags), webp_pixels(encoded(image, "WEBP")), *chunks)


# Colour


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
    """Of a space with its white at D65; ``primaries`` are the chromaticities [3,2] of red, green and blue."""
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
