"""The folder in which a version is laid out before it is moved to its place."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging_folder(releases: Path, bundle: str) -> Iterator[Path]:
    """An empty folder in ``releases`` in which the next version of ``bundle`` is laid out; it is removed at the end.

    What a killed export left there is removed first. Raises BlockingIOError while another process has it.
    """
    folder = releases / f".{bundle}"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        # The kernel gives the lock up when the process ends, however that comes about.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise BlockingIOError(
            f"another export, fetch or removal of {bundle} in {releases} is at work: wait for it"
        ) from error
    try:
        for item in folder.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
