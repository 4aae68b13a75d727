"""Splits PNG files into parts (PNG third edition)."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from orchestrator.photos.decoder.cicp import profile_of
from orchestrator.photos.decoder.limits import broken
from orchestrator.photos.decoder.parts import (
    MAX_BLOCKS,
    MAX_PIECES,
    MAX_PROFILE,
    MAX_TEXT,
    Parts,
    animated,
    inflated,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The first column and row of each pass, and the steps between its columns and rows."""
_KEYWORD = re.compile(rb"(XML:com\.adobe\.xmp|Raw profile type (exif|app1|xmp))\0", re.IGNORECASE)
"""Keywords of texts that may contain the orientation."""
_RAW_PROFILE = re.compile(rb"\s*[\w-]+\s+\d+\s+([0-9a-fA-F\s]*)")
"""A name, a length and lines of hexadecimal digits: how ImageMagick writes data for which PNG had no chunk."""
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_PIECE = 2**20


def take_png_apart(data: bytes) -> Parts:
    """The parts of a PNG. Raises Rejected."""
    parts = Parts("PNG")
    found: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    texts: list[tuple[bytes, bytes]] = []
    for kind, body in _chunks(data):
        if not found and kind != b"IHDR":
            raise broken()
        match kind:
            case b"IHDR":
                if found or len(body) != 13:
                    raise broken()
                found[kind] = body
                parts.width, parts.height = struct.unpack_from(">II", body)
                parts.grey = body[9] in (0, 4)
            case b"IDAT":
                pixels.append(body)
            case b"acTL":
                if int.from_bytes(body[:4], "big") > 1:
                    raise animated()
            case b"PLTE" | b"tRNS":
                found[kind] = body
            case b"iCCP" | b"cICP":
                found.setdefault(kind, body)
            case b"caBX":
                parts.credentialed = True
            case b"eXIf":
                parts.note_exif(body)
            case b"tEXt" | b"zTXt" | b"iTXt" if len(texts) < MAX_BLOCKS and _KEYWORD.match(body):
                texts.append((kind, body))
    if not pixels:
        raise broken()
    # After the chunks that are made for it, which take precedence.
    for kind, body in texts:
        _note_text(parts, kind, body)
    parts.profile = _profile(found)
    parts.stream = _rewritten(found, b"".join(pixels))
    return parts


def _profile(found: dict[bytes, bytes]) -> bytes:
    """cICP wins over iCCP (PNG third edition, 4.3)."""
    coded = profile_of(found.get(b"cICP", b""))
    if coded is not None:
        return coded
    # A name, a zero, the number of the compression, which is 0.
    body = found.get(b"iCCP", b"")
    return inflated(body[body.find(b"\0") + 2 :], MAX_PROFILE)


def _rewritten(found: dict[bytes, bytes], pixels: bytes) -> bytes:
    header = found[b"IHDR"]
    transparency = _as_pillow_reads(found.get(b"tRNS", b""), header)
    chunks = [(b"IHDR", header), (b"PLTE", found.get(b"PLTE", b"")), (b"tRNS", transparency)]
    kept = [_chunk(kind, body) for kind, body in chunks if body]
    return b"".join((SIGNATURE, *kept, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and body of every chunk whose checksum is right. Raises Rejected when a critical chunk is damaged."""
    position = len(SIGNATURE)
    for _ in range(MAX_PIECES):
        if position + 8 > len(data):
            return  # without IEND; has_all_rows finds missing pixels
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        position += 12 + length
        if kind == b"IEND":
            return
        if len(checksum) == 4 and zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(checksum, "big"):
            yield kind, body
        elif not kind[0] & 0x20:  # an upper-case letter marks a critical chunk
            raise broken()
    raise broken("the file is cut into too many pieces")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
    )


def _as_pillow_reads(transparency: bytes, header: bytes) -> bytes:
    """The transparent colour in the bit depth that Pillow decodes to; the file has it in its own depth."""
    depth, kind = header[8:10]
    if kind == 0 and depth in (2, 4) and len(transparency) >= 2:
        value = int.from_bytes(transparency[:2], "big") * 255 // (2**depth - 1)
        return struct.pack(">H", value & 0xFFFF)
    if kind == 2 and depth == 16 and len(transparency) >= 6:
        return bytes((0, transparency[0], 0, transparency[2], 0, transparency[4]))
    return transparency


def _note_text(parts: Parts, kind: bytes, body: bytes) -> None:
    """Take the orientation from EXIF or XMP in a text chunk."""
    keyword, _, rest = body.partition(b"\0")
    block = _text(kind, rest)
    if keyword[:3].lower() == b"raw":
        match = _RAW_PROFILE.match(block)
        digits = b"".join(match[1].split()) if match else b""
        block = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    if keyword[-3:].lower() == b"xmp" or block.startswith(_XMP_IN_JPEG):
        parts.note_xmp(block)
    else:
        parts.note_exif(block)


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text after the keyword. In iTXt two bytes of compression, a language and a translated keyword precede it."""
    packed = kind == b"zTXt"
    text = rest[1:] if packed else rest
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        text = rest[2:].split(b"\0", 2)[-1]
    return inflated(text, MAX_TEXT) if packed else text[:MAX_TEXT]


def has_all_rows(stream: bytes) -> bool:
    """Whether the pixels of a file from ``take_png_apart`` inflate to as many bytes as its header requires."""
    start = stream.index(b"IDAT") + 4
    packed = memoryview(stream)[start : len(stream) - 16]
    missing = _inflated_size(stream[16:29])
    inflater = zlib.decompressobj()
    for begin in range(0, len(packed), _PIECE):
        data: bytes | memoryview = packed[begin : begin + _PIECE]
        while data and missing > 0 and not inflater.eof:
            missing -= len(inflater.decompress(data, _PIECE))
            data = inflater.unconsumed_tail
    # The output that zlib holds back because of the limit.
    while missing > 0 and not inflater.eof and (rest := inflater.decompress(b"", _PIECE)):
        missing -= len(rest)
    return missing <= 0


def _inflated_size(header: bytes) -> int:
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS.get(kind, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
