"""Splits WebP files into parts (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from orchestrator.photos.decoder.limits import broken
from orchestrator.photos.decoder.parts import MAX_PIECES, MAX_PROFILE, Parts, animated


def take_webp_apart(data: bytes) -> Parts:
    """The parts of a WebP. Raises Rejected."""
    parts = Parts("WEBP", stream=data[: 8 + int.from_bytes(data[4:8], "little")])
    frames = 0
    for index, (kind, body) in enumerate(_chunks(parts.stream)):
        if index == 0:
            parts.width, parts.height = size_of(kind, body)
        match kind:
            case b"ANMF":
                frames += 1
            case b"VP8 " | b"VP8L" if index and size_of(kind, body) != (parts.width, parts.height):
                raise broken("the WebP states two sizes")
            case b"ICCP" if len(body) <= MAX_PROFILE:
                parts.profile = parts.profile or body
            case b"EXIF":
                parts.note_exif(body)
            case b"C2PA":
                parts.credentialed = True
            case b"XMP ":
                parts.note_xmp(body)
    if frames > 1:
        raise animated()
    if not parts.width:
        raise broken()
    return parts


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    for _ in range(MAX_PIECES):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise broken("the file is cut into too many pieces")


def size_of(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height in pixels, from a chunk that can be a WebP's first; raises Rejected."""
    if len(body) >= 10 and kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) >= 10 and kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if len(body) >= 5 and kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise broken()
