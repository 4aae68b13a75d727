"""Several processes that answer at one address, under uvicorn's supervisor, which replaces one that dies.

They share one listening socket: a connection that waits is taken by whichever process comes first. With a socket of
each one's own (SO_REUSEPORT) the connections that wait for a process are lost with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
from multiprocessing.connection import wait
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

HEALTHCHECK_SECONDS = 30
"""A process that has not answered the supervisor for so long hangs, and is replaced. It does not answer until its
interpreter has started, which takes seconds on a busy machine."""

_log = logging.getLogger("reroom.processes")


def serve_in_processes(app: str, processes: int, options: dict[str, Any]) -> str | int:
    """Serve the ASGI factory ``app`` ("module:function") until SIGTERM or SIGINT; ``options`` are uvicorn's.

    Returns what sys.exit takes: 0, or a sentence when it could not listen, or the status of processes that could not
    start.
    """
    config = uvicorn.Config(
        app, factory=True, workers=processes, timeout_worker_healthcheck=HEALTHCHECK_SECONDS, **options
    )
    try:
        sockets = bound(config.host, config.port)
    except OSError as error:
        return f"cannot listen on {config.host} port {config.port}: {error.strerror}"
    _log.info("%d processes listen on %s port %d", processes, config.host, sockets[0].getsockname()[1])
    supervisor = Multiprocess(config, sockets)
    supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets at all addresses of ``host``, as a single process has them (asyncio's create_server). Raises OSError."""
    made = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        each = socket.socket(family, kind, protocol)
        made.append(each)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.bind(address)
    return made


def end_with_parent() -> None:
    """Within one of the processes: SIGTERM to itself when the supervisor was killed, which could not end it any more.

    It would go on serving, and keep the address from the next start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
