"""Takes JPEG, PNG and WebP files apart before any library sees them.

What goes on to Pillow is the pixels' own parts, written anew; colour profile and orientation travel beside
them. Comments, thumbnails, text, second pictures and whatever is hung on to a file reach no library at all, so
their readers cannot be attacked, and damage in them costs nobody a photo.

Sources: ITU-T T.81 (JPEG) annex B, ICC.1 annex B (profiles in files), Exif 2.32, PNG third edition, RFC 9649
(WebP).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.decoder.limits import Rejected, broken

MAX_PIECES = 100_000
"""Segments or chunks of one file: an encoder that writes one a row stays far below."""
MAX_SCANS = 100
"""Scans of a progressive JPEG: encoders write about 10, and each costs a pass over the whole picture."""
MAX_PROFILE = 4 * 2**20
MAX_XMP = 2**20

_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Baseline, extended and progressive, with Huffman's or arithmetic coding."""
_JPEG_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE}
_JPEG_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
# In coded data 0xFF is followed by 0, or by a restart marker, or else begins what comes after the data.
_JPEG_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_MARKER = re.compile(rb"\xff[^\xff]")


@dataclass
class Parts:
    """A file in parts: ``stream`` is a file of the same format that holds pixels only.

    ``grey`` means that the pixels have one colour channel; ``exif`` and ``xmp`` are as they stood in the file.
    """

    format: str
    width: int = 0
    height: int = 0
    stream: bytes = b""
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    grey: bool = False
    icc_pieces: list[bytes] = field(default_factory=list)


def take_apart(data: bytes) -> Parts:
    """Raises Rejected for what is no whole, single picture of the three formats."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(_PNG):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    raise Rejected("unsupported_image", "the file is not a JPEG, PNG or WebP picture; save the photo as one")


def _jpeg(data: bytes) -> Parts:
    parts = Parts("JPEG")
    kept = [b"\xff\xd8"]
    scans = 0
    for marker, body, coded in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            if parts.width:
                raise broken("the JPEG tells its size twice")
            _read_frame(parts, body)
        elif marker in _JPEG_OTHER_FRAMES:
            raise Rejected(
                "unsupported_image", "the JPEG is lossless or hierarchical; save it as an ordinary JPEG"
            )
        elif marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise broken(f"the JPEG has more than {MAX_SCANS} scans")
        elif marker not in _JPEG_TABLES and not (scans == 0 and _jpeg_application(parts, marker, body)):
            continue
        kept += (struct.pack(">BBH", 0xFF, marker, 2 + len(body)), body, coded)
    if not parts.width or not scans:
        raise broken()
    kept.append(b"\xff\xd9")
    parts.stream = b"".join(kept)
    parts.profile = _joined(parts.icc_pieces)
    return parts


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, payload, and for a scan the coded data behind it; ends at the picture's end, and raises without one."""
    position = 2
    for _ in range(MAX_PIECES):
        # Bytes between segments are not allowed, but every reader passes over them; 0xFF may fill.
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            raise broken()
        marker = data[found.end() - 1]
        position = found.end()
        if marker == 0xD9:
            return
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            raise broken()
        body = data[position + 2 : position + length]
        position += length
        coded = b""
        if marker == 0xDA:
            end = _JPEG_AFTER_SCAN.search(data, position)
            if end is None:
                raise broken()
            coded = data[position : end.start()]
            position = end.start()
        yield marker, body, coded
    raise broken("the file is cut into too many pieces")


def _read_frame(parts: Parts, body: bytes) -> None:
    if len(body) < 6:
        raise broken()
    bits, parts.height, parts.width, channels = struct.unpack_from(">BHHB", body)
    if bits != 8:
        raise Rejected("unsupported_image", f"the JPEG has {bits} bits a colour; save it with 8")
    if channels not in (1, 3, 4):
        raise Rejected("unsupported_image", f"the JPEG has {channels} colour channels; save it as RGB")
    if not parts.height or not parts.width:
        raise broken("the JPEG does not tell its size")
    parts.grey = channels == 1


def _jpeg_application(parts: Parts, marker: int, body: bytes) -> bool:
    """Whether the decoder needs this segment; what else is of use is noted."""
    if marker == 0xE1 and body.startswith(_EXIF):
        parts.exif = parts.exif or body
    elif marker == 0xE1 and body.startswith(_XMP):
        parts.xmp = parts.xmp or body
    elif marker == 0xE2 and body.startswith(_ICC) and len(parts.icc_pieces) < 255:
        parts.icc_pieces.append(body[len(_ICC) :])
    # These two say how the channels were made from colours.
    return (marker == 0xE0 and body.startswith(b"JFIF\0")) or (marker == 0xEE and body.startswith(b"Adobe"))


def _joined(pieces: list[bytes]) -> bytes:
    """A profile from its numbered pieces; nothing when some are missing or it is too long."""
    pieces = sorted(pieces)
    if any(piece[:2] != bytes((index, len(pieces))) for index, piece in enumerate(pieces, 1)):
        return b""
    profile = b"".join(piece[2:] for piece in pieces)
    return profile if len(profile) <= MAX_PROFILE else b""


def _png(data: bytes) -> Parts:
    parts = Parts("PNG")
    header, palette, transparency, pixels = b"", b"", b"", []
    for kind, body in _png_chunks(data):
        if not header and kind != b"IHDR":
            raise broken()
        match kind:
            case b"IHDR":
                if header or len(body) != 13:
                    raise broken()
                header = body
                parts.width, parts.height = struct.unpack_from(">II", body)
                parts.grey = body[9] in (0, 4)
            case b"PLTE":
                palette = body
            case b"tRNS":
                transparency = body
            case b"IDAT":
                pixels.append(body)
            case b"acTL":
                if int.from_bytes(body[:4], "big") > 1:
                    raise animated()
            case b"iCCP":
                # A name, a zero, the number of the compression, which is 0.
                parts.profile = parts.profile or _inflated(body[body.find(b"\0") + 2 :], MAX_PROFILE)
            case b"eXIf":
                parts.exif = parts.exif or body
            case b"iTXt" if body.startswith(b"XML:com.adobe.xmp\0"):
                parts.xmp = parts.xmp or _png_text(body)
    if not pixels:
        raise broken()
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"tRNS", _as_pillow_reads(transparency, header))]
    kept = [_chunk(kind, body) for kind, body in chunks if body]
    parts.stream = b"".join((_PNG, *kept, _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")))
    return parts


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of every chunk whose checksum is right; raises when one that is needed is damaged."""
    position = len(_PNG)
    for _ in range(MAX_PIECES):
        if position + 8 > len(data):
            return  # without its end; whether all pixels are there shows
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        position += 12 + length
        if kind == b"IEND":
            return
        if len(checksum) == 4 and zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(checksum, "big"):
            yield kind, body
        elif not kind[0] & 0x20:  # an upper-case letter: no reader may do without it
            raise broken()
    raise broken("the file is cut into too many pieces")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
    )


def _as_pillow_reads(transparency: bytes, header: bytes) -> bytes:
    """The colour that is transparent, in the depth that Pillow decodes to; it compares with the file's depth."""
    depth, kind = header[8:10]
    if kind == 0 and depth in (2, 4) and len(transparency) >= 2:
        value = int.from_bytes(transparency[:2], "big") * 255 // (2**depth - 1)
        return struct.pack(">H", value & 0xFFFF)
    if kind == 2 and depth == 16 and len(transparency) >= 6:
        return bytes((0, transparency[0], 0, transparency[2], 0, transparency[4]))
    return transparency


def _png_text(body: bytes) -> bytes:
    """The text of an iTXt chunk: keyword, two bytes of compression, language, translated keyword, text."""
    _, rest = body.split(b"\0", 1)
    fields = rest[2:].split(b"\0", 2)
    text = fields[-1]
    return _inflated(text, MAX_XMP) if rest[:1] == b"\1" else text[:MAX_XMP]


def _inflated(data: bytes, limit: int) -> bytes:
    """Decompressed; nothing when that fails or gives more than the limit."""
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, limit)
    except zlib.error:
        return b""
    return result if inflater.eof else b""


def _webp(data: bytes) -> Parts:
    parts = Parts("WEBP", stream=data[: 8 + int.from_bytes(data[4:8], "little")])
    frames = 0
    for index, (kind, body) in enumerate(_webp_chunks(parts.stream)):
        if index == 0:
            parts.width, parts.height = webp_size(kind, body)
        match kind:
            case b"ANMF":
                frames += 1
            case b"VP8 " | b"VP8L" if index and webp_size(kind, body) != (parts.width, parts.height):
                raise broken("the WebP tells two sizes")
            case b"ICCP" if len(body) <= MAX_PROFILE:
                parts.profile = parts.profile or body
            case b"EXIF":
                parts.exif = parts.exif or body
            case b"XMP ":
                parts.xmp = parts.xmp or body[:MAX_XMP]
    if frames > 1:
        raise animated()
    if not parts.width:
        raise broken()
    return parts


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    for _ in range(MAX_PIECES):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise broken("the file is cut into too many pieces")


def webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height in pixels, from a chunk that can be a WebP's first; raises Rejected."""
    if len(body) >= 10 and kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) >= 10 and kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if len(body) >= 5 and kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise broken()


def animated() -> Rejected:
    return Rejected("animated_image", "the file holds more than one frame; send a single picture")
