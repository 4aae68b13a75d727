"""Redis clients with the settings that a job store needs, and Redis errors as the ports' Unavailable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from orchestrator.ports import Unavailable
from orchestrator.telemetry import metrics


class AccessDenied(Unavailable):
    """Redis refuses the user or the password of its URL."""


MAX_BLOCK = 2.0
"""Seconds that a read may block. Well under the socket timeout, since a longer read once hung for a minute."""

_SOCKET_TIMEOUT = 5.0
_DOWN = (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError, ClusterDownError)
"""ClusterDownError includes MASTERDOWN, from a replica that has lost its master."""
_NOT_NOW = re.compile(r"(^|-)(OOM|MISCONF|READONLY|NOREPLICAS|BUSY) ")
"""Errors of a Redis that cannot serve a valid command now: it is full, cannot write its log, is a replica, has lost its
replicas, or runs a slow script. Redis 6.2 puts the error of a script's write in the middle of the message."""


def connect(url: str, *, max_connections: int, retries: int) -> redis.Redis:
    """A client that waits for a free connection instead of failing. Raises ValueError for an invalid URL."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=_SOCKET_TIMEOUT,
        socket_timeout=_SOCKET_TIMEOUT,
        socket_connect_timeout=_SOCKET_TIMEOUT,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=retries),
        retry_on_error=[ConnectionError, TimeoutError],
        decode_responses=True,
    )
    return redis.Redis.from_pool(pool)


@contextmanager
def redis_calls(call: str = "other") -> Iterator[None]:
    """Translates the errors of the Redis calls inside it: a Redis that is down, loading, busy, full or read-only raises
    Unavailable, which is counted under ``call``; other errors are bugs and pass through.

    On Python 3.11, ``asyncio.wait_for`` inside redis-py swallows a cancellation that comes while it writes a command
    (one in ten, in an experiment), so that a task in a loop would never end. This function raises the cancellation.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        metrics.REDIS_ERRORS.labels(call).inc()
        raise AccessDenied(f"Redis: {error}") from error
    except _DOWN as error:
        _raise_swallowed(task, before)
        metrics.REDIS_ERRORS.labels(call).inc()
        raise Unavailable(f"Redis: {error}") from error
    except ResponseError as error:
        _raise_swallowed(task, before)
        if not _NOT_NOW.search(str(error)):
            raise
        metrics.REDIS_ERRORS.labels(call).inc()
        raise Unavailable(f"Redis: {error}") from error
    _raise_swallowed(task, before)


def _raise_swallowed(task: asyncio.Task[object] | None, before: int) -> None:
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
