"""HEIC and AVIF: upright, in sRGB, within limits; damage and traps are refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from orchestrator.photos.gate import PhotoGate
from orchestrator.photos.size import UNKNOWN, stated_pixels
from tests.integration.gate import test_fuzz
from tests.integration.gate.test_orientation import lying
from tests.support.gate.colour import P3_PRIMARIES, curve, in_srgb, rgb_profile, srgb_to_linear
from tests.support.gate.files import (
    accepted,
    colour_at,
    distance,
    encoded,
    exif,
    noise,
    picture,
    quadrants,
    refusal,
    shows_quadrants,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORMATS = ["HEIF", "AVIF"]
COLOUR = (200, 60, 20)
IN_P3 = in_srgb(srgb_to_linear(np.array(COLOUR) / 255), P3_PRIMARIES)
"""The sRGB colour that COLOUR is in Display P3."""


def with_size(data: bytes, width: int, height: int) -> bytes:
    """With another size in its header (ispe) than its pixels have."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_every_orientation(gate: PhotoGate, format: str, orientation: int) -> None:
    data = encoded(lying(quadrants(), orientation), format, exif=exif(orientation), quality=95)
    result = await accepted(gate, data)
    assert result.size == (160, 96)
    assert shows_quadrants(result)


@pytest.mark.parametrize("format", FORMATS)
async def test_large_ones_are_scaled_down(gate: PhotoGate, format: str) -> None:
    result = await accepted(gate, encoded(quadrants((2400, 1600)), format))
    assert result.size == (2048, 1365)
    assert shows_quadrants(result)


@pytest.mark.parametrize("format", FORMATS)
async def test_colours_of_a_profile(gate: PhotoGate, format: str) -> None:
    to_linear = curve(srgb_to_linear(np.linspace(0, 1, 1024)))
    profile = rgb_profile(P3_PRIMARIES, to_linear)
    data = encoded(picture(color=COLOUR), format, icc_profile=profile, quality=95)
    assert distance(colour_at(await accepted(gate, data)), IN_P3) <= 6
    assert distance(colour_at(await accepted(gate, encoded(picture(color=COLOUR), format))), COLOUR) <= 6


@pytest.mark.parametrize("format", FORMATS)
async def test_colours_by_number(gate: PhotoGate, format: str) -> None:
    """Of Display P3, as phones write it without a profile."""
    data = encoded(picture(color=COLOUR), format, quality=95)
    place = data.index(b"nclx") + 4
    p3 = data[:place] + struct.pack(">H", 12) + data[place + 2 :]
    assert distance(colour_at(await accepted(gate, p3)), IN_P3) <= 6


@pytest.mark.parametrize("format", FORMATS)
async def test_transparent_parts_become_white(gate: PhotoGate, format: str) -> None:
    image = picture("RGBA", color=(200, 60, 20, 255))
    image.paste((0, 0, 0, 0), (80, 0, 160, 96))
    result = await accepted(gate, encoded(image, format, quality=95))
    assert distance(colour_at(result, 0.75), (255, 255, 255)) <= 6
    assert distance(colour_at(result, 0.25), (200, 60, 20)) <= 6


@pytest.mark.parametrize("format", FORMATS)
async def test_grey_ones(gate: PhotoGate, format: str) -> None:
    result = await accepted(gate, encoded(picture("L", color=90), format, quality=95))
    assert distance(colour_at(result), (90, 90, 90)) <= 6


@pytest.mark.parametrize("format", FORMATS)
async def test_cut_ones_are_refused(gate: PhotoGate, format: str) -> None:
    data = encoded(noise(), format)
    for length in (12, 20, 40, 100, len(data) // 4, len(data) // 2, len(data) - 200, len(data) - 1):
        assert await refusal(gate, data[:length]) in ("broken_image", "unsupported_image"), length


@pytest.mark.parametrize("format", FORMATS)
async def test_sizes_that_lie(gate: PhotoGate, format: str) -> None:
    data = encoded(noise(), format)
    assert stated_pixels(data) == 160 * 96
    assert await refusal(gate, with_size(data, 60_000, 60_000)) == "image_too_large"
    assert await refusal(gate, with_size(data, 2**32 - 1, 2**32 - 1)) == "image_too_large"
    assert await refusal(gate, with_size(data, 0, 0)) == "broken_image"
    if format == "HEIF":
        assert await refusal(gate, with_size(data, 64, 64)) == "broken_image"
    else:
        assert (await accepted(gate, with_size(data, 64, 64))).size == (64, 64), "libavif scales it"
    assert await refusal(gate, with_size(data, 160, 5000)) in ("image_too_narrow", "broken_image")
    assert stated_pixels(data.replace(b"ispe", b"free")) == UNKNOWN
    assert await refusal(gate, encoded(picture(size=(60, 60)), format)) == "image_too_small"
    # Its header states 8 MP, for which the gate has no room, and its pixels are few.
    assert await refusal(gate, with_size(data, 4000, 2000)) == "image_too_large"


async def test_moving_ones_are_refused(gate: PhotoGate) -> None:
    frames = [noise((80, 64)), picture(size=(80, 64))]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert await refusal(gate, data) == "animated_image"
    heic = encoded(picture(), "HEIF")
    for brand in (b"msf1", b"hevc"):
        assert await refusal(gate, heic[:8] + brand + heic[12:]) == "animated_image"


async def test_of_several_pictures_the_primary_one_is_taken(gate: PhotoGate) -> None:
    out = io.BytesIO()
    first, second = quadrants(), picture(size=(160, 96), color=(0, 0, 0))
    first.save(out, "HEIF", save_all=True, append_images=[second], primary_index=0, quality=95)
    assert shows_quadrants(await accepted(gate, out.getvalue()))
    out = io.BytesIO()
    second.save(out, "HEIF", save_all=True, append_images=[first], primary_index=1, quality=95)
    assert shows_quadrants(await accepted(gate, out.getvalue()))


async def test_nothing_of_its_metadata_stays(gate: PhotoGate) -> None:
    for format in FORMATS:
        result = await accepted(gate, encoded(picture(), format, exif=exif(1, tail=b"where I live")))
        assert isinstance(result, Image.Image)  # `accepted` has looked at the segments


async def test_any_damage_ends_in_a_photo_or_a_refusal(
    gate: PhotoGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [encoded(noise((80, 64)), format, exif=exif(6)) for format in FORMATS]
    monkeypatch.setattr(test_fuzz, "SEEDS", seeds)
    endings = await test_fuzz.fuzz(gate, range(10_000, 10_300))
    assert endings["taken"] > 20
    assert endings["broken_image"] > 50
