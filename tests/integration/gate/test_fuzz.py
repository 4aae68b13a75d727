"""Any damage at all ends in a photo or a refusal."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from orchestrator.photos.gate import PhotoGate, PhotoRejected
from orchestrator.ports import Unavailable
from tests.support.gate.files import encoded, exif, flat_png, noise, png_chunk

pytestmark = pytest.mark.asyncio(loop_scope="module")


def damaged(seed: int) -> bytes:
    """One of a few good files, with some of its bytes changed, repeated, moved or left out."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 6)):
        position = (
            chance.randrange(len(data)) if chance.random() < 0.5 else chance.randrange(min(200, len(data)))
        )
        length = chance.choice((1, 1, 2, 4, 30))
        match chance.randrange(6):
            case 0:
                data[position] ^= 1 << chance.randrange(8)
            case 1:
                data[position : position + length] = bytes(
                    chance.choice((0, 255, 127)) for _ in range(length)
                )
            case 2:
                del data[position : position + length]
            case 3:
                data[position:position] = data[position : position + length] * chance.randint(1, 20)
            case 4:
                other = chance.choice(SEEDS)
                start = chance.randrange(len(other))
                data[position : position + length] = other[start : start + length]
            case 5:
                data[position : position + 4] = chance.getrandbits(32).to_bytes(4, "big")
        data = data or bytearray(b"\xff")
    return mended(bytes(data)) if chance.random() < 0.5 else bytes(data)


def mended(data: bytes) -> bytes:
    """With right checksums, where a PNG has chunks: damage that gets further."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    result, position = data[:8], 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        result += png_chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        position += 12 + length
    return result


SEEDS = [
    encoded(noise((80, 64))),
    encoded(noise((80, 64)), progressive=True, icc_profile=bytes(128) + b"acsp"),
    encoded(noise((80, 64)).convert("CMYK")),
    encoded(
        noise((80, 64)), "MPO", save_all=True, append_images=[noise((80, 64))], exif=b"Exif\0\0" + exif(6)
    ),
    encoded(noise((80, 64)), "PNG", exif=exif(5)),
    encoded(noise((80, 64)).quantize(16), "PNG", transparency=3),
    encoded(noise((80, 64)).convert("LA"), "PNG"),
    flat_png(16, 0, b"\x40\x00", png_chunk(b"tRNS", b"\x40\x00")),
    encoded(noise((80, 64)), "WEBP", exif=exif(7), icc_profile=bytes(128)),
    encoded(noise((80, 64)).convert("RGBA"), "WEBP", lossless=True),
    encoded(noise((80, 64)), "PNG", save_all=True, append_images=[noise((80, 64))]),
    encoded(noise((80, 64)), "HEIF", exif=exif(6)),
    encoded(noise((80, 64)), "AVIF", exif=exif(6)),
]


async def fuzz(gate: PhotoGate, seeds: range) -> dict[str, int]:
    """How often each ending was met. Any other than a photo or a refusal is an error here."""
    endings: dict[str, int] = {}
    for seed in seeds:
        try:
            photo = await gate.accept(damaged(seed))
            image = Image.open(io.BytesIO(photo.jpeg))
            image.load()
            assert image.size == (photo.width, photo.height)
            ending = "taken"
        except PhotoRejected as error:
            ending = error.code
        except Unavailable as error:
            raise AssertionError(f"seed {seed} took a decoder away") from error
        endings[ending] = endings.get(ending, 0) + 1
    return endings


async def test_any_damage_ends_in_a_photo_or_a_refusal(gate: PhotoGate) -> None:
    endings = await fuzz(gate, range(600))
    assert set(endings) <= {
        "taken", "broken_image", "unsupported_image", "animated_image",
        "image_too_large", "image_too_small", "image_too_narrow",
    }  # fmt: skip
    assert min(endings["taken"], endings["broken_image"]) > 50
