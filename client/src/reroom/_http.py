"""REST without I/O: when to retry, which error an answer means, how to decode a body."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from reroom._effects import (
    ConnectFailed,
    ConnectionLost,
    Failure,
    Operation,
    Reply,
    Send,
    Sleep,
    TimedOut,
)
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

TRANSIENT = frozenset({502, 503, 504})
"""HTTP statuses after which a retry may succeed."""

_ERROR_OF_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest, 401: Forbidden, 402: RateLimited, 403: Forbidden, 404: NotFound, 409: Conflict,
    413: InvalidRequest, 415: InvalidRequest, 422: InvalidRequest, 429: RateLimited,
}  # fmt: skip


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and for how long to retry: exponential backoff with jitter."""

    attempts: int = 5
    """Tries of a request, or of a WebSocket without a message in between; 1 = no retry."""
    base: float = 0.25
    """Seconds; the n-th pause is drawn from base·2ⁿ/2 … base·2ⁿ."""
    longest: float = 10.0
    """No pause is longer (s); a service that asks for a longer one is taken to be down."""

    watch_seconds: float = 30.0
    """Seconds after its last message for which a WebSocket is opened again, however often: a service that restarts is
    back by then, and the job goes on meanwhile."""

    def pause(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the ``failures``-th failure (from 1), at least ``retry_after``."""
        backoff = min(self.longest, self.base * 2.0 ** min(failures, 32))
        return max(backoff * random.uniform(0.5, 1.0), retry_after or 0.0)

    def gives_up(self, failures: int, retry_after: float | None = None) -> bool:
        """Whether to stop after the ``failures``-th failure."""
        return failures >= self.attempts or (retry_after or 0.0) > self.longest


class _Problem(msgspec.Struct):
    """The members of RFC 9457 problem details that are used here."""

    detail: str = ""
    title: str = ""
    code: str = ""
    field: str | None = None


def error_from_reply(reply: Reply) -> ApiError:
    """The exception for an answer that is not a success, whether or not its body is problem details."""
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    kind = _ERROR_OF_STATUS.get(reply.status, ServerError if reply.status >= 500 else ApiError)
    return kind(
        reply.status,
        problem.code or f"http_{reply.status}",
        problem.detail or problem.title or f"the service answered with HTTP status {reply.status}",
        field=problem.field,
        retry_after=retry_after(reply),
    )


def error_from_problem(problem: Mapping[str, Any]) -> ApiError:
    """The exception for problem details that are a part of an answer."""
    status = problem.get("status")
    return error_from_reply(
        Reply(status if isinstance(status, int) else 500, {}, msgspec.json.encode(problem))
    )


def retry_after(reply: Reply) -> float | None:
    """Seconds of the Retry-After header, which may also be a date; None when it is absent or invalid."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def error_from_failure(failure: Failure) -> ReroomError:
    """The exception for a request that got no answer."""
    return Timeout(str(failure)) if isinstance(failure, TimedOut) else ConnectionFailed(str(failure))


def if_transient(cause: Failure | ApiError) -> bool:
    """Retry an idempotent request (GET; DELETE of the same thing): after whatever may pass."""
    if isinstance(cause, ApiError):
        return cause.status in TRANSIENT
    return isinstance(cause, ConnectFailed | ConnectionLost)


def if_repeatable(cause: Failure | ApiError) -> bool:
    """Retry a request with an idempotency key: after whatever may pass, and while an earlier try is being done."""
    in_use = isinstance(cause, ApiError) and cause.code == "idempotency_key_in_use"
    return in_use or if_transient(cause)


def unless_too_slow(cause: Failure | ApiError) -> bool:
    """Retry an idempotent but expensive request: not after 504, when the service was too slow for it."""
    return if_transient(cause) and not (isinstance(cause, ApiError) and cause.status == 504)


def request(
    effect: Send, policy: RetryPolicy, retry: Callable[[Failure | ApiError], bool], *, redirect: bool = False
) -> Operation[Reply]:
    """Send until it succeeds, ``retry`` says no or the policy gives up; raises the last error. With ``redirect`` an
    answer that leads elsewhere is a success as well."""
    failures = 0
    while True:
        cause: Failure | ApiError
        try:
            reply: Reply = yield effect
        except Failure as failure:
            cause, error, wait = failure, error_from_failure(failure), None
        else:
            if reply.status < 300 or (redirect and reply.status < 400):
                return reply
            cause = error = error_from_reply(reply)
            wait = error.retry_after
        failures += 1
        if not retry(cause) or policy.gives_up(failures, wait):
            raise error
        yield Sleep(policy.pause(failures, wait))


def decode(reply: Reply, kind: type[T]) -> T:
    """The body as a struct; raises ProtocolError."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"the service's answer was not understood: {error}") from error
