"""Takes JPEG, PNG and WebP files apart before any library sees them.

What goes on to the decoders is the pixels' own parts, written anew; colour profile and orientation travel beside
them. Comments, thumbnails, text, second pictures and whatever is hung on to a file reach no library at all, so
their readers cannot be attacked, and damage in them costs nobody a photo.
"""

from __future__ import annotations

from orchestrator.photos.decoder.jpeg import take_jpeg_apart
from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.parts import Parts
from orchestrator.photos.decoder.png import SIGNATURE, take_png_apart
from orchestrator.photos.decoder.webp import take_webp_apart


def take_apart(data: bytes) -> Parts:
    """Raises Rejected for what is no whole, single picture of the three formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return take_jpeg_apart(data)
    if data.startswith(SIGNATURE):
        return take_png_apart(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return take_webp_apart(data)
    raise Rejected("unsupported_image", "the file is not a JPEG, PNG or WebP picture; save the photo as one")
