"""Photos in, pictures out: local files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

Photo = str | os.PathLike[str] | bytes | BinaryIO
"""A photo: a path, the bytes of a JPEG, PNG or WebP file, or a file opened for reading such bytes."""


def read_photo(photo: Photo) -> bytes:
    """The bytes of a photo; raises OSError when the file cannot be read."""
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, str | os.PathLike):
        return Path(photo).read_bytes()
    return photo.read()


def content_type(photo: bytes) -> str:
    """The media type that a photo's first bytes tell; what they do not tell, the service will refuse."""
    if photo.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if photo[8:12] == b"WEBP" else "image/jpeg"


@contextmanager
def atomic(target: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its place when all is written, and leaves nothing behind when anything fails."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
