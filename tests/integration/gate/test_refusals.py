"""What is not taken, by which code, and with a sentence that explains what to send instead."""

from __future__ import annotations

import struct

import pytest

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.files import (
    PNG,
    accepted,
    encoded,
    jpeg_from,
    jpeg_parts,
    jpeg_with_frame,
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


OTHERS = {
    "video": [iso_media(b"qt  "), iso_media(b"isom", b"mp42")],
    "GIF": [encoded(picture(), "GIF")],
    "TIFF": [encoded(picture(), "TIFF"), b"MM\0*" + bytes(100)],
    "BMP": [encoded(picture(), "BMP")],
    "JPEG 2000": [encoded(picture(), "JPEG2000", no_jp2=False)],
    "JPEG XL": [b"\xff\x0a" + bytes(50)],
    "Photoshop": [b"8BPS\0\1" + bytes(50)],
    "ZIP": [b"PK\x03\x04" + bytes(50)],
    "PDF": [encoded(picture(), "PDF")],
    "SVG": [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>"],
    "web page": [b"<!DOCTYPE html><html><body>Not found</body></html>", b"\n <html><body onload=alert(1)>"],
    "JPEG": [b"hello", b"\xff\xd8", b"RIFF\x10\0\0\0AVI LIST", b"\0"],
}
"""Files that are not taken, by what the refusal calls them."""


@pytest.mark.parametrize(("name", "data"), [(name, data) for name in OTHERS for data in OTHERS[name]])
async def test_other_files_are_called_by_their_name(gate: PhotoGate, name: str, data: bytes) -> None:
    rejected = await refused(gate, data)
    assert rejected.code == "unsupported_image"
    assert name in rejected.detail
    assert "JPEG" in rejected.detail  # what to send instead


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0", b"\xff\xd8" + b"\xff" * 1_000_000,
        PNG, PNG + bytes(100), b"RIFF\x10\0\0\0WEBP", webp(), webp(webp_canvas(200, 200)),
        iso_media(b"heic", b"mif1"), iso_media(b"mif1", b"avif"),
    ],
)  # fmt: skip
async def test_files_that_only_begin_like_pictures(gate: PhotoGate, data: bytes) -> None:
    assert await refusal(gate, data) == "broken_image"


async def test_an_empty_file(gate: PhotoGate) -> None:
    assert await refusal(gate, b"") == "empty_file"


SIZES: dict[str | None, list[tuple[int, int]]] = {
    None: [(64, 64), (400, 100), (100, 400), (2500, 2000)],
    "image_too_small": [(63, 64), (64, 63), (1, 1), (1, 3000), (3000, 1)],
    "image_too_narrow": [(401, 100), (100, 401), (257, 64), (16384, 64)],
    "image_too_large": [(2501, 2000), (16385, 64), (64, 16385)],
}


@pytest.mark.parametrize(("code", "size"), [(code, size) for code in SIZES for size in SIZES[code]])
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
    data = jpeg_with_frame(encoded(picture()), {position: value})
    assert await refusal(gate, data) == "unsupported_image"


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
    sides = dict(enumerate(struct.pack(">HH", *size), 1))
    assert await refusal(gate, jpeg_with_frame(encoded(picture()), sides)) == "broken_image"
    assert await refusal(gate, png_claiming(*size)) == "image_too_small"
