"""Shows how a fetch goes, on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from export.sources.hub_cache import Progress as FetchProgress
from export.sources.hub_cache import gigabytes

EVERY = 30.0
"""Seconds between two lines of a log."""


@contextmanager
def shown(console: Console | None = None) -> Iterator[FetchProgress]:
    """What :func:`export.sources.hub.fetch_bundle` takes as ``progress``."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._what, self._files, self._number = "", 0, 0

    def begin(self, what: str, files: int, size: int) -> None:
        self._what, self._files, self._number = what, files, 0
        self._task = self._bars.add_task(what, total=size)

    def file(self, name: str) -> None:
        self._number += 1
        if self._task is not None:
            self._bars.update(
                self._task, description=f"{self._what} {self._number} of {self._files}: {name[-40:]}"
            )

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._what, self._files, self._number = "", 0, 0
        self._size = self._done = 0
        self._begun = self._said = time.monotonic()

    def begin(self, what: str, files: int, size: int) -> None:
        self._what, self._files, self._number = what, files, 0
        self._size, self._done = size, 0
        self._begun = self._said = time.monotonic()

    def file(self, name: str) -> None:
        self._number += 1
        self.note(f"{self._what} {self._number} of {self._files}: {name}")

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        speed = max(self._done, 1) / (now - self._begun)
        left = max(self._size - self._done, 0) / speed
        self.note(
            f"{self._what}: {gigabytes(self._done)} of {gigabytes(self._size)}, {speed / 1e6:.1f} MB/s, "
            f"{left / 60:.0f} min left"
        )

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
