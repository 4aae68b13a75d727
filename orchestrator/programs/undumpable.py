"""What processes that hold secrets do first: other processes of the same user cannot look into them."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def make_undumpable() -> None:
    """No core file, no debugger, and /proc/PID/environ and mem for root alone, until a program is executed.

    It cannot fail on Linux; elsewhere there is no such thing, and nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), *[ctypes.c_ulong(0)] * 3)
