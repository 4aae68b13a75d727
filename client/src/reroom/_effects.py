"""What an operation of the client asks for, and what it gets.

The client's logic does no I/O itself. An :data:`Operation` is a generator: it yields effects, such as :class:`Send`,
and is sent the result of each: a :class:`Reply`, a message, a path or None. A :class:`Failure` is raised inside it.
The asyncio client and the blocking client perform the effects.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from reroom._files import Output, Photo
from reroom.events import Event

T = TypeVar("T")


class Read(msgspec.Struct, frozen=True):
    """Asks for a photo's bytes; see :func:`reroom._files.read_photo`."""

    photo: Photo


class Send(msgspec.Struct, frozen=True):
    """Asks to send a request and to read the whole answer: its result is a Reply."""

    method: str
    url: str
    """A path of the API, without a slash at its beginning; or a URL, which may be another server's."""
    body: bytes = b""
    headers: Mapping[str, str] = {}
    form: Mapping[str, str] | None = None
    """Text fields of a multipart form, sent with ``files`` if there are any, in place of a body."""
    files: Mapping[str, bytes] = {}
    """The form's files by field."""
    patience: float = 0.0
    """Seconds that the answer may take beyond the usual, because the service is asked to wait."""


class Save(msgspec.Struct, frozen=True):
    """Asks to write a picture to a local file; its result is the path; see :func:`reroom._files.save`."""

    picture: bytes
    output: Output
    stem: str


class Sleep(msgspec.Struct, frozen=True):
    """Asks to wait."""

    seconds: float


class Connect(msgspec.Struct, frozen=True):
    """Asks the client to open the WebSocket at ``path``, or the stream of server-sent events. One that the operation
    has open is closed first."""

    path: str
    timeout: float
    stream: bool = False


class Receive(msgspec.Struct, frozen=True):
    """Asks for the next message of the WebSocket or the stream: its result is a str or bytes.

    It fails with TimedOut after ``timeout`` seconds (may be infinite), or with SocketClosed. Of a stream, the time is
    only looked at when the service sends something, which it does every ten seconds.
    """

    timeout: float


class Emit(msgspec.Struct, frozen=True):
    """Asks to give an event to the caller."""

    event: Event


Effect = Read | Send | Save | Sleep | Connect | Receive | Emit


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Failure(Exception):
    """Base: the effect had no result."""


class ConnectFailed(Failure):
    """No connection could be made: the service has received nothing of the request."""


class ConnectionLost(Failure):
    """The connection broke: the service may or may not have acted."""


class TimedOut(Failure):
    """No answer in time: the service may or may not have acted."""


class HandshakeRefused(Failure):
    """The service answered the WebSocket handshake with an HTTP error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP status {reply.status}")
        self.reply = reply


class SocketClosed(Failure):
    """The WebSocket was closed, with the ``code`` of RFC 6455 (1006 = no close frame) and the service's reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with code {code} {reason}".rstrip())
        self.code, self.reason = code, reason


Operation = Generator[Effect, Any, T]
"""Yields effects, is sent their results, returns its own."""


class Done(Generic[T]):
    """The end of an operation, with its result."""

    def __init__(self, value: T) -> None:
        self.value = value


def advance(operation: Operation[T], result: Any) -> Effect | Done[T]:
    """Give an operation the result of its last effect (None at its start); its next effect, or its end."""
    try:
        return operation.throw(result) if isinstance(result, Failure) else operation.send(result)
    except StopIteration as stop:
        return Done(stop.value)
