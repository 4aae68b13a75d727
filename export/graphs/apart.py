"""Work in a process of its own, which gives all memory back at its end and may crash."""

from __future__ import annotations

import ctypes
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ProcessDied(Exception):
    """The process ended before its work did: a library crashed, or memory ran out."""


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work``, a function of a module, returns or raises. Whoever stops waiting, by Ctrl-C or another exception,
    ends the process. Raises ProcessDied."""
    spawn = get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(sender, work, args, kwargs))
    process.start()
    sender.close()
    try:
        failed, outcome = receiver.recv()
        process.join()
    except EOFError as error:
        raise ProcessDied(f"the process of {work.__name__} died") from error
    finally:
        process.kill()
        process.join()
        receiver.close()
    if failed:
        raise outcome
    found: T = outcome
    return found


def _answer(sender: Connection, work: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Send whether ``work`` raised, and its result or exception."""
    end_with_parent()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends it to the parent too, which ends this process
    try:
        sender.send((False, work(*args, **kwargs)))
    except Exception as error:
        error.add_note(traceback.format_exc())
        sender.send((True, error))


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that comes about (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
