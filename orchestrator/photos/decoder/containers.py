"""Splits JPEG, PNG and WebP files into parts before any library reads them.

The decoders get only the parts that hold pixels, written anew, and beside them the colour profile and the orientation.
Comments, thumbnails, text, second pictures and appended data reach no library, so they cannot attack one, and damage in
them does not make a photo unreadable.
"""

from __future__ import annotations

from orchestrator.photos.decoder.jpeg import take_jpeg_apart
from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.parts import Parts
from orchestrator.photos.decoder.png import SIGNATURE, take_png_apart
from orchestrator.photos.decoder.webp import take_webp_apart


def take_apart(data: bytes) -> Parts:
    """The parts of a file. Raises Rejected unless it is one complete picture in one of the three formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return take_jpeg_apart(data)
    if data.startswith(SIGNATURE):
        return take_png_apart(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return take_webp_apart(data)
    raise Rejected("unsupported_image", "the file is not a JPEG, PNG or WebP picture; save the photo as one")
