"""h11's parser of requests, with limits that are checked before anything is parsed."""

from __future__ import annotations

import re

import h11

MAX_HEADER_BYTES = 64 * 1024
"""Bytes of a request line and its headers together."""
MAX_HEADERS = 200
LONE_CHUNKS, LEAST_CHUNK = 1000, 64
"""After the first LONE_CHUNKS chunks of a body, chunks must have LEAST_CHUNK bytes on average, because each chunk costs
the same to parse."""

_BLANK_LINE = re.compile(rb"\n\r?\n")


class BoundedParser(h11.Connection):
    """The server's side of a connection. ``fault`` is why the last ``next_event`` failed."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)
        self.fault: h11.RemoteProtocolError | None = None
        self._chunks = self._body = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            if self.their_state is h11.IDLE:
                self._chunks = self._body = 0
                _check_head(self.trailing_data[0])
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check_framing(event)
            elif isinstance(event, h11.Data):
                self._check_chunk(event)
        except h11.RemoteProtocolError as error:
            self.fault = error
            raise
        return event

    def _check_chunk(self, data: h11.Data) -> None:
        self._chunks += data.chunk_start
        self._body += len(data.data)
        if self._chunks > LONE_CHUNKS + self._body // LEAST_CHUNK:
            raise h11.RemoteProtocolError("the body's chunks are too small")


def _check_head(data: bytes) -> None:
    """Raises RemoteProtocolError when ``data`` begins with more or larger headers than a request may have."""
    end = _BLANK_LINE.search(data, 0, MAX_HEADER_BYTES)
    headers = data.count(b"\n", 0, end.start()) if end else data.count(b"\n", 0, MAX_HEADER_BYTES) - 1
    if headers > MAX_HEADERS or (end is None and len(data) > MAX_HEADER_BYTES):
        raise h11.RemoteProtocolError("too many headers", error_status_hint=431)


def _check_framing(request: h11.Request) -> None:
    """Raises RemoteProtocolError when a proxy may find the end of the body elsewhere (RFC 9112, 6.1)."""
    if {name for name, _ in request.headers} >= {b"content-length", b"transfer-encoding"}:
        raise h11.RemoteProtocolError("two lengths")
