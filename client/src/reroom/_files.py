"""Photos in, pictures out: local files."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from reroom._pictures import FORMATS, converted, extension, format_of

Photo = str | os.PathLike[str] | bytes | BinaryIO
"""A photo: a path, the bytes of a JPEG, PNG or WebP file, or a file opened for reading such bytes."""

Output = str | os.PathLike[str]
"""Where a picture goes: a file, whose extension names its format, or a folder."""

_LINKS = 40
"""Symbolic links in a row, as Linux counts them."""

_ONLY_IN_PLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY})
"""Why a file that may be written cannot be replaced: its folder takes no new files, or something is mounted on it."""


def read_photo(photo: Photo) -> bytes:
    """The bytes of a photo; raises OSError when the file cannot be read."""
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, str | os.PathLike):
        return Path(photo).read_bytes()
    return photo.read()


def content_type(photo: bytes) -> str:
    """The media type that a photo's first bytes tell; what they do not tell, the service will refuse."""
    return f"image/{format_of(photo).lower()}"


def is_folder(output: Output) -> bool:
    """Whether an output is a folder: one that is there, or a path that ends like one."""
    return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()


def wanted_format(output: Output) -> str | None:
    """The format that an output's extension names; None where it names none, which keeps the service's.

    Raises ValueError for an extension that is not a picture's.
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if not suffix or is_folder(output) or _is_special(path):
        return None
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(f"{path.name}: a picture's file ends in one of {known}, not in {path.suffix}")
    return FORMATS[suffix]


def save(picture: bytes, output: Output, stem: str) -> Path:
    """Write a picture to an output, in the format that it names; the path of the file.

    In a folder, which is made if it is missing, the file is called ``stem``. Raises what :func:`wanted_format`,
    :func:`converted` and :func:`write` raise.
    """
    wanted = wanted_format(output)
    path = Path(output)
    if is_folder(output):
        path.mkdir(exist_ok=True)
        # A name of the service's may not lead elsewhere.
        path = path / f"{Path(stem).name or 'picture'}{extension(picture)}"
    write(path, converted(picture, wanted))
    return path


def write(path: Path, data: bytes) -> None:
    """Put bytes into a file; raises OSError.

    A plain file appears whole or not at all, and one that was there keeps its permissions. Symbolic links are followed;
    pipes, devices and open descriptors (/dev/stdout) are written to.
    """
    descriptor = named_descriptor(path)
    if descriptor is not None:
        write_descriptor(descriptor, data)
        return
    place = Path(os.path.realpath(path))
    try:
        before = place.stat()
    except FileNotFoundError:
        before = None
    if before is None or stat.S_ISREG(before.st_mode):
        _write_plain(place, data, before)
    else:
        place.write_bytes(data)


def write_descriptor(descriptor: int, data: bytes) -> None:
    """Put bytes into an open descriptor, all of them: sys.stdout.buffer, when unbuffered, would write what fits."""
    with open(os.dup(descriptor), "wb") as file:
        file.write(data)


def named_descriptor(path: Path) -> int | None:
    """The open descriptor of this process that a path names, such as /dev/stdout or /dev/fd/3; None for other paths.

    Opening such a path again would begin at the start of a file to which the shell appends.
    """
    for _ in range(_LINKS):
        folder = os.path.realpath(path.parent)
        if folder == f"/proc/{os.getpid()}/fd" and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def may_write(path: Path) -> bool:
    """Whether this process may write to a file, or make files in a folder."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def may_write_descriptor(descriptor: int) -> bool:
    """Whether it is open, and for writing."""
    try:
        os.write(descriptor, b"")
    except OSError:
        return False
    return True


def _is_special(path: Path) -> bool:
    """Whether it is there, and neither a plain file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write_plain(place: Path, data: bytes, before: os.stat_result | None) -> None:
    if before is not None and not may_write(place):
        # Replacing would do what its permissions forbid.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
    try:
        _replace(place, data, before)
    except OSError as error:
        if before is None or error.errno not in _ONLY_IN_PLACE:
            raise
        place.write_bytes(data)


def _replace(place: Path, data: bytes, before: os.stat_result | None) -> None:
    """Write beside the place, then take it; leaves nothing behind when anything fails."""
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            if before is not None:
                _take_after(part, before)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _take_after(part: Path, before: os.stat_result) -> None:
    """Owner and permissions of the file that was there, as far as we may."""
    with suppress(PermissionError, AttributeError):  # Windows has no owners
        os.chown(part, before.st_uid, before.st_gid)
    part.chmod(stat.S_IMODE(before.st_mode))
