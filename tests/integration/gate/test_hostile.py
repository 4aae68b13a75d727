"""Files made to do harm: bombs by size, by compression and by work, and second pictures."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from orchestrator.photos.gate import PhotoGate, PhotoRejected
from tests.support.gate.files import (
    BLUE,
    RED,
    XMP_START,
    accepted,
    colour_at,
    distance,
    encoded,
    exif,
    exif_segment,
    flat_png,
    jpeg_from,
    jpeg_parts,
    jpeg_segment,
    jpeg_with,
    picture,
    png_chunk,
    png_claiming,
    png_file,
    png_header,
    png_with,
    quadrants,
    refusal,
    shows_quadrants,
    webp,
    webp_canvas,
    webp_chunk,
    webp_pixels,
    webp_with,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def jpeg_claiming(width: int, height: int, **options: Any) -> bytes:
    parts, scans = jpeg_parts(encoded(picture(size=(16, 16)), **options))
    frame = next(kind for kind in (0xC0, 0xC2) if kind in parts)
    parts[frame] = parts[frame][:1] + struct.pack(">HH", height, width) + parts[frame][5:]
    return jpeg_from(parts, scans)


def vp8(width: int, height: int) -> bytes:
    return webp_chunk(b"VP8 ", b"\x30\1\0\x9d\1\x2a" + struct.pack("<HH", width, height) + bytes(30))


def vp8l(width: int, height: int) -> bytes:
    return webp_chunk(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + bytes(30))


@pytest.mark.parametrize(
    "data",
    [
        png_claiming(50_000, 50_000), png_claiming(2**31 - 1, 2**31 - 1), jpeg_claiming(16_000, 16_000),
        jpeg_claiming(65_535, 65_535), jpeg_claiming(65_500, 65_500, progressive=True),
        webp(webp_canvas(2**24, 2**24)), webp(vp8(16_383, 16_383)), webp(vp8l(16_384, 16_384)),
    ],
)  # fmt: skip
async def test_large_by_the_header(gate: PhotoGate, data: bytes) -> None:
    begin = time.monotonic()
    assert len(data) < 1000
    assert await refusal(gate, data) == "image_too_large"
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "data",
    [
        webp(webp_canvas(100, 100), vp8(16_383, 16_383)),
        webp(webp_canvas(100, 100), vp8l(16_384, 16_384)),
        webp(webp_canvas(16_000, 16_000), vp8(100, 100)),
        webp(webp_canvas(100, 100), webp_pixels(encoded(picture(size=(101, 100)), "WEBP"))),
        webp(webp_canvas(160, 96), webp_pixels(encoded(picture(), "WEBP"))[:30]),
    ],
)
async def test_a_webp_of_two_sizes(gate: PhotoGate, data: bytes) -> None:
    assert await refusal(gate, data) == "broken_image"


async def test_headers_that_come_twice(gate: PhotoGate) -> None:
    small, large = png_header(64, 64), png_header(30_000, 30_000)
    good = flat_png(8, 2, bytes(RED))
    for data in (png_with(good, small), png_with(good, large), good[:-12] + large + good[-12:]):
        assert await refusal(gate, data) == "broken_image"
    parts, scans = jpeg_parts(encoded(picture()))
    twice = jpeg_segment(0xC0, parts[0xC0][:1] + struct.pack(">HH", 60_000, 60_000) + parts[0xC0][5:])
    assert await refusal(gate, jpeg_from(parts, twice + scans)) == "broken_image"
    assert await refusal(gate, jpeg_with(encoded(picture()), twice)) == "broken_image"


# Compression


async def test_pixels_that_inflate_beyond_the_picture(gate: PhotoGate) -> None:
    data = png_file(png_header(64, 64), bytes(100_000_000))
    assert distance(colour_at(await accepted(gate, data)), (0, 0, 0)) == 0


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt"])
async def test_text_that_inflates(gate: PhotoGate, kind: bytes) -> None:
    packed = zlib.compress(bytes(100_000_000), 9)
    body = {
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + packed,
        b"tEXt": b"Comment\0" + b"x" * 3_000_000,
    }[kind]
    data = flat_png(8, 2, bytes(RED), *[png_chunk(kind, body)] * 3)
    assert distance(colour_at(await accepted(gate, data)), RED) <= 4


async def test_damaged_chunks_that_no_pixel_needs(gate: PhotoGate) -> None:
    """A wrong checksum, a text without its zero, an empty time: browsers show the photo, and we take it."""
    broken = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    broken[-1] ^= 1
    chunks = [bytes(broken), png_chunk(b"zTXt", b"none"), png_chunk(b"tIME", b""), png_chunk(b"pHYs", b"\0")]
    chunks += [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0"), png_chunk(b"eXIf", b""), png_chunk(b"gAMA", b"")]
    assert distance(colour_at(await accepted(gate, flat_png(8, 2, bytes(RED), *chunks))), RED) <= 4


# Work


async def within(gate: PhotoGate, data: bytes, seconds: float) -> str:
    """How it ended: with a code, or ``taken``. It may not take longer than this, on a busy machine."""
    begin = time.monotonic()
    try:
        await gate.accept(data)
        ending = "taken"
    except PhotoRejected as error:
        ending = error.code
    assert time.monotonic() - begin < seconds
    return ending


async def test_a_jpeg_of_very_many_scans(gate: PhotoGate) -> None:
    """Some bytes a scan, and each is a pass over all pixels."""
    data = jpeg_claiming(2200, 2200, progressive=True)
    parts, scans = jpeg_parts(data)
    # The last scan refines a coefficient; without a bit of data it leaves all as they were.
    begin = scans.rindex(b"\xff\xda")
    once = scans[begin : begin + 10]
    assert await within(gate, jpeg_from(parts, scans[:-2] + 5000 * once + b"\xff\xd9"), 5) == "broken_image"


async def test_a_jpeg_of_very_many_segments(gate: PhotoGate) -> None:
    photo = encoded(quadrants())
    few = [jpeg_segment(0xFE, b"x" * 20), jpeg_segment(0xE5, b""), exif_segment(b""), exif_segment(exif(6))]
    # The first EXIF counts.
    many = [exif_segment(exif(1)), *(few * 5000)]
    assert shows_quadrants(await accepted(gate, jpeg_with(photo, *many)))
    assert await within(gate, jpeg_with(photo, jpeg_segment(0xFE, b"") * 5_000_000), 5) == "broken_image"
    assert await within(gate, jpeg_with(photo, b"\xff" * 19_000_000), 5) == "taken"
    assert await within(gate, jpeg_with(photo, b"\xff\xd0" * 9_000_000), 5) == "broken_image"


async def test_a_png_of_very_many_chunks(gate: PhotoGate) -> None:
    photo = encoded(quadrants(), "PNG")
    assert await within(gate, png_with(photo, png_chunk(b"tEXt", b"a\0b") * 1000), 5) == "taken"
    assert await within(gate, png_with(photo, png_chunk(b"teXt", b"") * 1_500_000), 5) == "broken_image"
    start = photo.index(b"IDAT") - 4
    split = photo[:start] + png_chunk(b"IDAT", b"") * 1_500_000 + photo[start:]
    assert await within(gate, split, 5) == "broken_image"


async def test_a_webp_of_very_many_chunks(gate: PhotoGate) -> None:
    few, many = webp_chunk(b"JUNK", b"") * 1000, webp_chunk(b"JUNK", b"") * 2_000_000
    assert await within(gate, webp_with(quadrants(), 0, few), 5) == "taken"
    assert await within(gate, webp_with(quadrants(), 0, many), 5) == "broken_image"


@pytest.mark.parametrize(
    "block", [exif(1, tail=bytes(65_000)), b"Exif\0\0" * 10_000, b"II*\0\x08\0\0\0" + b"\xff" * 65_000]
)
async def test_exif_of_64_kilobytes(gate: PhotoGate, block: bytes) -> None:
    assert shows_quadrants(await accepted(gate, jpeg_with(encoded(quadrants()), exif_segment(block))))
    longer = block * 50
    in_png = png_with(encoded(quadrants(), "PNG"), png_chunk(b"eXIf", longer))
    for data in (in_png, webp_with(quadrants(), 8, webp_chunk(b"EXIF", longer))):
        assert shows_quadrants(await accepted(gate, data))


async def test_xmp_made_to_be_slow(gate: PhotoGate) -> None:
    slow = b"tiff:Orientation" * 20_000 + b"tiff:Orientation" + b" " * 500_000
    data = png_with(encoded(quadrants(), "PNG"), png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + slow))
    assert await within(gate, data, 3) == "taken"


async def test_what_stands_behind_a_files_end_does_not_count(gate: PhotoGate) -> None:
    turned = {
        "JPEG": exif_segment(exif(6)),
        "PNG": png_chunk(b"eXIf", exif(6)),
        "WEBP": webp_chunk(b"EXIF", exif(6)),
    }
    for format, tail in turned.items():
        assert shows_quadrants(await accepted(gate, encoded(quadrants(), format) + tail))


# Second pictures


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
async def test_animations(gate: PhotoGate, format: str) -> None:
    frames = [picture(color=(0, 0, 0)), picture(color=BLUE)]
    data = encoded(picture(), format, save_all=True, append_images=frames, duration=50)
    assert await refusal(gate, data) == "animated_image"


async def test_an_animation_of_one_frame_is_a_picture(gate: PhotoGate) -> None:
    data = png_with(encoded(quadrants(), "PNG"), png_chunk(b"acTL", struct.pack(">II", 1, 0)))
    assert shows_quadrants(await accepted(gate, data))


async def test_an_animation_that_hides_its_number_of_frames(gate: PhotoGate) -> None:
    """Frames behind the pixels, and none announced, are not looked at."""
    frame = png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 160, 96, 0, 0, 1, 1, 0, 0))
    data = encoded(quadrants(), "PNG")
    frame += png_chunk(b"fdAT", bytes(4) + zlib.compress(bytes(97 * 480)))
    assert shows_quadrants(await accepted(gate, data[:-12] + frame + data[-12:]))


async def test_the_first_picture_of_a_cameras_mpo(gate: PhotoGate) -> None:
    second = picture(color=(0, 0, 0))
    data = encoded(quadrants(), "MPO", save_all=True, append_images=[second])
    assert shows_quadrants(await accepted(gate, data))
    # Its directory of pictures damaged in every byte, one after the other.
    start = data.index(b"MPF\0")
    for position in range(start, start + 60, 7):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        assert shows_quadrants(await accepted(gate, bytes(damaged)))


async def test_a_photo_with_a_gain_map(gate: PhotoGate) -> None:
    """Ultra HDR: a JPEG, XMP that names the second, and the second behind it."""
    described = jpeg_segment(0xE1, XMP_START + b'<x hdrgm:Version="1.0"/>')
    two = encoded(quadrants(), "MPO", save_all=True, append_images=[picture("L", color=9)])
    data = jpeg_with(two, described)
    photo = await gate.accept(data)
    assert b"hdrgm" not in photo.jpeg
    assert shows_quadrants(Image.open(io.BytesIO(photo.jpeg)))
