"""Every photo comes out upright, wherever its file states the orientation."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.colour import P3_PRIMARIES, curve, in_srgb, rgb_profile, srgb_to_linear
from tests.support.gate.files import (
    XMP_START,
    accepted,
    colour_at,
    distance,
    encoded,
    exif,
    exif_segment,
    jpeg_segment,
    jpeg_with,
    noise,
    picture,
    png_chunk,
    png_with,
    quadrants,
    shows_quadrants,
    webp_chunk,
    webp_with,
    xmp,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROW_AND_COLUMN_0 = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip
"""What a stored picture's first row and first column are of the scene (Exif 2.32, tag 274)."""


def lying(image: Image.Image, orientation: int) -> Image.Image:
    """As a camera stores it that was held so."""
    pixels = np.asarray(image)
    row, column = ROW_AND_COLUMN_0[orientation]
    if row in ("left", "right"):
        pixels = pixels.swapaxes(0, 1)
    if row in ("bottom", "right"):
        pixels = pixels[::-1]
    if column in ("bottom", "right"):
        pixels = pixels[:, ::-1]
    return Image.fromarray(pixels)


def stored(image: Image.Image, format: str, block: bytes) -> bytes:
    if format == "JPEG":
        return jpeg_with(encoded(image, quality=95), exif_segment(block))
    if format == "PNG":
        return png_with(encoded(image, "PNG"), png_chunk(b"eXIf", block))
    return webp_with(image, 0x08, webp_chunk(b"EXIF", block))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
async def test_all_eight_in_every_format(gate: PhotoGate, format: str, orientation: int) -> None:
    result = await accepted(gate, stored(lying(quadrants(), orientation), format, exif(orientation)))
    assert result.size == (160, 96)
    assert shows_quadrants(result)


@pytest.mark.parametrize(
    "block",
    [
        exif(6, order=">"), exif(6, kind=4), exif(6, kind=1), b"Exif\0\0" + exif(6), exif(6, tail=bytes(50_000)),
    ],
)  # fmt: skip
async def test_however_it_is_written(gate: PhotoGate, block: bytes) -> None:
    assert shows_quadrants(await accepted(gate, stored(lying(quadrants(), 6), "JPEG", block)))


@pytest.mark.parametrize("orientation", range(2, 9))
async def test_together_with_a_profile_and_a_scaled_decode(gate: PhotoGate, orientation: int) -> None:
    # Wide enough that libjpeg decodes it at half its size.
    scene = picture(size=(4200, 1100), color=(200, 60, 20))
    scene.paste((60, 120, 200), (0, 0, 2100, 1100))
    to_linear = curve(srgb_to_linear(np.linspace(0, 1, 1024)))
    data = encoded(lying(scene, orientation), icc_profile=rgb_profile(P3_PRIMARIES, to_linear))
    result = await accepted(gate, jpeg_with(data, exif_segment(exif(orientation))))
    assert result.size == (2048, 536)
    for place, colour in ((0.2, (60, 120, 200)), (0.8, (200, 60, 20))):
        expected = in_srgb(srgb_to_linear(np.array(colour) / 255), P3_PRIMARIES)
        assert distance(colour_at(result, place), expected) <= 4


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
async def test_by_xmp_alone(gate: PhotoGate, format: str) -> None:
    image = lying(quadrants(), 8)
    data = {
        "JPEG": jpeg_with(encoded(image), jpeg_segment(0xE1, XMP_START + xmp(8))),
        "PNG": png_with(encoded(image, "PNG"), png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8))),
        "WEBP": webp_with(image, 0x04, webp_chunk(b"XMP ", xmp(8))),
    }[format]
    assert shows_quadrants(await accepted(gate, data))


async def test_exif_wins_over_xmp(gate: PhotoGate) -> None:
    other = jpeg_segment(0xE1, XMP_START + xmp(3))
    data = jpeg_with(encoded(lying(quadrants(), 6)), other, exif_segment(exif(6)))
    assert shows_quadrants(await accepted(gate, data))


async def test_a_pngs_exif_behind_its_pixels(gate: PhotoGate) -> None:
    data = encoded(lying(quadrants(), 6), "PNG")
    assert shows_quadrants(await accepted(gate, data[:-12] + png_chunk(b"eXIf", exif(6)) + data[-12:]))


@pytest.mark.parametrize(
    "block",
    [
        exif(0), exif(9), exif(65535), exif(None), exif(6, kind=2), exif(6)[:14],
        b"II*\0\xff\xff\xff\xff" + bytes(range(40)), b"MM\0*\0\0\0\x08\xff\xff" + bytes(30), b"portrait", b"",
    ],
)  # fmt: skip
async def test_a_damaged_value_leaves_the_picture_as_it_is(gate: PhotoGate, block: bytes) -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        assert shows_quadrants(await accepted(gate, stored(quadrants(), format, block)))


async def test_damage_elsewhere_in_the_exif_does_not_matter(gate: PhotoGate) -> None:
    """A camera's odd tags must not cost the orientation: here one points far behind the block's end."""
    block = bytearray(exif(6))
    block[8:10] = (2).to_bytes(2, "little")
    odd = bytes.fromhex("0f01 0200 ffff0000 ffffff7f")
    data = stored(lying(quadrants(), 6), "JPEG", bytes(block[:10]) + odd + bytes(block[10:]))
    assert shows_quadrants(await accepted(gate, data))


async def test_detail_is_not_lost_by_turning(gate: PhotoGate) -> None:
    upright, turned = encoded(noise(), "PNG"), stored(lying(noise(), 6), "PNG", exif(6))
    assert (await gate.accept(upright)).jpeg == (await gate.accept(turned)).jpeg


def raw_profile(name: str, block: bytes) -> bytes:
    """As ImageMagick writes into a PNG's text what PNG had no chunk for."""
    digits = block.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join(("", name, f"{len(block):8d}", *lines, "")).encode()


def text_chunk(kind: str, keyword: str, text: bytes) -> bytes:
    packed = zlib.compress(text)
    body = {"tEXt": text, "zTXt": b"\0" + packed, "iTXt": b"\1\0en\0\0" + packed}[kind]
    return png_chunk(kind.encode(), keyword.encode() + b"\0" + body)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("exif", b"Exif\0\0" + exif(6)), ("exif", exif(6, order=">")), ("APP1", b"Exif\0\0" + exif(6)),
        ("APP1", XMP_START + xmp(6)), ("xmp", xmp(6)),
    ],
)  # fmt: skip
async def test_a_profile_in_a_pngs_text(gate: PhotoGate, kind: str, name: str, block: bytes) -> None:
    chunk = text_chunk(kind, f"Raw profile type {name}", raw_profile(name.lower(), block))
    data = encoded(lying(quadrants(), 6), "PNG")
    for written in (png_with(data, chunk), data[:-12] + chunk + data[-12:]):
        assert shows_quadrants(await accepted(gate, written))
    # The chunk that is made for it wins.
    upright = encoded(quadrants(), "PNG")
    assert shows_quadrants(await accepted(gate, png_with(upright, chunk, png_chunk(b"eXIf", exif(1)))))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\nexif\n", b"\nexif\n 10\nxyz", b"\nexif\n 3\n454", b"\nexif\n 99999999\n" + b"45" * 90,
        b"\xff" * 99,
    ],
)  # fmt: skip
async def test_a_damaged_profile_in_a_pngs_text(gate: PhotoGate, text: bytes) -> None:
    for kind in ("tEXt", "zTXt", "iTXt"):
        chunk = text_chunk(kind, "Raw profile type exif", text)
        assert shows_quadrants(await accepted(gate, png_with(encoded(quadrants(), "PNG"), chunk)))


USELESS = [b"", bytes(50), b"II*\0", exif(None), exif(0), exif(9), exif(6)[:14]]


@pytest.mark.parametrize("block", USELESS)
async def test_a_useless_block_before_the_real_one(gate: PhotoGate, block: bytes) -> None:
    image = lying(quadrants(), 6)
    jpeg = jpeg_with(encoded(image, quality=95), exif_segment(block), exif_segment(exif(6)))
    png = png_with(encoded(image, "PNG"), png_chunk(b"eXIf", block), png_chunk(b"eXIf", exif(6)))
    webp = webp_with(image, 0x08, webp_chunk(b"EXIF", block), webp_chunk(b"EXIF", b"Exif\0\0" + exif(6)))
    for data in (jpeg, png, webp):
        assert shows_quadrants(await accepted(gate, data))


async def test_useless_xmp_before_the_real_one(gate: PhotoGate) -> None:
    image = lying(quadrants(), 6)
    segments = [jpeg_segment(0xE1, XMP_START), jpeg_segment(0xE1, XMP_START + xmp(6)), exif_segment(b"")]
    jpeg = jpeg_with(encoded(image, quality=95), *segments)
    webp = webp_with(image, 0x04, webp_chunk(b"XMP ", b"<x/>"), webp_chunk(b"XMP ", xmp(6)))
    for data in (jpeg, webp):
        assert shows_quadrants(await accepted(gate, data))


async def test_pillow_turns_them_too() -> None:
    """Pillow reads these files as we do."""
    image = lying(quadrants(), 6)
    chunk = text_chunk("zTXt", "Raw profile type exif", raw_profile("exif", b"Exif\0\0" + exif(6)))
    empty_first = jpeg_with(encoded(image, quality=95), exif_segment(b""), exif_segment(exif(6)))
    for data in (png_with(encoded(image, "PNG"), chunk), empty_first):
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert shows_quadrants(upright)
