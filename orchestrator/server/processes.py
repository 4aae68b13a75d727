"""Runs several processes that serve at one address, and replaces one that dies.

They share one listening socket, so that any process can accept a waiting connection. If each process had a socket of
its own (SO_REUSEPORT), the connections that wait for a process would be lost with it.

It stands in place of uvicorn's own supervisor (0.54). When a process dies during a ping, that neither replaces it nor
obeys SIGTERM until the ping has timed out; with a short timeout it kills processes that a busy machine starts slowly.
Nor is it stack/supervisor.py, which starts commands: these processes inherit a socket, and a container that runs the
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
"""Seconds before a dead process is replaced. Without them, one that always dies at once would keep a core busy."""

Serve = Callable[[Sequence[socket.socket]], None]
"""The function that a process runs: it serves at the sockets until SIGTERM, and exits with STARTUP_FAILURE if it cannot
begin. It must be a module's function, so that a new interpreter can import it."""

_log = logging.getLogger("reroom.processes")


def serve_in_processes(
    serve: Serve,
    processes: int,
    sockets: Sequence[socket.socket],
    stop_seconds: float,
    died: Callable[[int], None] = lambda pid: None,
) -> int:
    """Keep ``processes`` serving until SIGTERM or SIGINT; then each gets SIGTERM, and SIGKILL after ``stop_seconds``.

    ``died`` is called once with the id of a process that has died, before another takes its place.

    Returns the exit status: 0, or STARTUP_FAILURE when one of the first processes could not begin. A replacement that
    cannot begin is tried again, since the others still serve and the cause, such as a lack of memory, may pass.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.append(number))
    _log.info("%d processes listen on %s port %d", processes, *sockets[0].getsockname()[:2])
    _start_tracker()
    places = [_Place(serve, sockets, died) for _ in range(processes)]
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
    """Start multiprocessing's resource tracker without this process's environment. Other processes of the same user can
    read the tracker's environment, which would contain secrets. It keeps only what Python needs to start."""
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
    """A process and its replacements."""

    def __init__(self, serve: Serve, sockets: Sequence[socket.socket], died: Callable[[int], None]) -> None:
        self._arguments, self._died = (serve, sockets), died
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
            assert self.process.pid is not None
            self._died(self.process.pid)
        elif now - self._died_at >= REPLACE_SECONDS:
            self.process, self._died_at, self._first = self._start(), None, False


def _run(serve: Serve, sockets: Sequence[socket.socket]) -> None:
    _end_with_parent()
    serve(sockets)


def _end_with_parent() -> None:
    """Send SIGTERM to this process when its parent was killed, since otherwise it would keep the address for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
