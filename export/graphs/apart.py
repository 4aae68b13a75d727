"""Work in a process of its own, which gives all memory back at its end and may crash."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class ProcessDied(Exception):
    """The process ended before its work did: a library crashed, or memory ran out."""


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work``, a function of a module, returns or raises. Raises ProcessDied."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, initializer=end_with_parent) as process:
        try:
            return process.submit(work, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise ProcessDied(f"the process of {work.__name__} died") from error


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that comes about (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
