"""Protects processes that hold secrets from inspection by other processes of the same user."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def make_undumpable() -> None:
    """Until this process executes another program, it writes no core file and allows no debugger, and only root can
    read its /proc/PID/environ and mem.

    It cannot fail on Linux. On other systems it does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), *[ctypes.c_ulong(0)] * 3)
