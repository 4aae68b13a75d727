"""Files and folders for their owner alone, whatever the umask: other users of the machine see no photo."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import BinaryIO

FILE, FOLDER = 0o600, 0o700

_log = logging.getLogger(__name__)


def make_folder(folder: Path) -> None:
    """With those above it that are missing; what is there stays as it is."""
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
    """To be written; raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
    os.fchmod(descriptor, FILE)
    return os.fdopen(descriptor, "wb")


def close_to_others(folder: Path) -> None:
    """A folder that an older version left open to others, and all in it; it first, which shuts off the rest."""
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
        _log.warning("%s stays open to other users of this machine: %s", folder, error.strerror or error)
