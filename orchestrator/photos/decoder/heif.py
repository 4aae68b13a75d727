"""Reads what must be known of a HEIC or AVIF file before a library opens it (ISO/IEC 14496-12 and 23008-12).

Unlike other files, these are handed to their library as they are: what they hold is found by its place in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from orchestrator.photos.decoder.cicp import profile_of
from orchestrator.photos.decoder.limits import Rejected, broken
from orchestrator.photos.decoder.parts import Parts, animated

HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"mif1"))
AVIF_BRANDS = frozenset((b"avif",))
_SEQUENCES = frozenset((b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"))
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""What a box of kind ``uuid`` begins with when it has C2PA's manifests."""
_MAX_BOXES = 10_000
"""Boxes of one list. A phone's photo of 48 MP is made of 200 tiles with some boxes each."""

Box = tuple[bytes, memoryview]


def take_heif_apart(data: bytes) -> Parts:
    """The size and the coded colours of the primary picture; the stream is the whole file. Raises Rejected."""
    try:
        parts = _read(memoryview(data))
    except (struct.error, IndexError):
        raise broken() from None
    parts.stream = data
    parts.credentialed = _has_manifests(memoryview(data))
    return parts


def _has_manifests(data: memoryview) -> bool:
    try:
        return any(kind == b"uuid" and bytes(body[:16]) == _C2PA for kind, body in _boxes(data))
    except (Rejected, struct.error):
        # The library reads such a file nevertheless.
        return False


def is_heif(data: bytes) -> bool:
    """Whether the file begins like a HEIC or an AVIF, or a sequence of such pictures."""
    return data[4:8] == b"ftyp" and bool(_brands(data) & (HEIC_BRANDS | AVIF_BRANDS | _SEQUENCES))


def _brands(data: bytes) -> set[bytes]:
    end = min(int.from_bytes(data[:4], "big"), len(data), 512)
    return {bytes(data[start : start + 4]) for start in (8, *range(16, end - 3, 4))}


def _read(data: memoryview) -> Parts:
    head = bytes(data[:512])
    if head[8:12] in _SEQUENCES:
        raise animated()
    parts = Parts("AVIF" if AVIF_BRANDS & _brands(head) else "HEIF")
    meta = _only(_boxes(data), b"meta")[4:]
    boxes = list(_boxes(meta))
    properties = _only(boxes, b"iprp")
    found = list(_boxes(_only(_boxes(properties), b"ipco")))
    for index in _properties_of(_primary(_only(boxes, b"pitm")), properties):
        if not 1 <= index <= len(found):
            continue
        kind, body = found[index - 1]
        if kind == b"ispe":
            parts.width, parts.height = struct.unpack_from(">II", body, 4)
        elif kind == b"colr" and bytes(body[:4]) == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            # The library has applied the matrix and the range.
            if max(primaries, transfer) < 256:
                parts.profile = profile_of(bytes((primaries, transfer, 0, 1))) or b""
    if not parts.width or not parts.height:
        raise broken()
    return parts


def _boxes(data: memoryview) -> Iterator[Box]:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + size if size else len(data)
        if end < start:
            raise broken()
        yield kind, data[start:end]
        position = end
    raise broken("the file is cut into too many pieces")


def _only(boxes: Iterator[Box] | list[Box], kind: bytes) -> memoryview:
    """The body of the first box of a kind."""
    for each, body in boxes:
        if each == kind:
            return body
    raise broken()


def _primary(body: memoryview) -> int:
    """The id of the primary picture (pitm)."""
    (item,) = struct.unpack_from(">H" if body[0] == 0 else ">I", body, 4)
    return int(item)


def _properties_of(item: int, properties: memoryview) -> Iterator[int]:
    """The numbers of an item's properties (ipma), counted from 1."""
    for kind, body in _boxes(properties):
        if kind != b"ipma":
            continue
        wide, long = body[3] & 1, body[0] >= 1
        (count,) = struct.unpack_from(">I", body, 4)
        position = 8
        for _ in range(min(count, _MAX_BOXES)):
            (named,) = struct.unpack_from(">I" if long else ">H", body, position)
            position += 4 if long else 2
            entries = body[position]
            position += 1
            for place in range(position, position + entries * (1 + wide), 1 + wide):
                (index,) = struct.unpack_from(">H" if wide else ">B", body, place)
                if named == item:
                    yield index & (0x7FFF if wide else 0x7F)
            position += entries * (1 + wide)
