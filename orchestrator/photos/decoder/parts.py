"""The parts of a picture file, and how much of its metadata is read."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from orchestrator.photos.decoder.limits import Rejected
from orchestrator.photos.decoder.orientation import exif_orientation, xmp_orientation
from orchestrator.photos.decoder.source_type import xmp_source_type

MAX_PIECES = 100_000
"""The most segments or chunks of one file; an encoder that writes one for each row stays far below."""
MAX_PROFILE = 4 * 2**20
MAX_TEXT = 2**20
"""Bytes that are read of XMP, or of a profile that is written as text."""
MAX_BLOCKS = 32
"""Blocks that are read of EXIF, and as many of XMP; ordinary files have one of each."""


@dataclass
class Parts:
    """The parts of a file. ``stream`` is a file of the same format that contains only the pixels.

    ``grey``: the pixels have one colour channel. ``channels`` is the number of a JPEG's channels. ``profile`` is an ICC
    profile or empty. ``source_type`` is what IPTC calls where the picture comes from, as its XMP says, or empty;
    ``credentialed``: there seem to be C2PA manifests in the file.
    """

    format: str
    width: int = 0
    height: int = 0
    stream: bytes = b""
    profile: bytes = b""
    grey: bool = False
    channels: int = 0
    source_type: str = ""
    credentialed: bool = False
    _exif: int = 0
    _xmp: int = 0
    _exif_blocks: int = 0
    _xmp_blocks: int = 0

    def note_exif(self, block: bytes) -> None:
        """Take the orientation from the first block that has one: some programs write an empty block before it."""
        if not self._exif and self._exif_blocks < MAX_BLOCKS:
            self._exif_blocks += 1
            self._exif = exif_orientation(block)

    def note_xmp(self, text: bytes) -> None:
        if self._xmp_blocks < MAX_BLOCKS:
            self._xmp_blocks += 1
            self._xmp = self._xmp or xmp_orientation(text[:MAX_TEXT])
            self.note_source_type(text)

    def note_source_type(self, text: bytes) -> None:
        """Take the source type from XMP that does not count for the orientation."""
        self.source_type = self.source_type or xmp_source_type(text[:MAX_TEXT])

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 (upright) to 8; XMP's where EXIF has none, and 1 where neither has one."""
        return self._exif or self._xmp or 1


def inflated(data: bytes, limit: int) -> bytes:
    """The decompressed data; empty when that fails or exceeds ``limit`` bytes."""
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, limit)
    except zlib.error:
        return b""
    return result if inflater.eof else b""


def animated() -> Rejected:
    return Rejected("animated_image", "the file holds more than one frame; send a single picture")
