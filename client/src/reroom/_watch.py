"""Watching a job over the WebSocket without I/O: reconnecting, resuming, ending."""

from __future__ import annotations

import math
import time

from reroom import events
from reroom._effects import Closed, Connect, Emit, Failure, Receive, Refused, Sleep, Steps
from reroom._http import PASSING, RetryPolicy, error_of
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

NORMAL = 1000
CONNECT_SECONDS = 10.0
STEADY_SECONDS = 20.0
"""Longer than making a connection may take. Proxies drop silent connections after half a minute or more."""
_REJECTED: dict[int, tuple[type[ApiError], int, str]] = {
    4400: (InvalidRequest, 400, "invalid_after"),
    4403: (Forbidden, 403, "origin_not_allowed"),
    4404: (NotFound, 404, "job_not_found"),
}
"""Close codes after which trying again is of no use, as the errors that REST would give."""

Outcome = events.Terminal | JobStatus
"""How a job ended: its terminal event, or a snapshot of it when the event lay before the start."""


class _Clock:
    """The time left until a deadline."""

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
    """Where in the job's events we are: lets each through once, in order."""

    def __init__(self, job_id: str, after: str | None) -> None:
        self._job_id = job_id
        self.after = after
        self._key = None if after is None else events.seq_key(after)
        self.outcome: Outcome | None = None
        """Set once the job has ended, whether or not its terminal event has come by."""

    @property
    def path(self) -> str:
        query = "" if self.after is None else f"?after={self.after}"
        return f"/ws/transform/{self._job_id}{query}"

    def take(self, event: events.Event) -> bool:
        """Note the event; whether it is new to the one who iterates."""
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


def watch(job_id: str, after: str | None, timeout: float | None, policy: RetryPolicy) -> Steps[Outcome]:
    """Emit a job's events until it has ended → how it ended.

    ``after`` None: a snapshot first, then what comes after it; otherwise the events after that ``seq``, no snapshot.
    A broken connection is resumed after the last event. Raises Timeout, ConnectionFailed, ApiError, ProtocolError.
    """
    clock, position = _Clock(job_id, timeout), _Position(job_id, after)
    failures, patient_until = 0, -math.inf
    while True:
        began = time.monotonic()
        try:
            yield Connect(position.path, clock.left(CONNECT_SECONDS))
            while not isinstance(position.outcome, events.Terminal):
                message: str | bytes = yield Receive(clock.left())
                event = events.decode(message)
                patient_until = time.monotonic() + policy.watch_seconds
                if event is not None and position.take(event):
                    failures = 0
                    yield Emit(event)
            return position.outcome
        except Failure as failure:
            clock.left()
            if position.outcome is not None and _is_end(failure):
                return position.outcome
            # A connection that held for a while was a good one, even if the job had nothing to tell.
            failures = 1 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            error = _fatal(failure)
            given_up = policy.gives_up(failures) and time.monotonic() > patient_until
            if error is not None or given_up:
                raise error or ConnectionFailed(f"lost the events of job {job_id}: {failure}") from failure
        yield Sleep(clock.left(policy.pause(failures)))


def _is_end(failure: Failure) -> bool:
    return isinstance(failure, Closed) and failure.code == NORMAL


def _fatal(failure: Failure) -> ReroomError | None:
    """The error for a failure that trying again cannot cure."""
    if isinstance(failure, Closed) and failure.code in _REJECTED:
        kind, status, code = _REJECTED[failure.code]
        return kind(status, code, failure.reason or code.replace("_", " "))
    if isinstance(failure, Refused) and failure.reply.status not in PASSING | {429}:
        return error_of(failure.reply)
    return None
