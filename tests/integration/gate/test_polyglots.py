"""Files that are more than a photo: what is appended to one, or stands in its metadata, does not get through."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest
from PIL import Image, PngImagePlugin

from orchestrator.photos.gate import PhotoGate
from tests.support.gate.files import (
    XMP_START,
    encoded,
    exif,
    exif_segment,
    jpeg_segment,
    jpeg_with,
    png_chunk,
    png_with,
    quadrants,
    shows_quadrants,
    webp_chunk,
    webp_with,
    xmp,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = b"<?php system($_GET['c']); ?><script>alert(1)</script>"


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", SECRET)
    return out.getvalue()


def info() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("Comment", SECRET.decode())
    made.add_itxt("Author", SECRET.decode())
    return made


def photoshop() -> bytes:
    iptc = b"\x1c\x02\x78" + struct.pack(">H", len(SECRET)) + SECRET
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc
    return jpeg_segment(0xED, b"Photoshop 3.0\0" + resource)


JPEG = encoded(quadrants())
PNG_FILE = encoded(quadrants(), "PNG")
WEBP = encoded(quadrants(), "WEBP")

CARRIERS: dict[str, Callable[[], bytes]] = {
    "JPEG + ZIP (a JAR)": lambda: JPEG + archive(),
    "JPEG + HTML": lambda: JPEG + b"<html>" + SECRET,
    "JPEG that begins as a script": lambda: jpeg_with(JPEG, jpeg_segment(0xE0, b"/*" + SECRET + b"*/=1;")),
    "PDF in a JPEG": lambda: jpeg_with(JPEG, jpeg_segment(0xFE, b"%PDF-1.4 " + SECRET)),
    "comment": lambda: encoded(quadrants(), comment=SECRET),
    "EXIF": lambda: jpeg_with(JPEG, exif_segment(exif(1, tail=SECRET))),
    "XMP": lambda: jpeg_with(JPEG, jpeg_segment(0xE1, XMP_START + xmp(1) + SECRET)),
    "IPTC": lambda: jpeg_with(JPEG, photoshop()),
    "JFIF's thumbnail": lambda: jpeg_with(JPEG, jpeg_segment(0xE0, b"JFXX\0\x10" + SECRET)),
    "padding of JFIF": lambda: jpeg_with(JPEG, jpeg_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0" + SECRET)),
    "padding of Adobe": lambda: jpeg_with(JPEG, jpeg_segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)),
    "between segments": lambda: JPEG[:20] + SECRET + JPEG[20:],
    "ICC profile": lambda: encoded(quadrants(), icc_profile=SECRET),
    "PNG + PHP": lambda: PNG_FILE + SECRET,
    "PNG text": lambda: encoded(quadrants(), "PNG", pnginfo=info()),
    "PNG private chunk": lambda: png_with(PNG_FILE, png_chunk(b"prVt", SECRET)),
    "PNG behind the pixels": lambda: PNG_FILE[:-12] + png_chunk(b"tEXt", b"a\0" + SECRET) + PNG_FILE[-12:],
    "WebP + ZIP": lambda: WEBP + archive(),
    "WebP chunk": lambda: webp_with(quadrants(), 0, webp_chunk(b"JUNK", SECRET)),
    "WebP EXIF": lambda: webp_with(quadrants(), 8, webp_chunk(b"EXIF", exif(1, tail=SECRET))),
}


@pytest.mark.parametrize("name", CARRIERS)
async def test_nothing_but_pixels_goes_on(gate: PhotoGate, name: str) -> None:
    data = CARRIERS[name]()
    assert SECRET in data or name.endswith(("ZIP", "(a JAR)"))
    photo = await gate.accept(data)
    assert shows_quadrants(Image.open(io.BytesIO(photo.jpeg)))
    traces = (b"<?php", b"<script", b"META-INF", b"PK\x03", b"PDF", b"Exif", b"ICC_PROFILE", b"8BIM", b"xap")
    assert [trace for trace in traces if trace in photo.jpeg] == []
    # The same picture without the burden gives the same bytes: nothing can hide in them.
    plain = {"JPEG": JPEG, "PNG ": PNG_FILE, "WebP": WEBP}.get(name[:4], JPEG)
    assert photo.jpeg == (await gate.accept(plain)).jpeg


async def test_where_a_photo_was_taken_is_forgotten(gate: PhotoGate) -> None:
    written = Image.Exif()
    written[0x010F] = "A camera"
    written.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    for format in ("JPEG", "PNG", "WEBP"):
        photo = await gate.accept(encoded(quadrants(), format, exif=written))
        image = Image.open(io.BytesIO(photo.jpeg))
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert b"camera" not in photo.jpeg
