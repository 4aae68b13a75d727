"""Splits JPEG files into parts (ITU-T T.81 annex B, ICC.1 annex B, Exif 2.32) and decodes them; damage is an error."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

import simplejpeg
from PIL import Image

from orchestrator.photos.decoder.limits import Rejected, broken
from orchestrator.photos.decoder.parts import MAX_PIECES, MAX_PROFILE, Parts

MAX_SCANS = 100
"""Scans of a progressive JPEG: encoders write about 10, and each costs a pass over the whole picture."""
PADDING = 7
"""Arbitrary bytes that may be between the coded data and the end, since encoders align it; equal bytes may be more."""

_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_JUMBF = b"JP"
"""How segments with boxes of JPEG systems begin, C2PA's manifests among them."""
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
"""Baseline, extended and progressive frames, with Huffman or arithmetic coding."""
_PROGRESSIVE = {0xC2, 0xCA}
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
_APPLICATIONS = {0xE0, 0xE1, 0xE2, 0xEB, 0xEE}
# In coded data 0xFF is followed by 0 or by a restart marker; otherwise the data ends there.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_MARKER = re.compile(rb"\xff[^\xff]")
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


class _Reader:
    """Collects the segments that the decoder needs, written anew."""

    def __init__(self) -> None:
        self.parts = Parts("JPEG")
        self._frame = 0
        self._components: set[int] = set()
        self._begun: set[int] = set()
        self._scans = 0
        self._kept: list[bytes] = []
        self._jfif = b""
        self._adobe = b""
        self._icc: list[bytes] = []

    def take(self, marker: int, body: bytes, coded: bytes) -> None:
        if marker in _FRAMES:
            self._take_frame(marker, body)
        elif marker in _OTHER_FRAMES:
            raise Rejected(
                "unsupported_image", "the JPEG is lossless or hierarchical; save it as an ordinary JPEG"
            )
        elif marker == 0xDA:
            body = self._take_scan(body)
        elif marker in _APPLICATIONS:
            if not self._scans:
                self._take_application(marker, body)
            return
        elif marker not in _TABLES:
            return
        self._kept += (_head(marker, body), body, coded)

    def finish(self) -> Parts:
        parts = self.parts
        # libjpeg would make a component without a scan grey, without a warning.
        if not parts.width or not self._scans or self._components - self._begun:
            raise broken()
        first = [
            _head(marker, body) + body for marker, body in ((0xE0, self._jfif), (0xEE, self._adobe)) if body
        ]
        parts.stream = b"".join((b"\xff\xd8", *first, *self._kept, b"\xff\xd9"))
        parts.profile = _joined(self._icc)
        return parts

    def _take_frame(self, marker: int, body: bytes) -> None:
        if self._frame:
            raise broken("the JPEG states its size twice")
        if len(body) < 6:
            raise broken()
        bits, height, width, channels = struct.unpack_from(">BHHB", body)
        if bits != 8:
            raise Rejected("unsupported_image", f"the JPEG has {bits} bits a colour; save it with 8")
        if channels not in (1, 3, 4):
            raise Rejected("unsupported_image", f"the JPEG has {channels} colour channels; save it as RGB")
        if not height or not width:
            raise broken("the JPEG does not state its size")
        self._frame = marker
        self._components = set(body[6 : 6 + 3 * channels : 3])
        self.parts.width, self.parts.height = width, height
        self.parts.channels, self.parts.grey = channels, channels == 1

    def _take_scan(self, body: bytes) -> bytes:
        """The scan's header, without the numbers that have a meaning only in progressive files."""
        self._scans += 1
        if self._scans > MAX_SCANS:
            raise broken(f"the JPEG has more than {MAX_SCANS} scans")
        count = body[0] if body else 0
        if len(body) != 4 + 2 * count:
            raise broken()
        if self._frame not in _PROGRESSIVE:
            body = body[:-3] + b"\0\x3f\0"
        if body[-3] == 0:  # from coefficient 0 on, which is the mean
            self._begun.update(body[1 : 1 + 2 * count : 2])
        return body

    def _take_application(self, marker: int, body: bytes) -> None:
        """Keep the two application segments that define how colours became channels, and note what others say."""
        if marker == 0xE0 and body.startswith(b"JFIF\0"):
            # Rewritten, because libjpeg warns of versions that it does not know.
            self._jfif = _JFIF
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12 and body[11] <= 2:
            self._adobe = self._adobe or body[:12]
        elif marker == 0xE1 and body.startswith(_EXIF):
            self.parts.note_exif(body)
        elif marker == 0xE1 and body.startswith(_XMP):
            self.parts.note_xmp(body)
        elif marker == 0xEB and body.startswith(_JUMBF):
            self.parts.credentialed = True
        elif marker == 0xE2 and body.startswith(_ICC) and len(self._icc) < 255:
            self._icc.append(body[len(_ICC) :])


def take_jpeg_apart(data: bytes) -> Parts:
    """The parts of a JPEG. Raises Rejected. Missing coded data is found only when it is decoded."""
    reader = _Reader()
    for marker, body, coded in _segments(data):
        reader.take(marker, body, coded)
    return reader.finish()


def _head(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body))


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each segment's marker, payload and, for a scan, the coded data after it. They end with the picture, or with the
    file if that ends after a scan.

    Raises Rejected when the file ends elsewhere.
    """
    position = 2
    behind_scan = False
    for _ in range(MAX_PIECES):
        # Bytes between segments are not allowed, but every reader skips them; 0xFF may be used as filling.
        found = _MARKER.search(data, position)
        if found is None:
            if behind_scan:
                return
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
            end = _AFTER_SCAN.search(data, position)
            stop = end.start() if end else len(data)
            coded = data[position:stop]
            position = stop
        behind_scan = marker == 0xDA
        yield marker, body, coded
    raise broken("the file is cut into too many pieces")


def _joined(pieces: list[bytes]) -> bytes:
    """A profile from its numbered pieces; empty when a piece is missing or the profile is too long."""
    pieces = sorted(pieces)
    if any(piece[:2] != bytes((index, len(pieces))) for index, piece in enumerate(pieces, 1)):
        return b""
    profile = b"".join(piece[2:] for piece in pieces)
    return profile if len(profile) <= MAX_PROFILE else b""


def decode_jpeg(parts: Parts, width: int, height: int) -> Image.Image:
    """The picture as L, RGB or CMYK, at least ``width`` by ``height`` unless it is smaller itself.

    A larger one is decoded at as few eighths of its size as suffice, which takes less time and memory. Raises Rejected
    for data that libjpeg warns of, because it would replace missing parts by grey.
    """
    stream = parts.stream
    mode, space = {1: ("L", "GRAY"), 4: ("CMYK", "CMYK")}.get(parts.channels, ("RGB", "RGB"))
    sizes = {"min_width": width, "min_height": height, "min_factor": 1}
    try:
        pixels = simplejpeg.decode_jpeg(stream, space, **sizes)
    except ValueError as error:
        if "Insufficient memory" in str(error):
            raise MemoryError from error
        if "subsampling" in str(error):
            return _rarely_sampled(stream, width, height)
        if not _only_padded(stream, str(error)):
            raise broken() from error
        pixels = simplejpeg.decode_jpeg(stream, space, strict=False, **sizes)
    if mode == "L":
        pixels = pixels[:, :, 0]
    elif mode == "CMYK":
        # CMYK files are inverted, as Photoshop writes them.
        pixels = 255 - pixels
    return Image.fromarray(pixels, mode=mode) if mode == "CMYK" else Image.fromarray(pixels)


def _rarely_sampled(stream: bytes, width: int, height: int) -> Image.Image:
    """Decodes the chroma subsampling that libjpeg-turbo's simple interface does not accept. Pillow decodes it, but does
    not report damage."""
    image = Image.open(io.BytesIO(stream), formats=("JPEG",))
    image.draft(None, (width, height))
    image.load()
    return image


def _only_padded(stream: bytes, warning: str) -> bool:
    """Whether the only warning is about padding after the coded data, which some cameras write."""
    match = _EXTRANEOUS.search(warning)
    if match is None:
        return False
    count = int(match[1])
    return count <= PADDING or len(set(stream[-2 - count : -2])) == 1
