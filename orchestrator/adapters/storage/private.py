"""Files and folders that only their owner can read, whatever the umask, so that other users see no photo."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import BinaryIO

FILE, FOLDER = 0o600, 0o700

_log = logging.getLogger(__name__)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents. Existing folders stay as they are."""
    try:
        folder.mkdir(FOLDER)
        folder.chmod(FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)
        folder.mkdir(FOLDER, exist_ok=True)
        folder.chmod(FOLDER)


def new_file(path: Path) -> BinaryIO:
    """A new file, open for writing; raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
    os.fchmod(descriptor, FILE)
    return os.fdopen(descriptor, "wb")


def close_to_others(folder: Path) -> None:
    """Make a folder that an older version left readable for others private, and all in it. The folder comes first,
    which already bars the way to its contents."""
    try:
        if not folder.is_dir() or not folder.stat().st_mode & 0o077:
            return
        folder.chmod(FOLDER)
        for path, folders, files in os.walk(folder):
            for names, mode in ((folders, FOLDER), (files, FILE)):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        os.chmod(os.path.join(path, name), mode)
    except OSError as error:
        _log.warning("%s stays readable for other users of this machine: %s", folder, error.strerror or error)
