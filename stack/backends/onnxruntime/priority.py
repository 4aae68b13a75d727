"""How much of a busy processor a model's process asks for while it loads.

Loading a graph takes a core for a quarter of a second and more, most of it for importing numpy and ONNX Runtime. When
a release is loaded beside the one that serves, the jobs that run need that core. So ``model.py`` calls :func:`load`
before it imports them, and :func:`serve` when the graph is loaded.

That needs the right to become as important again: root, CAP_SYS_NICE, or a limit (``ulimit -e``) of 20. Without it
nothing is changed. Linux has a niceness for each thread; threads inherit that of the thread that starts them.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

LOADING = 10
"""The niceness of a process that loads, where one that serves has ``SERVING``: a tenth of its share."""

SERVING = os.getpriority(os.PRIO_PROCESS, 0)

CAP_SYS_NICE = 23
"""Its number: capabilities(7)."""


def may_return() -> bool:
    """Whether this process may set its niceness back to what it is now."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if limit == resource.RLIM_INFINITY or limit >= 20 - SERVING:
        return True
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> CAP_SYS_NICE & 1)
    return False


def load() -> None:
    """Yield to others from now on, where that can be taken back."""
    if SERVING < LOADING and may_return():
        os.setpriority(os.PRIO_PROCESS, 0, LOADING)


def serve() -> None:
    """Take it back, for all threads of this process."""
    for thread in os.listdir("/proc/self/task"):
        # A thread may end meanwhile; and where :func:`load` did nothing, nothing is to be done.
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, int(thread)) != SERVING:
                os.setpriority(os.PRIO_PROCESS, int(thread), SERVING)
