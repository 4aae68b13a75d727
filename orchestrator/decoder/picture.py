"""From a file's parts to the one kind of picture that the service works with."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from orchestrator.decoder.containers import Parts, animated, take_apart
from orchestrator.decoder.limits import STORED_SIDE, Rejected, broken, check_size
from orchestrator.decoder.orientation import orientation

QUALITY = 95
SRGB = ImageCms.createProfile("sRGB")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""
_TO_8_BIT = [(value * 255 + 32767) // 65535 for value in range(65536)]
_INPUT_CLASSES = ("scnr", "mntr", "prtr", "spac")
"""Classes of profiles that describe a device or a space; the others describe conversions and names."""


def normalise(data: bytes, max_pixels: int) -> tuple[bytes, int, int]:
    """An upright sRGB JPEG without metadata, and its width and height in pixels; raises Rejected, MemoryError."""
    parts = take_apart(data)
    check_size(parts.width, parts.height, max_pixels)
    try:
        with Image.open(io.BytesIO(parts.stream), formats=(parts.format,)) as image:
            if image.size != (parts.width, parts.height):
                raise broken()
            if getattr(image, "is_animated", False):
                raise animated()
            picture = to_srgb(shrink(image), parts)
        turn = _TURNS.get(orientation(parts.exif, parts.xmp))
        if turn is not None:
            picture = picture.transpose(turn)
        picture.info = {}
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=QUALITY)
    except (Rejected, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise broken() from error
    return out.getvalue(), *picture.size


def shrink(image: Image.Image) -> Image.Image:
    """The decoded picture in a mode that colour management takes, at most STORED_SIDE long."""
    # A JPEG is decoded at a fraction of its size where that is enough: a quarter of the time and memory.
    longest = max(image.size)
    image.draft(None, (-(-image.width * STORED_SIDE // longest), -(-image.height * STORED_SIDE // longest)))
    image.load()
    picture = to_8_bit(image)
    picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
    return picture


def to_8_bit(image: Image.Image) -> Image.Image:
    """As L, RGB or CMYK with 8 bits; what was transparent becomes white."""
    if image.mode.startswith("I"):
        deep = image.convert("I")
        grey = deep.point(_TO_8_BIT, "L")
        transparent = image.info.get("transparency")
        if transparent is not None:
            grey.paste(255, mask=deep.point([255 * (value == transparent) for value in range(65536)], "L"))
        return grey
    if image.has_transparency_data:
        flat = "L" if image.mode in ("L", "LA") else "RGB"
        layer = image if image.mode == flat + "A" else image.convert(flat + "A")
        picture = Image.new(flat, layer.size, "white")
        picture.paste(layer.convert(flat), mask=layer.getchannel("A"))
        return picture
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def to_srgb(picture: Image.Image, parts: Parts) -> Image.Image:
    """RGB in sRGB; a profile that cannot be read or does not fit the pixels is passed over."""
    if parts.profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(parts.profile))
            space = source.profile.xcolor_space.strip()
            if parts.grey and space in ("GRAY", "RGB"):
                # A grey picture's values may be told in a profile of either kind.
                picture = picture.convert("L" if space == "GRAY" else "RGB")
            if source.profile.device_class in _INPUT_CLASSES:
                converted = ImageCms.profileToProfile(picture, source, SRGB, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass
    return picture if picture.mode == "RGB" else picture.convert("RGB")
