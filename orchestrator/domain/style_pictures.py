"""The pictures of styles: a file for each beside the file of styles, in the folder ``style_pictures``.

``made_by.toml`` in that folder names the release that made a picture from a photo, by the style; a picture that it does
not name is an illustration of the style, which no release made. ``python -m
dollhouse.evaluate.style_pictures`` writes all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.domain.styles import StylesError

FOLDER = "style_pictures"
MADE_BY = "made_by.toml"
MAX_BYTES = 256 * 1024
MEDIA_TYPES = {".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png"}


class StylePicture(msgspec.Struct, frozen=True, kw_only=True):
    """A style's picture."""

    data: bytes
    media_type: str
    digest: str
    """16 hexadecimal digits that differ for pictures that differ."""
    made_by: str | None
    """The release that restyled a photo; None: an illustration of the style, which no release made."""


def load_pictures(folder: Path) -> Mapping[str, StylePicture]:
    """The pictures in a folder by their styles' names; none where there is no such folder. Raises StylesError."""
    try:
        files = sorted(each for each in folder.iterdir() if each.suffix in MEDIA_TYPES)
        text = (folder / MADE_BY).read_bytes() if (folder / MADE_BY).exists() else b""
        made_by = msgspec.toml.decode(text, type=dict[str, str])
        return {file.stem: _picture(file, made_by.get(file.stem)) for file in files}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StylesError(f"{folder} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StylesError(f"{folder / MADE_BY} must be TOML with a release for each style: {error}") from None


def _picture(file: Path, made_by: str | None) -> StylePicture:
    if file.stat().st_size > MAX_BYTES:
        raise StylesError(f"{file} has more than {MAX_BYTES} bytes: scale it down")
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()[:16]
    return StylePicture(data=data, media_type=MEDIA_TYPES[file.suffix], digest=digest, made_by=made_by)
