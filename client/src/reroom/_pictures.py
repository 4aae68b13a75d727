"""Formats of pictures: which one a file has, and how to convert it."""

from __future__ import annotations

import io
from typing import Any

from reroom.errors import ProtocolError

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""By a file's extension."""

_QUALITY = 95
"""For lossy formats, 0 … 100: high, so that a second encoding is not visible."""


def format_of(picture: bytes) -> str:
    """A picture's format, by its first bytes; JPEG, which services send, when they match no other."""
    if picture.startswith(b"\x89PNG"):
        return "PNG"
    return "WEBP" if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP" else "JPEG"


def extension(picture: bytes) -> str:
    """The extension for a picture's file, such as ``.jpg``."""
    found = format_of(picture)
    return next(suffix for suffix, name in FORMATS.items() if name == found)


def converted(picture: bytes, wanted: str | None) -> bytes:
    """A picture in the format ``wanted``, a value of :data:`FORMATS`; unchanged when that is None or the same.

    EXIF, XMP and the colour profile are kept. Raises ProtocolError for bytes that are not a picture.
    """
    if wanted is None or format_of(picture) == wanted:
        return picture
    # Imported here, so that the command starts faster: conversions are rare.
    from PIL import Image, PngImagePlugin

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(picture), formats=("JPEG", "PNG", "WEBP")) as image:
            names = frozenset({"exif", "xmp", "icc_profile"})
            kept: dict[str, Any] = {name: image.info[name] for name in names & image.info.keys()}
            if wanted == "PNG" and "xmp" in kept:
                kept["pnginfo"] = PngImagePlugin.PngInfo()
                kept["pnginfo"].add_itxt("XML:com.adobe.xmp", kept.pop("xmp").decode("utf-8", "replace"))
            # JPEG has no transparency.
            (image.convert("RGB") if wanted == "JPEG" else image).save(out, wanted, quality=_QUALITY, **kept)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ProtocolError(f"the service's picture was not understood: {error}") from error
    return out.getvalue()
