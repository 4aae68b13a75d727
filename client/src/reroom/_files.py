"""Local files: photos are read, pictures are written."""

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
"""A photo: a path, the bytes of a JPEG, PNG, WebP, HEIC or AVIF file, or a file opened for reading such bytes."""

Output = str | os.PathLike[str]
"""Where a picture is written: a file, whose extension chooses the format, or a folder."""

_LINKS = 40
"""How many symbolic links are followed one after another, as in Linux."""

_ONLY_IN_PLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY})
"""Errors of replacing a file that can still be overwritten: its folder takes no new files, or it is a mount point."""


def read_photo(photo: Photo) -> bytes:
    """The bytes of a photo; raises OSError when the file cannot be read."""
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, str | os.PathLike):
        return Path(photo).read_bytes()
    return photo.read()


def content_type(photo: bytes) -> str:
    """A photo's media type, by its first bytes; JPEG for what the service will refuse."""
    if photo[4:8] == b"ftyp":
        # The first brand may be one that HEIC and AVIF have in common.
        return "image/avif" if b"avif" in photo[8:64] else "image/heic"
    return f"image/{format_of(photo).lower()}"


def is_folder(output: Output) -> bool:
    """Whether an output is a folder: an existing one, or a path that ends with a slash."""
    return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()


def wanted_format(output: Output) -> str | None:
    """The format that an output's extension chooses; None = as the service sends it.

    Raises ValueError for an unknown extension.
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
    """Write a picture to an output, in the format that its extension chooses; returns the path of the file.

    In a folder, which is made if it is missing, the file is named ``stem``. Raises what :func:`wanted_format`,
    :func:`converted` and :func:`write` raise.
    """
    wanted = wanted_format(output)
    path = Path(output)
    if is_folder(output):
        path.mkdir(exist_ok=True)
        # The name comes from the service: it must not lead out of the folder.
        path = path / f"{Path(stem).name or 'picture'}{extension(picture)}"
    write(path, converted(picture, wanted))
    return path


def write(path: Path, data: bytes) -> None:
    """Put bytes into a file; raises OSError.

    A plain file is written whole or not at all, and an existing one keeps its permissions. Symbolic links are followed;
    pipes, devices and open descriptors (/dev/stdout) are written to.
    """
    descriptor = named_descriptor(path)
    if descriptor is not None:
        write_descriptor(descriptor, data)
        return
    target = Path(os.path.realpath(path))
    try:
        existing = target.stat()
    except FileNotFoundError:
        existing = None
    if existing is None or stat.S_ISREG(existing.st_mode):
        _write_plain(target, data, existing)
    else:
        target.write_bytes(data)


def write_descriptor(descriptor: int, data: bytes) -> None:
    """Write all the bytes to an open descriptor; an unbuffered sys.stdout.buffer may write only a part of them."""
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
    """Whether it exists and is neither a plain file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write_plain(target: Path, data: bytes, existing: os.stat_result | None) -> None:
    if existing is not None and not may_write(target):
        # Replacing the file would do what its permissions forbid.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    try:
        _replace(target, data, existing)
    except OSError as error:
        if existing is None or error.errno not in _ONLY_IN_PLACE:
            raise
        target.write_bytes(data)


def _replace(target: Path, data: bytes, existing: os.stat_result | None) -> None:
    """Write a file beside the target and rename it; nothing is left behind after an error."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            if existing is not None:
                _copy_permissions(existing, part)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _copy_permissions(existing: os.stat_result, file: Path) -> None:
    """Give a file the permissions of the one that it replaces, and its owner where this user may."""
    with suppress(PermissionError, AttributeError):  # Windows has no owners
        os.chown(file, existing.st_uid, existing.st_gid)
    file.chmod(stat.S_IMODE(existing.st_mode))
