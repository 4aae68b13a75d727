"""Several processes that answer at one address, and the parent that replaces one of them when it dies.

They share one listening socket: a connection that waits is taken by whichever process comes first. With a socket of
each one's own (SO_REUSEPORT) the connections that wait for a process would be lost with it.

Not uvicorn's own supervisor (0.54): when a process dies over one of its pings it neither replaces one nor obeys
SIGTERM until the ping has timed out, and with a short timeout it kills processes that a busy machine starts slowly.
Not stack/supervisor.py either, which starts commands: these processes inherit a socket, and a container that runs the
API alone does not have the stack.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from uvicorn.config import STARTUP_FAILURE

POLL_SECONDS = 0.1
REPLACE_SECONDS = 1.0
"""One that dies as soon as it runs would otherwise keep a core busy with starting it."""

Serve = Callable[[Sequence[socket.socket]], None]
"""What a process runs: it serves at the sockets until SIGTERM, and exits with STARTUP_FAILURE if it cannot begin. A
function of a module, since a fresh interpreter must find it."""

_log = logging.getLogger("reroom.processes")


def serve_in_processes(
    serve: Serve, processes: int, sockets: Sequence[socket.socket], stop_seconds: float
) -> int:
    """Keep ``processes`` serving until SIGTERM or SIGINT; then each gets SIGTERM, and SIGKILL after ``stop_seconds``.

    Returns the exit status: 0, or STARTUP_FAILURE when one of the first could not begin, as the next could not either.
    Those that replace a process are tried again, since others serve meanwhile: it may be memory that lacks.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.append(number))
    _log.info("%d processes listen on %s port %d", processes, *sockets[0].getsockname()[:2])
    _start_tracker()
    places = [_Place(serve, sockets) for _ in range(processes)]
    try:
        while not asked:
            time.sleep(POLL_SECONDS)
            for place in places:
                place.check()
    except CannotStart as error:
        _log.error("%s", error)
        return STARTUP_FAILURE
    finally:
        for place in places:
            place.process.terminate()
        deadline = time.monotonic() + stop_seconds
        for place in places:
            place.process.join(max(0.0, deadline - time.monotonic()))
            place.process.kill()
            place.process.join()
    return 0


def _start_tracker() -> None:
    """The process that multiprocessing starts beside ours: without our environment, which it would show to every
    process of our user, secrets and all. It needs none of it but what Python itself may need to start."""
    kept = dict(os.environ)
    try:
        for name in kept.keys() - {"LD_LIBRARY_PATH"}:
            del os.environ[name]
        resource_tracker.ensure_running()
    finally:
        os.environ.update(kept)


class CannotStart(Exception):
    """One of the first processes could not begin to serve."""


class _Place:
    """A process, and in time those that replace it."""

    def __init__(self, serve: Serve, sockets: Sequence[socket.socket]) -> None:
        self._arguments = (serve, sockets)
        self._died_at: float | None = None
        self._first = True
        self.process = self._start()

    def _start(self) -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(target=_run, args=self._arguments)
        process.start()
        return process

    def check(self) -> None:
        """Replace it if it has died; raises CannotStart."""
        status, now = self.process.exitcode, time.monotonic()
        if status is None:
            return
        if status == STARTUP_FAILURE and self._first:
            raise CannotStart(f"process {self.process.pid} could not begin to serve; stopping them all")
        if self._died_at is None:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            _log.error("process %d %s; another takes its place", self.process.pid, how)
            self._died_at = now
        elif now - self._died_at >= REPLACE_SECONDS:
            self.process, self._died_at, self._first = self._start(), None, False


def _run(serve: Serve, sockets: Sequence[socket.socket]) -> None:
    _end_with_parent()
    serve(sockets)


def _end_with_parent() -> None:
    """SIGTERM to ourselves when the parent was killed, which cannot end us any more: we would keep its address."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
