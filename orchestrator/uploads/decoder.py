"""The process that decodes strangers' pictures, with little memory and time, apart from everything else.

Run as a script by :mod:`orchestrator.uploads.gate`, isolated (``python -I``): it imports nothing but Pillow
and the standard library.

Protocol on stdin and stdout: a request is a 4-byte big-endian length and the file's bytes. An answer is a
length and a JSON head, ``{"ok": true, "width", "height"}`` or ``{"ok": false, "code", "detail"}``, then a
length and the JPEG's bytes (none on failure). It ends at the end of stdin, so it never outlives its parent.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import struct
import sys
import warnings
from typing import BinaryIO

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
MIN_SIDE = 64
MAX_SIDE = 16384
MAX_ASPECT = 4
"""What the model takes; a longer strip would be mostly padding to it."""
STORED_SIDE = 2048
"""Longer photos are scaled down to this: no bucket of the model is larger."""
QUALITY = 95
SRGB = ImageCms.createProfile("sRGB")


class Rejected(Exception):
    """The picture is not taken; ``code`` is one of the API's error codes."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def normalise(data: bytes, max_pixels: int) -> tuple[bytes, int, int]:
    """An upright sRGB JPEG without metadata, and its width and height in pixels; raises Rejected."""
    # Pillow allocates a WebP's canvas before it tells the size.
    if data[8:12] == b"WEBP":
        check_size(*webp_size(data), max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            check_single_frame(image)
            picture = to_srgb(shrink(image))
        picture = upright(picture)
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=QUALITY)
    except (Rejected, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Rejected("broken_image", "the file begins like a picture but cannot be read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Rejected("image_too_large", f"the picture has more than {max_pixels} pixels") from None
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise Rejected("broken_image", "the picture is damaged or incomplete") from error
    return out.getvalue(), *picture.size


def check_size(width: int, height: int, max_pixels: int) -> None:
    found = f"the picture is {width}x{height}"
    if max(width, height) > MAX_SIDE:
        raise Rejected("image_too_large", f"{found}; at most {MAX_SIDE} pixels a side are taken")
    if width * height > max_pixels:
        raise Rejected("image_too_large", f"{found}; at most {max_pixels} pixels are taken")
    if min(width, height) < MIN_SIDE:
        raise Rejected("image_too_small", f"{found}; at least {MIN_SIDE} pixels a side are needed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Rejected("image_too_narrow", f"{found}; one side may be {MAX_ASPECT} times the other at most")


def check_single_frame(image: Image.Image) -> None:
    # An MPO is a camera's JPEG with a preview or a gain map behind it: the first frame is the photo.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise Rejected("animated_image", "the file holds more than one frame; send a single picture")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in a WebP's header (its container specification; RFC 9649); raises Rejected."""
    kind, body = data[12:16], data[20:30]
    if len(body) == 10 and kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) == 10 and kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if len(body) == 10 and kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise Rejected("broken_image", "the file begins like a picture but cannot be read")


def shrink(image: Image.Image) -> Image.Image:
    """The decoded picture in a mode that colour management takes, at most STORED_SIDE long."""
    # A JPEG is decoded at a fraction of its size where that is enough: a quarter of the time and memory.
    image.draft(None, (STORED_SIDE, STORED_SIDE))
    image.load()
    picture = to_8_bit(image)
    picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
    return picture


def to_8_bit(image: Image.Image) -> Image.Image:
    """As L, RGB or CMYK with 8 bits; what was transparent becomes white."""
    if image.mode.startswith("I"):
        grey = image.convert("I").point(lambda value: value * (255 / 65535) + 0.5).convert("L")
        grey.info = image.info
        return grey
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        picture = Image.new("RGB", layer.size, "white")
        picture.paste(layer, mask=layer.getchannel("A"))
        picture.info = image.info
        return picture
    return image.copy() if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def to_srgb(picture: Image.Image) -> Image.Image:
    """RGB in sRGB; a profile that cannot be read or does not fit the pixels is passed over."""
    profile = picture.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, SRGB, outputMode="RGB")
            if converted is not None:
                converted.info = picture.info
                return converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says, and without any metadata."""
    try:
        turned = ImageOps.exif_transpose(picture)
    except Exception:  # Pillow's EXIF reader raises anything on damaged EXIF: take the pixels as they are
        turned = picture
    clean = turned.copy()
    clean.info = {}
    return clean


def answer(data: bytes, max_pixels: int) -> tuple[dict[str, object], bytes]:
    try:
        jpeg, width, height = normalise(data, max_pixels)
    except Rejected as error:
        return {"ok": False, "code": error.code, "detail": error.detail}, b""
    except MemoryError:
        detail = "the picture needs too much memory to decode"
        return {"ok": False, "code": "image_too_large", "detail": detail}, b""
    return {"ok": True, "width": width, "height": height}, jpeg


def limit_cpu(seconds: int) -> None:
    """Let this process use so many more seconds of processor time; the kernel kills it beyond."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(requests: BinaryIO, answers: BinaryIO, max_pixels: int, cpu_seconds: int) -> None:
    while len(head := requests.read(4)) == 4:
        (length,) = struct.unpack(">I", head)
        limit_cpu(cpu_seconds)
        fields, jpeg = answer(requests.read(length), max_pixels)
        for part in (json.dumps(fields).encode(), jpeg):
            answers.write(struct.pack(">I", len(part)) + part)
        answers.flush()


def main() -> None:
    max_pixels, memory, cpu_seconds = (int(argument) for argument in sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the end of stdin ends us
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.init()
    serve(sys.stdin.buffer, sys.stdout.buffer, max_pixels, cpu_seconds)


if __name__ == "__main__":
    main()
