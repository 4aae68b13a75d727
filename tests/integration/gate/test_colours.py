"""Every kind of pixel and profile comes out as the sRGB colours that its sender sees."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from orchestrator.photos.decoder.picture import QUALITY
from orchestrator.photos.gate import PhotoGate
from tests.support.gate.colour import (
    ADOBE_GAMMA,
    ADOBE_PRIMARIES,
    COLOURS,
    P3_PRIMARIES,
    SRGB_PRIMARIES,
    cmyk_profile,
    curve,
    gamma,
    grey_profile,
    in_srgb,
    linear_to_srgb,
    profile,
    rgb_profile,
    srgb_to_linear,
)
from tests.support.gate.files import (
    GREEN,
    RED,
    Colour,
    accepted,
    colour_at,
    distance,
    encoded,
    flat_png,
    jpeg_from,
    jpeg_parts,
    jpeg_segment,
    jpeg_with,
    noise,
    picture,
    png,
    png_chunk,
    png_file,
    png_header,
    quadrants,
    shows_quadrants,
    webp_chunk,
    webp_with,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SRGB_CURVE = curve(srgb_to_linear(np.linspace(0, 1, 1024)))
LINEAR = b"curv" + bytes(8)
GREY_ICCP = png_chunk(b"iCCP", b"grey\0\0" + zlib.compress(grey_profile(1.0)))
SWAPPED = rgb_profile(SRGB_PRIMARIES[::-1], SRGB_CURVE)
"""Red and blue change places, which shows whether it was used."""


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"subsampling": 0}), ("JPEG", {"keep_rgb": True}),
        ("JPEG", {"restart_marker_blocks": 2}), ("JPEG", {"quality": 30, "optimize": True}),
        ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}),
    ],
)  # fmt: skip
async def test_ordinary_files(gate: PhotoGate, format: str, options: dict[str, Any]) -> None:
    assert shows_quadrants(await accepted(gate, encoded(quadrants(), format, **options)), 25)


@pytest.mark.parametrize(
    ("mode", "color", "format", "expected"),
    [
        ("L", 128, "PNG", (128, 128, 128)),
        ("L", 128, "JPEG", (128, 128, 128)),
        ("L", 128, "WEBP", (128, 128, 128)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), "PNG", (255, 127, 127)),
        ("RGBA", (255, 0, 0, 128), "WEBP", (255, 127, 127)),
        ("RGBA", (0, 0, 0, 0), "WEBP", (255, 255, 255)),
        ("LA", (0, 0), "PNG", (255, 255, 255)),
        ("LA", (100, 128), "PNG", (177, 177, 177)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
    ],
)
async def test_modes(gate: PhotoGate, mode: str, color: Any, format: str, expected: Colour) -> None:
    result = await accepted(gate, encoded(picture(mode, color=color), format))
    assert distance(colour_at(result), expected) <= 4


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # depth, PNG's kind of colour, the samples, then what is transparent
        (flat_png(1, 0, b"\xff"), 255),
        (flat_png(2, 0, b"\x55"), 85),
        (flat_png(4, 0, b"\x66"), 102),
        (flat_png(2, 0, b"\xff", png_chunk(b"tRNS", b"\0\3")), 255),
        (flat_png(2, 0, b"\x55", png_chunk(b"tRNS", b"\0\1")), 255),
        (flat_png(4, 0, b"\x66", png_chunk(b"tRNS", b"\0\6")), 255),
        (flat_png(4, 0, b"\x66", png_chunk(b"tRNS", b"\0\7")), 102),
        (flat_png(1, 0, b"\x00", png_chunk(b"tRNS", b"\0\0")), 255),
        (flat_png(8, 0, b"\x40", png_chunk(b"tRNS", b"\0\x40")), 255),
        (flat_png(8, 4, b"\x40\x80"), 159),
        (flat_png(16, 0, b"\x40\x00"), 64),
        (flat_png(16, 0, b"\x40\x00", png_chunk(b"tRNS", b"\x40\x00")), 255),
        (flat_png(16, 0, b"\x40\x00", png_chunk(b"tRNS", b"\x40\x01")), 64),
        (flat_png(16, 4, b"\x40\x00\x80\x00"), 159),
        (flat_png(8, 2, b"\x40" * 3, png_chunk(b"tRNS", b"\0\x40" * 3)), 255),
        (flat_png(16, 2, b"\x40\x00" * 3), 64),
        (flat_png(16, 2, b"\x40\x00" * 3, png_chunk(b"tRNS", b"\x40\x00" * 3)), 255),
        (flat_png(16, 2, b"\x00\x00" * 3, png_chunk(b"tRNS", b"\x40\x00" * 3)), 0),
        (flat_png(16, 6, b"\x40\x00" * 3 + b"\x80\x00"), 159),
        (flat_png(8, 6, b"\x40" * 3 + b"\x80"), 159),
    ],
)
async def test_every_depth_of_png(gate: PhotoGate, data: bytes, expected: int) -> None:
    assert distance(colour_at(await accepted(gate, data)), (expected,) * 3) <= 1


@pytest.mark.parametrize("kind", [0, 2])
async def test_16_bits_are_rounded_to_8(gate: PhotoGate, kind: int) -> None:
    """Grey exactly; of RGB Pillow takes the upper byte, which is never more than one level too dark."""
    values = np.linspace(0, 65535, 64 * 64).astype(">u2").reshape(64, 64)
    channels = values if kind == 0 else np.repeat(values[..., None], 3, 2)
    result = np.asarray(await accepted(gate, png(64, 64, 16, kind, channels.tobytes())))[..., 0]
    exact = np.round(values.astype(float) * 255 / 65535)
    direct = Image.fromarray(exact.astype(np.uint8)).convert("RGB")
    again = np.asarray(await accepted(gate, encoded(direct, "PNG")))[..., 0].astype(int)
    assert np.abs(result.astype(int) - again).max() <= (0 if kind == 0 else 2)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("alphas", "expected"), [(b"", RED), (b"\xff", RED), (b"\0", (255, 255, 255)), (b"\x80", (237, 142, 142))]
)
async def test_palettes(gate: PhotoGate, depth: int, alphas: bytes, expected: Colour) -> None:
    chunks = [png_chunk(b"PLTE", bytes((*RED, *GREEN)))] + ([png_chunk(b"tRNS", alphas)] if alphas else [])
    assert distance(colour_at(await accepted(gate, flat_png(depth, 3, b"\0", *chunks))), expected) <= 3


async def test_a_palette_as_webp(gate: PhotoGate) -> None:
    data = encoded(quadrants().quantize(8).convert("RGBA"), "WEBP", lossless=True)
    assert shows_quadrants(await accepted(gate, data))


async def test_an_interlaced_png(gate: PhotoGate) -> None:
    """Adam7: seven smaller pictures, each of every eighth, fourth or second pixel."""
    pixels = np.asarray(quadrants())
    passes = [
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ]  # fmt: skip
    data = b""
    for top, left, rows, columns in passes:
        data += b"".join(b"\0" + row.tobytes() for row in pixels[top::rows, left::columns])
    interlaced = png_file(png_header(160, 96, interlaced=True), data)
    assert shows_quadrants(await accepted(gate, interlaced))


# CMYK


def four_channels(colours: tuple[int, int, int, int], transform: int | None = 0, **options: Any) -> bytes:
    """A JPEG with these samples in four channels, and a transform in its Adobe segment (None: no segment)."""
    # Pillow stores CMYK inverted, as Photoshop does.
    image = picture("CMYK", color=tuple(255 - value for value in colours))
    parts, scans = jpeg_parts(encoded(image, quality=95, **options))
    adobe = parts.pop(0xEE)
    if transform is not None:
        parts = {0xEE: adobe[:-1] + bytes((transform,)), **parts}
    return jpeg_from(parts, scans)


@pytest.mark.parametrize("transform", [0, None])
async def test_cmyk_as_photoshop_writes_it(gate: PhotoGate, transform: int | None) -> None:
    """255 is no ink. Without Adobe's segment browsers see the same, and so do we."""
    orange = four_channels((255, 127, 0, 255), transform)
    assert distance(colour_at(await accepted(gate, orange)), (255, 127, 0)) <= 4
    dark = four_channels((255, 255, 255, 64), transform)
    assert distance(colour_at(await accepted(gate, dark)), (64, 64, 64)) <= 4


async def test_ycck(gate: PhotoGate) -> None:
    # The first three hold Y, Cb and Cr of the inks (JFIF); here (C, M, Y) = (0, 128, 255), stored inverted.
    cyan, magenta, yellow = 0, 128, 255
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    blue, red = 128 + 0.564 * (yellow - luma), 128 + 0.713 * (cyan - luma)
    data = four_channels((round(luma), round(blue), round(red), 255), transform=2)
    assert distance(colour_at(await accepted(gate, data)), (255, 127, 0)) <= 5


@pytest.mark.parametrize("progressive", [False, True])
async def test_cmyk_with_the_profile_of_a_press(gate: PhotoGate, progressive: bool) -> None:
    """A press like no other: its cyan prints a middle grey, its black white, everything else black."""
    lab = {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): (50, 0, 0), (0, 0, 0, 1): (100, 0, 0)}
    press = cmyk_profile(lambda *inks: lab.get(inks, (0, 0, 0)))
    expected = {
        (255, 255, 255, 255): (255, 255, 255),
        (0, 255, 255, 255): (119, 119, 119),  # L* = 50
        (255, 255, 255, 0): (255, 255, 255),
        (255, 0, 255, 255): (0, 0, 0),
    }
    for samples, colour in expected.items():
        data = four_channels(samples, icc_profile=press, progressive=progressive)
        assert distance(colour_at(await accepted(gate, data)), colour) <= 4


# Profiles


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("primaries", "trc", "power"),
    [(P3_PRIMARIES, SRGB_CURVE, None), (ADOBE_PRIMARIES, gamma(ADOBE_GAMMA), ADOBE_GAMMA)],
    ids=["Display P3", "Adobe RGB"],
)
async def test_wide_gamuts(
    gate: PhotoGate, format: str, primaries: np.ndarray[Any, Any], trc: bytes, power: float | None
) -> None:
    exact: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}, "PNG": {}}
    for colour in (*COLOURS, (255, 0, 0)):
        values = np.array(colour) / 255
        linear = values**power if power else srgb_to_linear(values)
        data = encoded(
            picture(color=colour), format, icc_profile=rgb_profile(primaries, trc), **exact[format]
        )
        assert distance(colour_at(await accepted(gate, data)), in_srgb(linear, primaries)) <= 4, colour


async def test_16_bits_with_a_profile(gate: PhotoGate) -> None:
    linear = rgb_profile(SRGB_PRIMARIES, LINEAR)
    iccp = png_chunk(b"iCCP", b"linear\0\0" + zlib.compress(linear))
    expected = round(255 * float(linear_to_srgb(0x80 / 255)))
    for kind, alpha in ((2, b""), (6, b"\xff\xff")):
        data = flat_png(16, kind, b"\x80\x00" * 3 + alpha, iccp)
        assert distance(colour_at(await accepted(gate, data)), (expected,) * 3) <= 2


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture("L", color=128), "PNG", icc_profile=grey_profile(1.0)),
        encoded(picture("L", color=128), "JPEG", icc_profile=grey_profile(1.0)),
        encoded(picture("LA", color=(128, 255)), "PNG", icc_profile=grey_profile(1.0)),
        flat_png(16, 0, b"\x80\x80", GREY_ICCP),
        flat_png(16, 4, b"\x80\x80\xff\xff", GREY_ICCP),
        # Grey pixels with an RGB profile are against the rules, but found.
        encoded(picture("L", color=128), "PNG", icc_profile=rgb_profile(SRGB_PRIMARIES, LINEAR)),
        encoded(picture("L", color=128), "JPEG", icc_profile=rgb_profile(SRGB_PRIMARIES, LINEAR)),
    ],
)
async def test_grey_with_a_profile(gate: PhotoGate, data: bytes) -> None:
    assert distance(colour_at(await accepted(gate, data)), (188, 188, 188)) <= 2  # linear light 0.5


async def test_a_profile_in_many_segments(gate: PhotoGate) -> None:
    """JPEG's segments hold 64 kB, so a profile may come in pieces, in any order."""
    padded = SWAPPED + bytes(150_000)
    pieces = [padded[start : start + 60_000] for start in range(0, len(padded), 60_000)]
    segments = [
        jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes((number, len(pieces))) + piece)
        for number, piece in enumerate(pieces, 1)
    ]
    photo = encoded(picture(color=RED))
    whole, backwards = jpeg_with(photo, *segments), jpeg_with(photo, *segments[::-1])
    for data in (whole, backwards):
        assert distance(colour_at(await accepted(gate, data)), RED[::-1]) <= 8
    assert distance(colour_at(await accepted(gate, jpeg_with(photo, *segments[1:]))), RED) <= 8


PASSED_OVER = {
    "not a profile": b"this is not a profile",
    "empty": b"",
    "cut short": SWAPPED[:200],
    "of another space": profile(b"CMYK", {}, pcs=b"Lab ", kind=b"prtr"),
    "of a press": cmyk_profile(lambda *inks: (0, 0, 0)),
    "of grey": grey_profile(1.0),
    "of no device": SWAPPED[:12] + b"link" + SWAPPED[16:],
    "Lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    "tags that point outside": SWAPPED[:132] + b"\xff" * 100 + SWAPPED[232:],
    "huge": SWAPPED + bytes(5_000_000),
}


@pytest.mark.parametrize("name", PASSED_OVER)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
async def test_a_useless_profile_does_not_cost_the_photo(gate: PhotoGate, format: str, name: str) -> None:
    bad = PASSED_OVER[name]
    if format == "PNG":
        data = flat_png(8, 2, bytes(RED), png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bad)))
    elif format == "WEBP":
        data = webp_with(picture(color=RED), 0x20, webp_chunk(b"ICCP", bad))
    else:
        data = encoded(picture(color=RED), icc_profile=bad)
    assert distance(colour_at(await accepted(gate, data)), RED) <= 8


async def test_a_profile_that_explodes(gate: PhotoGate) -> None:
    for body in (b"x\0\0" + zlib.compress(bytes(50_000_000), 9), b"x\0\0" + b"\xff" * 100, b"x", b""):
        data = flat_png(8, 2, bytes(RED), png_chunk(b"iCCP", body))
        assert distance(colour_at(await accepted(gate, data)), RED) <= 4


async def test_a_profile_is_used_at_all(gate: PhotoGate) -> None:
    """What gives the tests above their meaning."""
    for format in ("JPEG", "PNG", "WEBP"):
        result = await accepted(gate, encoded(picture(color=RED), format, icc_profile=SWAPPED))
        assert distance(colour_at(result), RED[::-1]) <= 8


async def test_detail_survives(gate: PhotoGate) -> None:
    """Pixels that need no change are encoded once, at a high quality, and nothing else happens to them."""
    result = await gate.accept(encoded(noise(), "PNG"))
    assert result.jpeg == encoded(noise(), quality=QUALITY)
    assert QUALITY >= 95
