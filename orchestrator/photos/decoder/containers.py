"""Splits picture files into parts before any library reads them.

The decoders get only the parts that hold pixels, written anew, and beside them the colour profile and the orientation.
Comments, thumbnails, text, second pictures and appended data reach no library, so they cannot attack one, and damage in
them does not make a photo unreadable. HEIC and AVIF files are only looked at, and handed over whole.
"""

from __future__ import annotations

from orchestrator.photos.decoder.heif import is_heif, take_heif_apart
from orchestrator.photos.decoder.jpeg import take_jpeg_apart
from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.parts import Parts
from orchestrator.photos.decoder.png import SIGNATURE, take_png_apart
from orchestrator.photos.decoder.webp import take_webp_apart


def take_apart(data: bytes) -> Parts:
    """The parts of a file. Raises Rejected unless it is one complete picture in one of the formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return take_jpeg_apart(data)
    if data.startswith(SIGNATURE):
        return take_png_apart(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return take_webp_apart(data)
    if is_heif(data):
        return take_heif_apart(data)
    detail = "the file is not a JPEG, PNG, WebP, HEIC or AVIF picture; save the photo as a JPEG"
    raise Rejected("unsupported_image", detail)
