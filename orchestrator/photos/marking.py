"""Marks pictures as made by AI, inside their files. Every encoder's last step: a changed or re-encoded file loses its
marks. These functions block while they compute: call them in a thread.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from orchestrator.domain.marks import Facts, xmp
from orchestrator.photos.credentials import Credentials, Source

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
_IHDR_END = len(_PNG) + 4 + 4 + 13 + 4
"""Where the chunk IHDR ends, which is always the first: length, name, 13 bytes, checksum."""


class Marker:
    """Marks pictures with ``version`` and ``provider`` of the service; without ``credentials`` nothing is signed."""

    def __init__(
        self, credentials: Credentials | None = None, *, version: str = "0.0.0", provider: str = ""
    ) -> None:
        self._credentials, self._version, self._provider = credentials, version, provider

    @property
    def signs(self) -> bool:
        """Whether there are credentials."""
        return self._credentials is not None

    def facts(
        self,
        job_id: str,
        made_at: float,
        *,
        release: str = "",
        kept: float | None = None,
        photo_type: str = "",
        of_several: bool = False,
    ) -> Facts:
        return Facts(
            job_id=job_id,
            made_at=made_at,
            version=self._version,
            provider=self._provider,
            release=release,
            kept=kept,
            photo_type=photo_type,
            of_several=of_several,
        )

    def mark(
        self, picture: bytes, facts: Facts, sources: Sequence[Source] = (), *, stamped: bool = False
    ) -> bytes:
        """A JPEG or PNG with its XMP packet and, with credentials that can sign now, a signed C2PA manifest that names
        ``sources``: one is the photo that the picture was made from, several are parts that were put side by side.

        ``stamped`` asks the time-stamping authority, if there is one. The pixels stay as they are. Raises ValueError
        for other files.
        """
        described = with_xmp(picture, xmp(facts))
        if self._credentials is None:
            return described
        return self._credentials.sign(described, facts, sources, stamped=stamped) or described


def with_xmp(picture: bytes, packet: bytes) -> bytes:
    """A JPEG or PNG, which has no XMP packet, with this one; not re-encoded. Raises ValueError for other files."""
    if picture.startswith(_JPEG):
        # A JFIF header stays the first segment, as its specification wants.
        jfif = picture[2:4] == b"\xff\xe0"
        at = 4 + int.from_bytes(picture[4:6], "big") if jfif else 2
        content = _JPEG_XMP + packet
        inserted = b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content
    elif picture.startswith(_PNG):
        at, content = _IHDR_END, b"iTXt" + _PNG_XMP + packet
        length, checksum = len(content) - 4, zlib.crc32(content)
        inserted = struct.pack(">I", length) + content + struct.pack(">I", checksum)
    else:
        raise ValueError("only JPEG and PNG files are marked")
    return picture[:at] + inserted + picture[at:]
