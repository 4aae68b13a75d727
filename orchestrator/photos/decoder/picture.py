"""Makes the kind of picture that the service works with from the parts of a file."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, ImageCms

from orchestrator.photos.decoder.containers import take_apart
from orchestrator.photos.decoder.jpeg import decode_jpeg
from orchestrator.photos.decoder.limits import STORED_SIDE, Rejected, broken, check_size
from orchestrator.photos.decoder.parts import Parts, animated
from orchestrator.photos.decoder.png import has_all_rows

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
"""The operation that makes a picture upright, by its EXIF orientation."""
_TO_8_BIT = [(value * 255 + 32767) // 65535 for value in range(65536)]
_INPUT_CLASSES = ("scnr", "mntr", "prtr", "spac")
"""Classes of profiles that describe a device or a space; the others describe conversions and names."""
_BAND = 2**20
"""Pixels that are converted and scaled at a time."""
without_threads = False
"""Whether this process may start no threads, which the decoder of HEIC needs."""


class Normalised(NamedTuple):
    """An upright sRGB JPEG without metadata, its width and height in pixels, and what the file said beside its pixels,
    as in :class:`Parts`."""

    jpeg: bytes
    width: int
    height: int
    source_type: str = ""
    credentialed: bool = False


def normalise(data: bytes, max_pixels: int) -> Normalised:
    """Raises Rejected, MemoryError."""
    parts = take_apart(data)
    check_size(parts.width, parts.height, max_pixels)
    try:
        picture = to_srgb(_decoded(parts), parts)
        turn = _TURNS.get(parts.orientation)
        if turn is not None:
            picture = picture.transpose(turn)
        # A copy has no file name. With one, Pillow would read the working directory to avoid overwriting the file.
        picture = picture.copy()
        picture.info = {}
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=QUALITY)
    except (Rejected, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise any exception on damaged files
        raise broken() from error
    return Normalised(out.getvalue(), *picture.size, parts.source_type, parts.credentialed)


def _stored_size(width: int, height: int) -> tuple[int, int]:
    """Scaled down to STORED_SIDE, where a side is longer."""
    longest = max(width, height, STORED_SIDE)
    return max(1, round(width * STORED_SIDE / longest)), max(1, round(height * STORED_SIDE / longest))


def _decoded(parts: Parts) -> Image.Image:
    """The pixels in a mode that colour management accepts, with sides of at most STORED_SIDE."""
    if parts.format in ("HEIF", "AVIF"):
        return _decoded_heif(parts)
    width, height = parts.width, parts.height
    longest, size = max(width, height, STORED_SIDE), _stored_size(width, height)
    if parts.format == "JPEG":
        picture = decode_jpeg(parts, *size)
        # The sides are eighths rounded up, so that the last column and row may be covered in part.
        eighths = next(n for n in range(1, 9) if -(-width * n // 8) == picture.width or n == 8)
        return _scaled(to_8_bit(picture), (width * eighths / 8, height * eighths / 8), size)
    with Image.open(io.BytesIO(parts.stream), formats=(parts.format,)) as image:
        if image.size != (width, height):
            raise broken()
        if getattr(image, "is_animated", False):
            raise animated()
        image.load()
        if parts.format == "PNG" and _may_lack_rows(image) and not has_all_rows(parts.stream):
            raise broken()
        factor = longest // STORED_SIDE
        return _scaled(_reduced(image, factor), (width / factor, height / factor), size)


def _decoded_heif(parts: Parts) -> Image.Image:
    """The pixels of a HEIC or AVIF. Their library has cropped a HEIC and turned it upright."""
    if parts.format == "HEIF" and without_threads:
        detail = "this service cannot read HEIC photos on this machine; save the photo as JPEG and send that"
        raise Rejected("unsupported_image", detail)
    with Image.open(io.BytesIO(parts.stream), formats=(parts.format,)) as image:
        if parts.format == "AVIF":
            if getattr(image, "is_animated", False):
                raise animated()
            # From the file's own transformations: what else its metadata say of the orientation does not count.
            parts.note_exif(image.info.get("exif", b""))
        parts.note_source_type(image.info.get("xmp") or b"")
        _check_within(image, parts)
        image.load()
        _check_within(image, parts)
        parts.profile = image.info.get("icc_profile") or parts.profile
        parts.grey = image.mode in ("L", "LA", "I;16")
        factor, size = max(1, max(image.size) // STORED_SIDE), _stored_size(*image.size)
        return _scaled(_reduced(image, factor), (image.width / factor, image.height / factor), size)


def _check_within(image: Image.Image, parts: Parts) -> None:
    """Raises Rejected if there are more pixels than the file's header states, for which no memory was planned, or if it
    is cropped too much."""
    stated = parts.width * parts.height
    if image.width * image.height > stated:
        raise broken("the picture states two sizes")
    check_size(*image.size, stated)


def _may_lack_rows(image: Image.Image) -> bool:
    """Whether the last rows are zeros, as missing rows are. In some interlaced pictures the last row that is stored is
    the second-last one."""
    rows = (image.crop((0, top, image.width, top + 1)) for top in range(image.height - 2, image.height))
    return any(not row.tobytes().strip(b"\0") for row in rows)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """The mean of each square of ``factor`` × ``factor`` pixels, in a mode of ``to_8_bit``. It works in bands to save
    memory."""
    if factor == 1:
        return to_8_bit(image)
    height = max(1, _BAND // (factor * image.width)) * factor
    bands = []
    for top in range(0, image.height, height):
        band = image.crop((0, top, image.width, min(image.height, top + height)))
        bands.append(to_8_bit(band).reduce(factor))
    picture = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        picture.paste(band, (0, top))
        top += band.height
    return picture


def _scaled(picture: Image.Image, covered: tuple[float, float], size: tuple[int, int]) -> Image.Image:
    """The upper left part of size ``covered``, scaled to ``size``."""
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC, box=(0, 0, *covered))


def to_8_bit(image: Image.Image) -> Image.Image:
    """The picture as L, RGB or CMYK with 8 bits; transparent parts become white."""
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
    """The picture as RGB in sRGB. A profile that cannot be read or does not fit the pixels is ignored."""
    if parts.profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(parts.profile))
            space = source.profile.xcolor_space.strip()
            if parts.grey and space in ("GRAY", "RGB"):
                # A grey picture may have a profile of either kind.
                picture = picture.convert("L" if space == "GRAY" else "RGB")
            if source.profile.device_class in _INPUT_CLASSES:
                converted = ImageCms.profileToProfile(picture, source, SRGB, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass
    return picture if picture.mode == "RGB" else picture.convert("RGB")
