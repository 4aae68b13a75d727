"""The border between what the client decides and what it does.

An operation is a generator (:data:`Steps`) that yields effects and is sent what came of them: a :class:`Reply`, a
message, nothing, or a :class:`Failure`, which is raised inside it. It knows neither sockets nor event loops; the two
shells perform effects, one with blocking calls, one with awaits.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from reroom._files import Output
from reroom.events import Event

T = TypeVar("T")


class Send(msgspec.Struct, frozen=True):
    """Send a request and read the whole answer → Reply."""

    method: str
    path: str
    form: Mapping[str, str] | None = None
    """Text fields of a multipart form, sent with ``file`` if there is one."""
    file: bytes | None = None
    json: bytes | None = None


class Put(msgspec.Struct, frozen=True):
    """PUT bytes to a URL, which may be another server's → Reply."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Fetch(msgspec.Struct, frozen=True):
    """GET a URL, which may be another server's, and read the whole answer → Reply."""

    url: str


class Save(msgspec.Struct, frozen=True):
    """Write a picture to a local file → its path; see :func:`reroom._files.save`."""

    picture: bytes
    output: Output
    stem: str


class Sleep(msgspec.Struct, frozen=True):
    seconds: float


class Connect(msgspec.Struct, frozen=True):
    """Open the operation's WebSocket; one that is open already is closed first."""

    path: str
    timeout: float


class Receive(msgspec.Struct, frozen=True):
    """The next message of the WebSocket → str | bytes, within ``timeout`` seconds (may be infinite)."""

    timeout: float


class Emit(msgspec.Struct, frozen=True):
    """Hand an event to whoever iterates."""

    event: Event


Effect = Send | Put | Fetch | Save | Sleep | Connect | Receive | Emit


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Failure(Exception):
    """Base of what can become of an effect instead of an answer."""


class Unreached(Failure):
    """No connection could be made: the service has seen nothing of the request."""


class Lost(Failure):
    """The connection broke: the service may or may not have acted."""


class Expired(Failure):
    """No answer in time: the service may or may not have acted."""


class Refused(Failure):
    """The service answered the WebSocket handshake with an HTTP error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP status {reply.status}")
        self.reply = reply


class Closed(Failure):
    """The WebSocket was closed: RFC 6455 ``code`` (1006 = without a close frame) and the other side's reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with code {code} {reason}".rstrip())
        self.code, self.reason = code, reason


Steps = Generator[Effect, Any, T]


class Done(Generic[T]):
    """The end of an operation."""

    def __init__(self, value: T) -> None:
        self.value = value


def advance(steps: Steps[T], outcome: Any) -> Effect | Done[T]:
    """Go on with an operation (``outcome`` is None at its start): the next effect, or its end."""
    try:
        return steps.throw(outcome) if isinstance(outcome, Failure) else steps.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)
