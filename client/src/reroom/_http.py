"""REST without I/O: when to try again, which error an answer means, how a body decodes."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from reroom._effects import Expired, Failure, Fetch, Lost, Put, Reply, Send, Sleep, Steps, Unreached
from reroom.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    NotFound,
    ProtocolError,
    RateLimited,
    ReroomError,
    ServerError,
    Timeout,
)

T = TypeVar("T")

PASSING = frozenset({502, 503, 504})
"""Statuses that may be gone at the next try."""

_CLASSES: dict[int, type[ApiError]] = {
    400: InvalidRequest, 401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict,
    413: InvalidRequest, 415: InvalidRequest, 422: InvalidRequest, 429: RateLimited,
}  # fmt: skip


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long to try again: exponential backoff with full jitter."""

    attempts: int = 5
    """Tries of a request, or of a broken WebSocket without a message in between; 1 = never again."""
    base: float = 0.25
    """Seconds; the n-th pause is drawn from base·2ⁿ/2 … base·2ⁿ."""
    longest: float = 10.0
    """No pause is longer (s); a service that asks for a longer one is taken to be down."""

    watch_seconds: float = 30.0
    """For how long a WebSocket that had begun to tell is tried again, however often: a service that is restarted is
    back by then, and the job goes on meanwhile."""

    def pause(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the ``failures``-th failure (from 1), at least ``retry_after``."""
        backoff = min(self.longest, self.base * 2.0 ** min(failures, 32))
        return max(backoff * random.uniform(0.5, 1.0), retry_after or 0.0)

    def gives_up(self, failures: int, retry_after: float | None = None) -> bool:
        """Whether to stop after the ``failures``-th failure."""
        return failures >= self.attempts or (retry_after or 0.0) > self.longest


class _Problem(msgspec.Struct):
    """RFC 9457 problem details, as far as they matter here."""

    detail: str = ""
    title: str = ""
    code: str = ""
    field: str | None = None


def error_of(reply: Reply) -> ApiError:
    """The exception for an answer that is not a success. A body that is not problem details is not insisted on."""
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    kind = _CLASSES.get(reply.status, ServerError if reply.status >= 500 else ApiError)
    return kind(
        reply.status,
        problem.code or f"http_{reply.status}",
        problem.detail or problem.title or f"the service answered with HTTP status {reply.status}",
        field=problem.field,
        retry_after=retry_after(reply),
    )


def retry_after(reply: Reply) -> float | None:
    """Seconds of the Retry-After header, which may also be a date; None when it is absent or senseless."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def error_from(failure: Failure) -> ReroomError:
    """The exception for a request that got no answer."""
    return Timeout(str(failure)) if isinstance(failure, Expired) else ConnectionFailed(str(failure))


def repeatable(cause: Failure | ApiError) -> bool:
    """When to send again what may be done twice (GET; DELETE of the same thing)."""
    if isinstance(cause, ApiError):
        return cause.status in PASSING
    return isinstance(cause, Unreached | Lost)


def once(cause: Failure | ApiError) -> bool:
    """When to send again what must not be done twice: nothing of it was received, or the service itself (no proxy
    before it) says with 503 that it stored nothing."""
    if isinstance(cause, ApiError):
        return cause.status == 503 and cause.code in ("unavailable", "queue_full")
    return isinstance(cause, Unreached)


def costly(cause: Failure | ApiError) -> bool:
    """When to send again what may be done twice but is dear: not after 504, when all the work was in vain."""
    return repeatable(cause) and not (isinstance(cause, ApiError) and cause.status == 504)


def request(
    effect: Send | Put | Fetch, policy: RetryPolicy, again: Callable[[Failure | ApiError], bool]
) -> Steps[Reply]:
    """Send until it succeeds, ``again`` says no or the policy gives up; raises the last error."""
    failures = 0
    while True:
        cause: Failure | ApiError
        try:
            reply: Reply = yield effect
        except Failure as failure:
            cause, error, wait = failure, error_from(failure), None
        else:
            if reply.status < 300:
                return reply
            cause = error = error_of(reply)
            wait = error.retry_after
        failures += 1
        if not again(cause) or policy.gives_up(failures, wait):
            raise error
        yield Sleep(policy.pause(failures, wait))


def decode(reply: Reply, kind: type[T]) -> T:
    """The body as a struct; raises ProtocolError."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"the service's answer was not understood: {error}") from error
