"""What a file of pixels holds besides them, and how much of it is looked at."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.orientation import exif_orientation, xmp_orientation

MAX_PIECES = 100_000
"""Segments or chunks of one file: an encoder that writes one a row stays far below."""
MAX_PROFILE = 4 * 2**20
MAX_TEXT = 2**20
"""Bytes of XMP, or of a profile written as text, that are looked at."""
MAX_BLOCKS = 32
"""Blocks of EXIF, and as many of XMP, that are looked at; files have one of each."""


@dataclass
class Parts:
    """A file in parts: ``stream`` is a file of the same format that holds pixels only.

    ``grey`` means that the pixels have one colour channel, ``channels`` is how many a JPEG has; ``profile`` is an ICC
    profile or empty.
    """

    format: str
    width: int = 0
    height: int = 0
    stream: bytes = b""
    profile: bytes = b""
    grey: bool = False
    channels: int = 0
    _exif: int = 0
    _xmp: int = 0
    _exif_blocks: int = 0
    _xmp_blocks: int = 0

    def note_exif(self, block: bytes) -> None:
        """The first block that says how the picture lies counts: some programs write an empty one before it."""
        if not self._exif and self._exif_blocks < MAX_BLOCKS:
            self._exif_blocks += 1
            self._exif = exif_orientation(block)

    def note_xmp(self, text: bytes) -> None:
        if not self._xmp and self._xmp_blocks < MAX_BLOCKS:
            self._xmp_blocks += 1
            self._xmp = xmp_orientation(text[:MAX_TEXT])

    @property
    def orientation(self) -> int:
        """EXIF's value from 1 (upright) to 8; XMP's where EXIF has none, and 1 where neither has."""
        return self._exif or self._xmp or 1


def inflated(data: bytes, limit: int) -> bytes:
    """Decompressed; nothing when that fails or gives more than the limit."""
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, limit)
    except zlib.error:
        return b""
    return result if inflater.eof else b""


def animated() -> Rejected:
    return Rejected("animated_image", "the file holds more than one frame; send a single picture")
