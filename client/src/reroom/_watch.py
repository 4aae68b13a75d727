"""How to follow a job, without I/O: reconnect, resume, end."""

from __future__ import annotations

import math
import time
from typing import Literal

import msgspec

from reroom import events
from reroom._effects import (
    Connect,
    Emit,
    Failure,
    HandshakeRefused,
    Operation,
    Receive,
    Send,
    Sleep,
    SocketClosed,
)
from reroom._http import TRANSIENT, RetryPolicy, decode, error_from_reply, if_transient, request
from reroom.errors import (
    ApiError,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    NotFound,
    ReroomError,
    Timeout,
)
from reroom.models import JobStatus

NORMAL_CLOSURE = 1000
CONNECT_SECONDS = 10.0
STABLE_SECONDS = 20.0
"""A connection that lasted longer than this was a good one. Longer than connecting may take (CONNECT_SECONDS); proxies
drop silent connections after half a minute or more."""
_ERROR_OF_CLOSE_CODE: dict[int, tuple[type[ApiError], int, str]] = {
    4400: (InvalidRequest, 400, "invalid_after"),
    4401: (Forbidden, 401, "unauthorized"),
    4403: (Forbidden, 403, "origin_not_allowed"),
    4404: (NotFound, 404, "job_not_found"),
}
"""Close codes that no retry can cure, as the errors that REST would give."""

Way = Literal["websocket", "http"]
"""How events come: over a WebSocket, or as server-sent events, where WebSockets do not get through."""

Outcome = events.Terminal | JobStatus
"""How a job ended: its terminal event, or a snapshot when that event came before the first one that was asked for."""


class _Status(msgspec.Struct):
    data: JobStatus


class _Deadline:
    """When a job must have ended."""

    def __init__(self, job_id: str, seconds: float | None) -> None:
        self._job_id, self._seconds = job_id, seconds
        self._end = time.monotonic() + (math.inf if seconds is None else seconds)

    def left(self, at_most: float = math.inf) -> float:
        """Seconds left, or ``at_most`` if that is less. Raises Timeout when none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Timeout(f"job {self._job_id} did not end within {self._seconds:g} s; it goes on")
        return min(left, at_most)


class _Position:
    """The last event that was seen, so that each is passed on once and in order."""

    def __init__(self, job_id: str, after: str | None, over: Way) -> None:
        self._job_id, self._over = job_id, over
        self.after = after
        self._key = None if after is None else events.seq_key(after)
        self.outcome: Outcome | None = None
        """How the job ended; None while it has not."""

    @property
    def path(self) -> str:
        query = "" if self.after is None else f"?after={self.after}"
        if self._over == "http":
            return f"transform/{self._job_id}/events{query}"
        return f"/ws/transform/{self._job_id}{query}"

    def advance(self, event: events.Event) -> bool:
        """Move to the event; whether it is new to the caller."""
        key = events.seq_key(event.seq)
        if isinstance(event, events.Snapshot):
            if event.data.finished:
                self.outcome = event.data
            if self._key is not None:
                return False
        elif self._key is not None and key <= self._key:
            return False
        self.after, self._key = event.seq, key
        if isinstance(event, events.Terminal):
            self.outcome = event
        return True


def watch(
    job_id: str, after: str | None, timeout: float | None, policy: RetryPolicy, over: Way = "websocket"
) -> Operation[Outcome]:
    """Emit a job's events until it has ended; returns how it ended.

    ``after`` None: a snapshot first, then what comes after it; otherwise the events after that ``seq``, no snapshot.
    A broken connection is resumed after the last event. Raises Timeout, ConnectionFailed, ApiError, ProtocolError.
    """
    deadline, position = _Deadline(job_id, timeout), _Position(job_id, after, over)
    failures, retry_until = 0, -math.inf
    while True:
        began = time.monotonic()
        try:
            yield Connect(position.path, deadline.left(CONNECT_SECONDS), over == "http")
            while not isinstance(position.outcome, events.Terminal):
                message: str | bytes = yield Receive(deadline.left())
                event = events.decode(message)
                retry_until = time.monotonic() + policy.watch_seconds
                if event is not None and position.advance(event):
                    failures = 0
                    yield Emit(event)
            return position.outcome
        except Failure as failure:
            deadline.left()
            # Of a job whose events have expired a stream brings the snapshot alone. That of a server which stops may
            # end there too, so the next connection confirms it.
            expired = failures > 0 and over == "http" and isinstance(failure, SocketClosed)
            if position.outcome is not None and (expired or _is_normal_end(failure)):
                return position.outcome
            if _is_normal_end(failure) and over == "http":
                return (yield from _status(job_id, policy))
            # A connection that lasted was a good one, even if the job sent no event.
            failures = 1 if time.monotonic() - began > STABLE_SECONDS else failures + 1
            error = _permanent_error(failure)
            given_up = policy.gives_up(failures) and time.monotonic() > retry_until
            if error is not None or given_up:
                raise error or ConnectionFailed(f"lost the events of job {job_id}: {failure}") from failure
        yield Sleep(deadline.left(policy.pause(failures)))


def _status(job_id: str, policy: RetryPolicy) -> Operation[JobStatus]:
    """Of a job that has no event after the one that was asked for: a stream says no more than that."""
    reply = yield from request(Send("GET", f"transform/status/{job_id}"), policy, if_transient)
    return decode(reply, _Status).data


def _is_normal_end(failure: Failure) -> bool:
    return isinstance(failure, SocketClosed) and failure.code == NORMAL_CLOSURE


def _permanent_error(failure: Failure) -> ReroomError | None:
    """The error for a failure that a retry cannot cure; None for others."""
    if isinstance(failure, SocketClosed) and failure.code in _ERROR_OF_CLOSE_CODE:
        kind, status, code = _ERROR_OF_CLOSE_CODE[failure.code]
        return kind(status, code, failure.reason or code.replace("_", " "))
    if isinstance(failure, HandshakeRefused) and failure.reply.status not in TRANSIENT | {429}:
        return error_from_reply(failure.reply)
    return None
