"""How the command shows a job at work, always on stderr: stdout is for results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from reroom import events


class Display(Protocol):
    """Is shown every event of a job."""

    def show(self, event: events.Event) -> None: ...


def words(event: events.Event) -> str | None:
    """What an event says to a person; None for nothing."""
    match event:
        case events.Snapshot(data=job):
            return job.message or job.status
        case events.StatusChanged(status=status, message=message):
            return message or status
        case events.Analysis(objects=objects, room_type=room_type):
            things = f"{len(objects)} object" + ("" if len(objects) == 1 else "s")
            room = "room" if room_type == "unknown" else room_type.replace("_", " ")
            return f"saw {'an' if room == 'office' else 'a'} {room} with {things}"
        case events.Step(step=step, of=of):
            return f"step {step} of {of}"
        case events.Completed():
            return "completed"
        case _:
            return None


def progress(event: events.Event) -> float | None:
    """0 … 1, or None where the event has none."""
    match event:
        case events.Snapshot(data=job):
            return job.progress
        case events.StatusChanged() | events.Analysis() | events.Step() | events.Preview():
            return event.progress
        case events.Completed():
            return 1.0
        case _:
            return None


class Lines:
    """A line for every event that says something, with the seconds since the start: for logs and pipes."""

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label = console, label
        self._began, self._progress = time.monotonic(), 0.0

    def show(self, event: events.Event) -> None:
        done = progress(event)
        self._progress = self._progress if done is None else done
        if text := words(event):
            elapsed = time.monotonic() - self._began
            line = f"{elapsed:7.1f} s {self._progress:4.0%}  {self._label}{text}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bar:
    """A live bar: for terminals."""

    def __init__(self, bar: Progress, label: str) -> None:
        self._bar, self._label = bar, label
        self._task = bar.add_task(f"{label}sent", total=1.0)

    def show(self, event: events.Event) -> None:
        if (done := progress(event)) is not None:
            self._bar.update(self._task, completed=done)
        if text := words(event):
            self._bar.update(self._task, description=f"{self._label}{text}")


@contextmanager
def display(console: Console) -> Iterator[Callable[[str], Display]]:
    """Makes the fitting display for where stderr goes; what it shows of a job begins with a label."""
    if not console.is_terminal:
        yield partial(Lines, console)
        return
    # Texts come from a server: shown as they are, never as markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    # Results go to stdout, which may be no terminal although stderr is one.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield partial(Bar, bar)
