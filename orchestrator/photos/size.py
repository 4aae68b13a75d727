"""Reads the number of pixels from a file's header: the cost of its turn at the decoders.

It reads only a few bytes of headers, because it runs in the API's own process. The decoder refuses a picture with more
pixels than were found here.
"""

from __future__ import annotations

import struct

UNKNOWN = 2**32 - 1
"""The number of pixels for a file whose header cannot be read easily."""
_SEGMENTS = 2000
"""Segments that are read before a JPEG's frame. A camera's depth map of 20 MB takes 300."""
_META = 2**20
"""Bytes of a HEIC or AVIF in which the sizes of its pictures are looked for."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))


def stated_pixels(data: bytes | bytearray) -> int:
    """Width × height of a picture, or UNKNOWN."""
    try:
        if data.startswith(b"\xff\xd8"):
            width, height = _jpeg(data)
        elif data.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data[4:8] == b"ftyp":
            width, height = _heif(data)
        else:
            width, height = _webp(data)
    except (struct.error, ValueError):
        return UNKNOWN
    return min(width * height, UNKNOWN)


def _jpeg(data: bytes | bytearray) -> tuple[int, int]:
    position = 2
    for _ in range(_SEGMENTS):
        prefix, marker, length = struct.unpack_from(">BBH", data, position)
        if prefix != 0xFF or marker in _WITHOUT_LENGTH or marker == 0xFF:
            break
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
    raise ValueError("no frame where it is expected")


def _heif(data: bytes | bytearray) -> tuple[int, int]:
    """The largest of its pictures: of a photo that is made of tiles, the photo."""
    found = (0, 0)
    place = data.find(b"ispe", 0, _META)
    for _ in range(_SEGMENTS):
        if place < 0:
            break
        found = max(found, struct.unpack_from(">II", data, place + 8), key=lambda size: size[0] * size[1])
        place = data.find(b"ispe", place + 4, _META)
    if not found[0]:
        raise ValueError("no size where it is expected")
    return found


def _webp(data: bytes | bytearray) -> tuple[int, int]:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ValueError("no pixels where they are expected")
