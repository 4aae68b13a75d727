"""Files that are damaged or incomplete, and files that only look so: what decoders fill up with grey is no photo."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.files import (
    accepted,
    encoded,
    jpeg_segment,
    jpeg_with,
    jpeg_with_frame,
    noise,
    picture,
    png,
    png_chunk,
    png_file,
    png_header,
    quadrants,
    refusal,
    shows_quadrants,
    webp,
    webp_chunk,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = (320, 240)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "restart markers": ("RGB", {"restart_marker_rows": 1}),
    "grey": ("L", {}),
    "CMYK": ("CMYK", {}),
}


def jpeg(kind: str) -> bytes:
    mode, options = KINDS[kind]
    return encoded(noise(SIZE).convert(mode), quality=90, **options)


def scan_of(data: bytes) -> int:
    """Where the first scan's coded data begins."""
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


def without(data: bytes, start: int, stop: int) -> bytes:
    return data[:start] + data[stop:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.98])
async def test_a_cut_jpeg_with_an_end(gate: PhotoGate, kind: str, kept: float) -> None:
    data = jpeg(kind)
    assert await refusal(gate, data[: int(len(data) * kept)] + b"\xff\xd9") == "broken_image"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marker", [0xD9, 0xC4, 0xD3, 0xDA, 0xE1])
async def test_a_stray_marker_in_the_coded_data(gate: PhotoGate, kind: str, marker: int) -> None:
    data = jpeg(kind)
    middle = (scan_of(data) + len(data)) // 2
    assert await refusal(gate, data[:middle] + bytes((0xFF, marker)) + data[middle:]) == "broken_image"


@pytest.mark.parametrize("kind", KINDS)
async def test_holes_in_the_coded_data(gate: PhotoGate, kind: str) -> None:
    data = jpeg(kind)
    middle = (scan_of(data) + len(data)) // 2
    zeros = data[:middle] + bytes(2000) + data[middle + 2000 :]
    for damaged in (zeros, without(data, middle, middle + 2000)):
        assert await refusal(gate, damaged) == "broken_image"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_jpeg_without_its_end_is_whole(gate: PhotoGate, kind: str) -> None:
    data = jpeg(kind)
    assert (await gate.accept(data[:-2])).jpeg == (await gate.accept(data)).jpeg


@pytest.mark.parametrize("padding", [b"\0", bytes(7), b"\x5a" * 20, bytes(5000), b"\xff" * 40])
async def test_what_cameras_fill_up_with_before_the_end(gate: PhotoGate, padding: bytes) -> None:
    data = encoded(noise(SIZE), quality=90)
    padded = data[:-2] + padding + b"\xff\xd9"
    assert (await gate.accept(padded)).jpeg == (await gate.accept(data)).jpeg


async def test_bytes_of_all_kinds_are_no_padding(gate: PhotoGate) -> None:
    """They are what damage to the coded data leaves over."""
    data = encoded(noise(SIZE), quality=90)
    assert await refusal(gate, data[:-2] + bytes(range(20)) + b"\xff\xd9") == "broken_image"


async def test_coded_data_that_goes_on_behind_the_picture(gate: PhotoGate) -> None:
    """A height that is too small: what is left over is no padding."""
    data = jpeg_with_frame(encoded(noise(SIZE), quality=90), {1: 0, 2: 128})
    assert await refusal(gate, data) == "broken_image"


async def test_a_jpeg_that_ends_behind_its_first_scan(gate: PhotoGate) -> None:
    """A progressive one's later scans refine; but one in which two of the colours never come would be grey."""
    whole = encoded(quadrants(SIZE), progressive=True, subsampling=0)
    first = whole.index(b"\xff\xda")
    second = min(whole.index(marker, first + 4) for marker in (b"\xff\xc4", b"\xff\xda"))
    begun = whole[:second] + b"\xff\xd9"
    assert shows_quadrants(await accepted(gate, begun), 40)
    # The first scan, of all components, as one of the first alone.
    header = bytearray(whole[first : first + 14])
    assert header[4] == 3
    alone = (
        whole[:first]
        + jpeg_segment(0xDA, bytes((1, *header[5:7], 0, 0, header[13])))
        + whole[first + 14 : second]
    )
    assert await refusal(gate, alone + b"\xff\xd9") == "broken_image"


def odd_jfif(data: bytes) -> bytes:
    return data.replace(b"JFIF\0\1\1", b"JFIF\0\2\1")


def odd_adobe(data: bytes) -> bytes:
    return jpeg_with(data, jpeg_segment(0xEE, b"Adobe\0\x64\0\0\0\0\x05"))


def odd_scan(data: bytes) -> bytes:
    """Numbers that mean nothing in a baseline JPEG."""
    start = scan_of(data)
    return data[: start - 3] + bytes((3, 9, 0x11)) + data[start:]


def odd_end(data: bytes) -> bytes:
    return data + b"\xff\xd8 a second picture, cut"


@pytest.mark.parametrize("odd", [odd_jfif, odd_adobe, odd_scan, odd_end])
async def test_warnings_that_mean_nothing(gate: PhotoGate, odd: Any) -> None:
    assert shows_quadrants(await accepted(gate, odd(encoded(quadrants(), quality=95))))


async def test_rare_sampling(gate: PhotoGate) -> None:
    """Colours at one ratio across and another down; what the fast decoder does not take, Pillow reads."""
    photo = encoded(picture(size=(64, 64)), subsampling=2)
    data = jpeg_with_frame(photo, {7: 0x21, 10: 0x21, 13: 0x11}, FLAT_SCAN)
    assert (await accepted(gate, data)).size == (64, 64)


async def test_brightness_at_four_times_the_colours_height(gate: PhotoGate) -> None:
    """4:4:1, which a 4:1:1 photo becomes that is turned without loss. 64 × 64 are as many units as in 4:2:0."""
    tall = jpeg_with_frame(encoded(picture(size=(64, 64)), subsampling=2), {7: 0x14})
    assert (await accepted(gate, tall)).size == (64, 64)
    assert await refusal(gate, tall[:-4]) == "broken_image"


def flat_scan() -> bytes:
    """With the standard Huffman tables: 32 units of 2 blocks of brightness, 2 of a colour and 1 of the other, and of
    each block that its mean is as before, and its end."""
    bits = ("001010" * 2 + "0000" * 3) * 32
    bits += "1" * (-len(bits) % 8)
    coded = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8))
    header = jpeg_segment(0xDA, bytes((3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0)))
    return header + coded.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


FLAT_SCAN = flat_scan()


# PNG


def rows_of(kind: int, depth: int, width: int, height: int) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    size = width * channels * depth // 8 * height
    # No zeros: what is missing would not show among them.
    return np.random.default_rng(1).integers(1, 255, size, dtype=np.uint8).tobytes()


PALETTE = png_chunk(b"PLTE", bytes(range(256)) * 3)


def short_png(kind: int, depth: int, kept: float) -> bytes:
    """Its zlib stream is sound, and ends after a part of the rows."""
    width, height = 160, 96
    palette = [PALETTE] if kind == 3 else []
    data = png(width, height, depth, kind, rows_of(kind, depth, width, height), *palette)
    start = data.index(b"IDAT") + 4
    rows = zlib.decompress(data[start : start + int.from_bytes(data[start - 8 : start - 4], "big")])
    part = zlib.compress(rows[: int(len(rows) * kept)])
    return data[: start - 8] + png_chunk(b"IDAT", part) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "depth"),
    [(0, 1), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (3, 4), (4, 8), (6, 8), (6, 16)],
)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
async def test_a_png_whose_stream_ends_early(gate: PhotoGate, kind: int, depth: int, kept: float) -> None:
    assert (await accepted(gate, short_png(kind, depth, 1))).size == (160, 96)
    assert await refusal(gate, short_png(kind, depth, kept)) == "broken_image"


async def test_an_interlaced_png_whose_stream_ends_early(gate: PhotoGate) -> None:
    """160 × 96 in seven passes, with a byte more for each row of each."""
    passes = [(20, 12), (20, 12), (40, 12), (40, 24), (80, 24), (80, 48), (160, 48)]
    size = sum((width + 1) * height for width, height in passes)
    header = png_header(160, 96, kind=0, interlaced=True)
    assert (await accepted(gate, png_file(header, bytes(size)))).size == (160, 96)
    for missing in (1, 160, size // 2):
        assert await refusal(gate, png_file(header, bytes(size - missing))) == "broken_image"


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA"])
async def test_a_png_that_is_black_below_is_whole(gate: PhotoGate, mode: str) -> None:
    image = picture("RGB", color=(200, 60, 20))
    image.paste((0, 0, 0), (0, 40, 160, 96))
    assert (await accepted(gate, encoded(image.convert(mode), "PNG"))).size == (160, 96)


# WebP


def webp_cut(image: Image.Image, kept: float, **options: Any) -> bytes:
    """Its last chunk of pixels ends early, and every length agrees."""
    data = encoded(image, "WEBP", **options)
    chunks, position = [], 12
    while position < len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        cut = kind == (b"ALPH" if image.mode == "RGBA" and not options else b"VP8 ") or kind == b"VP8L"
        chunks.append(webp_chunk(kind, body[: int(len(body) * kept)] if cut else body))
        position += 8 + length + length % 2
    return webp(*chunks)


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.99])
async def test_a_webp_whose_pixels_end_early(gate: PhotoGate, kept: float) -> None:
    clear = noise(SIZE)
    clear.putalpha(noise(SIZE).convert("L"))
    kinds: list[tuple[Image.Image, dict[str, Any]]] = [(noise(SIZE), {}), (noise(SIZE), {"lossless": True})]
    for image, options in (*kinds, (clear, {}), (clear, {"lossless": True})):
        assert await refusal(gate, webp_cut(image, kept, **options)) == "broken_image"
        assert (await accepted(gate, webp_cut(image, 1, **options))).size == SIZE
