"""The upload gate: what passes comes out upright, sRGB, 8 bit, small enough and clean; the rest is named."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from orchestrator.uploads import Photo, PhotoGate, PhotoRejected
from orchestrator.uploads.decoder import QUALITY, webp_size

MAX_PIXELS = 4_000_000


@pytest.fixture
async def gate() -> AsyncIterator[PhotoGate]:
    async with PhotoGate(MAX_PIXELS, processes=1) as gate:
        yield gate


def picture(mode: str = "RGB", size: tuple[int, int] = (160, 96), color: Any = (200, 60, 20)) -> Image.Image:
    return Image.new(mode, size, color)


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def opened(photo: Photo) -> Image.Image:
    image = Image.open(io.BytesIO(photo.jpeg))
    image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (photo.width, photo.height))
    return image


async def refusal(gate: PhotoGate, data: bytes) -> str:
    with pytest.raises(PhotoRejected) as caught:
        await gate.accept(data)
    return caught.value.code


def close_to(image: Image.Image, color: tuple[int, int, int], tolerance: int = 4) -> bool:
    middle = np.asarray(image)[image.height // 2, image.width // 2].astype(int)
    return bool(np.abs(middle - color).max() <= tolerance)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
async def test_takes_the_three_formats(gate: PhotoGate, format: str) -> None:
    photo = await gate.accept(encoded(picture(), format))
    assert (photo.width, photo.height) == (160, 96)
    assert close_to(opened(photo), (200, 60, 20), 8)


@pytest.mark.parametrize(
    ("mode", "color", "format", "expected"),
    [
        ("L", 128, "PNG", (128, 128, 128)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("I;16", 0x8000, "PNG", (128, 128, 128)),
        ("RGBA", (255, 0, 0, 128), "PNG", (255, 127, 127)),
        ("LA", (0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (0, 0, 0, 0), "WEBP", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
    ],
)
async def test_converts_every_mode(
    gate: PhotoGate, mode: str, color: Any, format: str, expected: tuple[int, int, int]
) -> None:
    photo = await gate.accept(encoded(picture(mode, color=color), format))
    assert close_to(opened(photo), expected)


async def test_converts_palettes_with_a_transparent_entry(gate: PhotoGate) -> None:
    image = picture().quantize(2)
    data = encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    assert close_to(opened(await gate.accept(data)), (255, 255, 255))


async def test_applies_the_orientation_and_drops_metadata(gate: PhotoGate) -> None:
    image = picture()
    image.paste((0, 0, 255), (0, 0, 80, 96))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[1] = "N"
    result = opened(await gate.accept(encoded(image, exif=exif, comment=b"at home")))
    assert result.size == (96, 160)
    assert result.getpixel((48, 20))[2] > 200 > result.getpixel((48, 140))[0] - 50  # type: ignore[index]
    assert not result.getexif()
    assert "comment" not in result.info
    assert "exif" not in result.info
    assert "icc_profile" not in result.info


async def test_damaged_exif_does_not_cost_the_photo(gate: PhotoGate) -> None:
    data = encoded(picture(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(range(40)))
    assert (await gate.accept(data)).width == 160


async def test_converts_colours_to_srgb(gate: PhotoGate) -> None:
    # A profile that swaps nothing but the transfer curve: linear light 0.5 is 188 in sRGB.
    profile = linear_rgb_profile()
    data = encoded(picture(color=(128, 128, 128)), "PNG", icc_profile=profile)
    assert close_to(opened(await gate.accept(data)), (188, 188, 188), 3)


async def test_passes_over_a_profile_that_is_none(gate: PhotoGate) -> None:
    data = encoded(picture(), "PNG", icc_profile=b"this is not a profile")
    assert close_to(opened(await gate.accept(data)), (200, 60, 20), 8)


async def test_scales_large_photos_down(gate: PhotoGate) -> None:
    for format in ("JPEG", "PNG"):
        photo = await gate.accept(encoded(picture(size=(2500, 1000)), format))
        assert (photo.width, photo.height) == (2048, 819)


async def test_keeps_detail(gate: PhotoGate) -> None:
    noise = np.random.default_rng(0).normal(128, 20, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    source = Image.fromarray(noise)
    result = opened(await gate.accept(encoded(source, "PNG")))
    direct = Image.open(io.BytesIO(encoded(source, "JPEG", quality=QUALITY)))
    assert np.array_equal(np.asarray(result), np.asarray(direct))


async def test_takes_the_first_picture_of_a_cameras_mpo(gate: PhotoGate) -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture(color=(0, 0, 0))])
    assert close_to(opened(await gate.accept(data)), (200, 60, 20), 8)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
async def test_refuses_animations(gate: PhotoGate, format: str) -> None:
    data = encoded(picture(), format, save_all=True, append_images=[picture(color=(0, 0, 0))], duration=50)
    assert await refusal(gate, data) == "animated_image"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"hello", "unsupported_image"),
        (encoded(picture(), "GIF"), "unsupported_image"),
        (encoded(picture(), "TIFF"), "unsupported_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image"),
        (b"\xff\xd8\xff", "broken_image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "broken_image"),
        (b"RIFF\x10\0\0\0WEBP", "broken_image"),
        (b"RIFF\x10\0\0\0WEBPVP8X" + bytes(30), "image_too_small"),
        (encoded(picture(size=(63, 200))), "image_too_small"),
        (encoded(picture(size=(401, 100))), "image_too_narrow"),
        (encoded(picture(size=(100, 401))), "image_too_narrow"),
        (encoded(picture(size=(2001, 2000)), "PNG"), "image_too_large"),
        (encoded(picture("L", size=(16385, 64), color=0), "PNG"), "image_too_large"),
    ],
)
async def test_names_what_is_wrong(gate: PhotoGate, data: bytes, code: str) -> None:
    assert await refusal(gate, data) == code


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
async def test_refuses_truncated_pictures(gate: PhotoGate, format: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    assert await refusal(gate, data[: int(len(data) * kept)]) == "broken_image"


async def test_refuses_a_bomb_by_its_header(gate: PhotoGate) -> None:
    assert await refusal(gate, png_claiming(50_000, 50_000)) == "image_too_large"
    assert await refusal(gate, webp_claiming(16_000, 16_000)) == "image_too_large"


async def test_goes_on_after_a_decoder_was_killed(gate: PhotoGate) -> None:
    good = encoded(picture())
    await gate.accept(good)
    gate._idle[0]._process.kill()
    await gate._idle[0]._process.wait()
    assert (await gate.accept(good)).width == 160


async def test_the_largest_pictures_fit_into_the_memory_that_is_given() -> None:
    async with PhotoGate(40_000_000, processes=1) as gate:
        for mode, format in (("RGBA", "PNG"), ("CMYK", "JPEG"), ("I;16", "PNG")):
            photo = await gate.accept(encoded(Image.new(mode, (6300, 6300)), format))
            assert photo.width == 2048


async def test_answers_do_not_mix() -> None:
    sizes = [(64 + n, 64) for n in range(12)]
    async with PhotoGate(40_000_000, processes=2) as gate:
        photos = await asyncio.gather(*(gate.accept(encoded(picture(size=size))) for size in sizes))
        assert [(photo.width, photo.height) for photo in photos] == sizes
        given_up = asyncio.create_task(gate.accept(slow_picture()))
        await asyncio.sleep(0.05)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await gate.accept(encoded(picture()))).width == 160


async def test_time_is_bounded() -> None:
    async with PhotoGate(40_000_000, processes=1, seconds=0.1) as gate:
        assert await refusal(gate, slow_picture()) == "broken_image"
    async with PhotoGate(40_000_000, processes=1, seconds=10) as gate:
        assert (await gate.accept(slow_picture())).width == 2048


def slow_picture() -> bytes:
    """Takes half a second or more."""
    return encoded(picture("RGBA", (5000, 5000), (1, 2, 3, 128)), "PNG", compress_level=1)


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0II*\0"}])
def test_reads_a_webps_size_from_its_header(options: dict[str, Any]) -> None:
    assert webp_size(encoded(picture(size=(300, 200)), "WEBP", **options)) == (300, 200)


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def webp_claiming(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + body


def linear_rgb_profile() -> bytes:
    """sRGB's profile with its curves replaced by straight lines."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    for index in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + 12] = b"curv" + bytes(8)  # a curve of no points is the identity
    return bytes(profile)
