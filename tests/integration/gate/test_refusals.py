"""What is not taken, by which code, and with a sentence that tells its sender what to do."""

from __future__ import annotations

import struct

import pytest

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.files import (
    accepted,
    encoded,
    jpeg_from,
    jpeg_parts,
    noise,
    picture,
    png_claiming,
    refusal,
    refused,
    webp,
    webp_canvas,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def iso_media(brand: bytes, *others: bytes) -> bytes:
    """The beginning of a HEIC, AVIF or MP4 file (ISO/IEC 14496-12)."""
    body = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(100)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (iso_media(b"heic", b"mif1", b"heic"), "HEIC"),
        (iso_media(b"mif1", b"mif1", b"heic"), "HEIC"),
        (iso_media(b"heix"), "HEIC"),
        (encoded(picture(), "AVIF"), "AVIF"),
        (iso_media(b"mif1", b"mif1", b"avif"), "AVIF"),
        (iso_media(b"qt  "), "video"),
        (iso_media(b"isom", b"mp42"), "video"),
        (encoded(picture(), "GIF"), "GIF"),
        (encoded(picture(), "TIFF"), "TIFF"),
        (b"MM\0*" + bytes(100), "TIFF"),
        (encoded(picture(), "BMP"), "BMP"),
        (encoded(picture(), "JPEG2000", no_jp2=False), "JPEG 2000"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"8BPS\0\1" + bytes(50), "Photoshop"),
        (b"PK\x03\x04" + bytes(50), "ZIP"),
        (encoded(picture(), "PDF"), "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"\n <html><body onload=alert(1)>", "web page"),
        (b"hello", "JPEG"),
        (b"\xff\xd8", "JPEG"),
        (b"RIFF\x10\0\0\0AVI LIST", "JPEG"),
        (b"\0", "JPEG"),
    ],
)
async def test_other_files_are_called_by_their_name(gate: PhotoGate, data: bytes, name: str) -> None:
    rejected = await refused(gate, data)
    assert rejected.code == "unsupported_image"
    assert name in rejected.detail
    assert "JPEG" in rejected.detail  # what to send instead


async def test_a_heic_tells_what_to_do_on_a_phone(gate: PhotoGate) -> None:
    assert "Most Compatible" in (await refused(gate, iso_media(b"heic"))).detail


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"\xff\xd8\xff", "broken_image"),
        (b"\xff\xd8\xff\xd9", "broken_image"),
        (b"\xff\xd8\xff\xe0", "broken_image"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "broken_image"),
        (b"\x89PNG\r\n\x1a\n", "broken_image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "broken_image"),
        (b"RIFF\x10\0\0\0WEBP", "broken_image"),
        (webp(), "broken_image"),
        (webp(webp_canvas(200, 200)), "broken_image"),
        (webp(webp_canvas(1, 1)), "image_too_small"),
    ],
)
async def test_files_that_only_begin_like_pictures(gate: PhotoGate, data: bytes, code: str) -> None:
    assert await refusal(gate, data) == code


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((64, 64), None),
        ((63, 64), "image_too_small"),
        ((64, 63), "image_too_small"),
        ((1, 1), "image_too_small"),
        ((1, 3000), "image_too_small"),
        ((3000, 1), "image_too_small"),
        ((400, 100), None),
        ((100, 400), None),
        ((401, 100), "image_too_narrow"),
        ((100, 401), "image_too_narrow"),
        ((257, 64), "image_too_narrow"),
        ((2500, 2000), None),
        ((2501, 2000), "image_too_large"),
        ((16384, 64), "image_too_narrow"),
        ((16385, 64), "image_too_large"),
        ((64, 16385), "image_too_large"),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
async def test_sizes(gate: PhotoGate, format: str, size: tuple[int, int], code: str | None) -> None:
    # A WebP's canvas may be larger than its pixels can be.
    header_alone = format == "WEBP" and max(size) > 16383
    data = webp(webp_canvas(*size)) if header_alone else encoded(picture("L", size, 128), format)
    if code is None:
        width, height = (min(side, side * 2048 // max(size)) for side in size)
        assert (await accepted(gate, data)).size == (width, height)
    else:
        rejected = await refused(gate, data)
        assert rejected.code == code
        assert f"{size[0]}x{size[1]}" in rejected.detail


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.7, 0.95, 0.999])
async def test_truncated_pictures(gate: PhotoGate, format: str, kept: float) -> None:
    data = encoded(noise(), format)
    assert await refusal(gate, data[: int(len(data) * kept)]) == "broken_image"


async def test_a_png_without_its_last_chunk_is_whole(gate: PhotoGate) -> None:
    assert (await accepted(gate, encoded(picture(), "PNG")[:-12])).size == (160, 96)


async def test_damaged_pixels_of_a_png(gate: PhotoGate) -> None:
    data = bytearray(encoded(noise(), "PNG", compress_level=0))
    data[5000] ^= 1
    assert await refusal(gate, bytes(data)) == "broken_image"


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE])
async def test_rare_kinds_of_jpeg(gate: PhotoGate, marker: int) -> None:
    parts, scans = jpeg_parts(encoded(picture()))
    data = jpeg_from({marker if kind == 0xC0 else kind: body for kind, body in parts.items()}, scans)
    assert await refusal(gate, data) == "unsupported_image"


@pytest.mark.parametrize(("position", "value"), [(0, 12), (5, 2), (5, 5)])
async def test_rare_pixels_of_a_jpeg(gate: PhotoGate, position: int, value: int) -> None:
    """12 bits; two and five channels."""
    parts, scans = jpeg_parts(encoded(picture()))
    frame = bytearray(parts[0xC0])
    frame[position] = value
    assert await refusal(gate, jpeg_from({**parts, 0xC0: bytes(frame)}, scans)) == "unsupported_image"


@pytest.mark.parametrize("frame", [0xC9, 0xCA])
async def test_arithmetic_coding_is_read(gate: PhotoGate, frame: int) -> None:
    """The decoder of arithmetic codes makes some picture of any bytes, zeros too: what counts is that it runs."""
    parts, scans = jpeg_parts(encoded(picture()))
    parts = {kind: body for kind, body in parts.items() if kind != 0xC4}
    parts = {frame if kind == 0xC0 else kind: body for kind, body in parts.items()}
    header = scans[:14] if frame == 0xC9 else scans[:11] + bytes(3)  # a progressive one begins with DC alone
    assert (await accepted(gate, jpeg_from(parts, header + bytes(100) + b"\xff\xd9"))).size == (160, 96)


@pytest.mark.parametrize("size", [(0, 0), (0, 100), (100, 0)])
async def test_no_size_at_all(gate: PhotoGate, size: tuple[int, int]) -> None:
    parts, scans = jpeg_parts(encoded(picture()))
    frame = parts[0xC0][:1] + struct.pack(">HH", *size) + parts[0xC0][5:]
    assert await refusal(gate, jpeg_from({**parts, 0xC0: frame}, scans)) == "broken_image"
    assert await refusal(gate, png_claiming(*size)) == "image_too_small"
