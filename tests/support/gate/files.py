"""Makes the files that the gate is tested with, byte by byte where no library writes them, and looks at results."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from orchestrator.photos.gate import Photo, PhotoGate, PhotoRejected

register_heif_opener()  # as "HEIF", and with an encoder, which the product does not have
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


def jpeg_with_frame(jpeg: bytes, changes: dict[int, int], scans: bytes | None = None) -> bytes:
    """A baseline JPEG with other bytes in its frame header, by position, and with other scans where they are given.

    The header: 0 bits, 1–2 height, 3–4 width, 5 components, then an id, sampling and table for each.
    """
    parts, own = jpeg_parts(jpeg)
    frame = bytearray(parts[0xC0])
    for position, value in changes.items():
        frame[position] = value
    return jpeg_from({**parts, 0xC0: bytes(frame)}, own if scans is None else scans)


XMP_START = b"http://ns.adobe.com/xap/1.0/\0"


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


def png_header(width: int, height: int, depth: int = 8, kind: int = 2, interlaced: bool = False) -> bytes:
    """``kind`` is PNG's: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))


def png_file(header: bytes, data: bytes, *before: bytes) -> bytes:
    """With these bytes, compressed, as its pixels."""
    pixels = png_chunk(b"IDAT", zlib.compress(data, 9))
    return PNG + header + b"".join(before) + pixels + png_chunk(b"IEND", b"")


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *before: bytes) -> bytes:
    """From packed rows without filters."""
    step = len(rows) // height
    filtered = b"".join(b"\0" + rows[start : start + step] for start in range(0, len(rows), step))
    return png_file(png_header(width, height, depth, kind), filtered, *before)


def flat_png(depth: int, kind: int, sample: bytes, *before: bytes, side: int = 64) -> bytes:
    """All of one colour: ``sample`` is a row's repeating unit of whole bytes."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    row = sample * (side * channels * depth // 8 // len(sample))
    return png(side, side, depth, kind, row * side, *before)


def png_with(data: bytes, *chunks: bytes) -> bytes:
    """With more chunks right behind the header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png_claiming(width: int, height: int) -> bytes:
    return png_file(png_header(width, height), b"")


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
