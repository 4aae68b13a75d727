"""Files that are whole or not there, also after a power cut: written beside, flushed, renamed, the folder flushed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Replace ``file`` at once. Two writers of the same file need a lock, since they write beside it under one name.

    Raises OSError; the file is then as it was.
    """
    new = file.with_name(f".{file.name}.new")
    try:
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


def move(source: Path, place: Path) -> None:
    """Rename a file or a folder, which takes the place of a file or of nothing, and flush both parents."""
    os.rename(source, place)
    flush_folder(place.parent)
    if source.parent != place.parent:
        flush_folder(source.parent)


def flush_folder(folder: Path) -> None:
    """Until this returns, names in ``folder`` that are new may be lost by a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Flush every file and every folder in ``folder``, and itself."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            handle = os.open(os.path.join(place, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        flush_folder(Path(place))
