"""Recognises the kind of an uploaded file by its first bytes."""

from __future__ import annotations

SAVE_AS = "save the photo as JPEG, PNG, WebP, HEIC or AVIF and send that"
_BRANDS_AT = 8
_HEIF = frozenset((
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"avif", b"avis",
))  # fmt: skip
"""Those of HEIC and AVIF."""
_OTHERS = {
    b"GIF8": "a GIF",
    b"II*\0": "a TIFF or a camera's raw file",
    b"MM\0*": "a TIFF or a camera's raw file",
    b"BM": "a BMP",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop document",
    b"\xff\x0a": "a JPEG XL",
    b"\0\0\0\x0cJXL ": "a JPEG XL",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"PK\x03\x04": "a ZIP archive",
}


def is_accepted(data: bytes | bytearray) -> bool:
    """Whether the file begins like a JPEG, a PNG, a WebP, a HEIC or an AVIF."""
    jpeg, png = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return data.startswith((jpeg, png)) or webp or is_heif(data)


def is_heif(data: bytes | bytearray) -> bool:
    """Whether the file begins like a HEIC or an AVIF. Videos have other brands."""
    if data[4:8] != b"ftyp":
        return False
    places = (_BRANDS_AT, *range(_BRANDS_AT + 8, _box_end(data) - 3, 4))
    return not _HEIF.isdisjoint(bytes(data[start : start + 4]) for start in places)


def refusal(data: bytes | bytearray) -> str:
    """A sentence for the sender of a file that is not accepted."""
    if data[4:8] == b"ftyp":
        return f"the file is a video, not a photo; {SAVE_AS}"
    start = bytes(data[:512]).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return f"the file is an SVG drawing, not a photo; {SAVE_AS}"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return f"the file is a web page, not a photo; {SAVE_AS}"
    for beginning, name in _OTHERS.items():
        if data.startswith(beginning):
            return f"the file is {name}, which is not taken; {SAVE_AS}"
    return f"the file is not a picture of a kind that is taken; {SAVE_AS}"


def _box_end(data: bytes | bytearray) -> int:
    """The end of the list of brands, at most byte 512."""
    return min(int.from_bytes(data[:4], "big"), len(data), 512)
