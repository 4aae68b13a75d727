"""The metrics of several processes as one: each counts in files of its own, and their parent adds them up.

prometheus-client keeps the files of dead processes, since counters may not fall, so a process that dies every second
would fill the disk with them. Here the parent adds the counts of a dead process to one file and deletes its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where the processes put their files. prometheus-client reads it when it is imported."""
_PREFIX = "reroom-metrics-"
_ADDED_UP = ("counter", "histogram", "summary")


class SharedMetrics:
    """For the parent, which makes it before it starts processes. Folders that a killed parent left are removed first;
    ``close`` removes this one's."""

    def __init__(self) -> None:
        _remove_left(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Held until this process ends, however it does, so that the folder is known to be in use.
        self._held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        self._lock = threading.Lock()
        os.environ[VARIABLE] = str(self.folder)
        self._collector = MultiProcessCollector(None, str(self.folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            found: Iterable[Metric] = self._collector.collect()  # type: ignore[no-untyped-call]
        return found

    def ended(self, pid: int) -> None:
        """A process has died: its counts stay, its gauges go, which are all of the live kinds."""
        with self._lock:
            for file in self.folder.glob(f"*_{pid}.db"):
                kind = file.name.partition("_")[0]
                if kind in _ADDED_UP:
                    _add(file, self.folder / f"{kind}_0.db")
                file.unlink()

    def close(self) -> None:
        os.environ.pop(VARIABLE, None)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._held)


def _add(file: Path, to: Path) -> None:
    """Add the values of one file to those of another."""
    values = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    sums = MmapedDict(str(to))  # type: ignore[no-untyped-call]
    for key, value, timestamp, _ in values:
        before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
        sums.write_value(key, before + value, timestamp)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]


def _remove_left(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
