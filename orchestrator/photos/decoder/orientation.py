"""Reads the orientation that a camera or an editor wrote into a photo (Exif 2.32, tag 274; XMP part 1)."""

from __future__ import annotations

import re
import struct

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\b")


def xmp_orientation(text: bytes) -> int:
    """The orientation in an XMP packet, 1 to 8; 0 when it has none."""
    match = _XMP_ORIENTATION.search(text)
    return int(match[1]) if match else 0


def exif_orientation(exif: bytes) -> int:
    """The tag Orientation in an EXIF block's first directory, 1 to 8; 0 when there is no valid one."""
    for _ in range(2):  # some write the beginning twice
        exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for index in range(count):
            tag, kind, values = struct.unpack_from(order + "HHI", exif, start + 2 + 12 * index)
            if tag == 0x0112 and values == 1 and kind in (1, 3, 4):  # a byte, a short, a long
                code = {1: "B", 3: "H", 4: "I"}[kind]
                found = int(struct.unpack_from(order + code, exif, start + 10 + 12 * index)[0])
                return found if 1 <= found <= 8 else 0
    except struct.error:
        pass
    return 0
