"""What a long-running command needs: reports on the terminal, an orderly end on signals, a folder of its own."""

from __future__ import annotations

import fcntl
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from stack.process import StackError

Report = Callable[[str], None]
"""Takes a line about what happens, for the user."""


def report(line: str) -> None:
    """Print the line on stderr; does nothing once the terminal has hung up, when writing fails."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once; what follows is ignored.

    A hang-up is ignored where it already was (nohup).
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, lambda *_: None)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def only_one(folder: Path, taken: str) -> Iterator[None]:
    """Make the folder and hold its lock; raises StackError(``taken``) when another process holds that."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(taken) from None
        yield
