"""How the command shows a job's progress: on stderr, since stdout is for results."""

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
    """Shows the events of a job."""

    def show(self, event: events.Event) -> None: ...


def description(event: events.Event) -> str | None:
    """An event in words; None for one that is not shown."""
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
        case events.ChildChanged(place=place, event=happened):
            said = "failed" if isinstance(happened, events.Failed) else description(happened)
            return said and f"picture {place + 1}: {said}"
        case _:
            return None


def progress(event: events.Event) -> float | None:
    """The job's progress, 0 … 1; None when the event has none."""
    match event:
        case events.Snapshot(data=job):
            return job.progress
        case (
            events.StatusChanged()
            | events.Analysis()
            | events.Step()
            | events.Preview()
            | events.ChildChanged()
        ):
            return event.progress
        case events.Completed():
            return 1.0
        case _:
            return None


class Lines:
    """One line per event, with the seconds since the start: for logs and pipes."""

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label = console, label
        self._started, self._progress = time.monotonic(), 0.0

    def show(self, event: events.Event) -> None:
        if (done := progress(event)) is not None:
            self._progress = done
        if text := description(event):
            elapsed = time.monotonic() - self._started
            line = f"{elapsed:7.1f} s {self._progress:4.0%}  {self._label}{text}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bar:
    """A progress bar: for terminals."""

    def __init__(self, bar: Progress, label: str) -> None:
        self._bar, self._label = bar, label
        self._task = bar.add_task(f"{label}sent", total=1.0)

    def show(self, event: events.Event) -> None:
        if (done := progress(event)) is not None:
            self._bar.update(self._task, completed=done)
        if text := description(event):
            self._bar.update(self._task, description=f"{self._label}{text}")


@contextmanager
def display(console: Console) -> Iterator[Callable[[str], Display]]:
    """Gives a function that makes a job's display, which begins with a label: bars on a terminal, else lines."""
    if not console.is_terminal:
        yield partial(Lines, console)
        return
    # Texts come from a server: they are shown as they are, never as markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    # stdout, which gets the results, may be a file although stderr is a terminal.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield partial(Bar, bar)
