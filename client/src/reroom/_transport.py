"""The options that both clients give to httpx2 and websockets, and the failures that their exceptions mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from reroom._effects import (
    ConnectFailed,
    ConnectionLost,
    Failure,
    HandshakeRefused,
    Reply,
    Send,
    SocketClosed,
    TimedOut,
)

HTTP_ERRORS = (httpx2.TransportError, httpx2.DecodingError)
CONNECT_ERRORS = (OSError, InvalidHandshake)
SILENCE = 30.0
"""Seconds without a line after which a stream of events is taken to be lost."""
MAX_MESSAGE = 8 * 1024 * 1024
"""Bytes of a WebSocket message; a preview is ≤ 20 KB."""


def user_agent() -> str:
    try:
        return f"reroom-python/{version('reroom')}"
    except PackageNotFoundError:
        return "reroom-python"


def base_url(url: str) -> str:
    """The service's URL without a final slash; raises ValueError unless it is http(s)://host…"""
    wrong = f"{url!r} is not the URL of a service, such as http://localhost:8000"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError when it is none
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(wrong)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


KEY_VARIABLE = "REROOM_API_KEY"


class Service:
    """Where the service is, and the key to it: ``api_key``, else REROOM_API_KEY, else none. The key goes to the service
    alone, not to the storage that signed links may lead to, and is in no text of this object.

    Raises ValueError for what cannot be a URL or a key.
    """

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = base_url(url)
        key = (os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key).strip()
        # It becomes a header. The sentence must not show what may be a secret with a typing error.
        if not re.fullmatch(r"[!-~]*", key):
            raise ValueError("the API key must be like rr_…, without spaces or letters such as ä")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def absolute(self, url: str) -> str:
        """See :func:`absolute`."""
        return absolute(self.url, url)

    def ws_url(self, path: str) -> str:
        return f"ws{self.url.removeprefix('http')}{path}"

    def headers_for(self, url: str) -> dict[str, str]:
        """The headers that say who asks, for an absolute http(s) or ws(s) URL."""
        return self._headers if _origin(url) == _origin(self.url) else {}


def _origin(url: str) -> tuple[bool, str | None, int]:
    """Whether it is encrypted, the host and the port."""
    parts = urlsplit(url)
    encrypted = parts.scheme in ("https", "wss")
    return encrypted, parts.hostname, parts.port or (443 if encrypted else 80)


def http_options(timeout: float) -> dict[str, Any]:
    return {
        "timeout": httpx2.Timeout(timeout, connect=min(timeout, 10.0)),
        "headers": {"user-agent": user_agent(), "accept": "application/json, application/problem+json"},
    }


def ws_options(timeout: float, credentials: Mapping[str, str]) -> dict[str, Any]:
    return {
        "additional_headers": credentials,
        "open_timeout": timeout,
        "close_timeout": 1.0,
        "max_size": MAX_MESSAGE,
        "user_agent_header": user_agent(),
    }


def request_options(effect: Send, credentials: Mapping[str, str], usual: httpx2.Timeout) -> dict[str, Any]:
    """``credentials`` are headers beside the effect's own; ``usual`` are the client's time limits."""
    headers = {**effect.headers, **credentials}
    timeout = httpx2.Timeout(
        connect=usual.connect,
        read=None if usual.read is None else usual.read + effect.patience,
        write=usual.write,
        pool=usual.pool,
    )
    if effect.form is None and not effect.files:
        return {"content": effect.body, "headers": headers, "timeout": timeout}
    # Fields as nameless files, since a form without a file would not become multipart.
    parts: dict[str, Any] = {name: (None, value.encode()) for name, value in (effect.form or {}).items()}
    for name, data in effect.files.items():
        # A form needs file names; the user's own would tell the service more than it needs.
        parts[name] = ("photo", data, "application/octet-stream")
    return {"files": parts, "headers": headers, "timeout": timeout}


def stream_options(connect: float, credentials: Mapping[str, str]) -> dict[str, Any]:
    """Of a stream of events, on which the service says something every ten seconds."""
    return {
        "headers": {**credentials, "accept": "text/event-stream, application/problem+json"},
        "timeout": httpx2.Timeout(SILENCE, connect=connect),
    }


def no_stream(response: httpx2.Response) -> Failure:
    """What an answer means that is no stream."""
    if response.status_code == 204:
        return SocketClosed(1000, "the job has ended")
    return HandshakeRefused(reply(response))


def stream_ended() -> Failure:
    """Whether that was the end of the job, the next connection tells."""
    return SocketClosed(1006, "the stream of events ended")


def is_url(text: str) -> bool:
    """Whether it is a URL, as the service hands them out, rather than a path of the API or a job's id."""
    return text.startswith(("http://", "https://", "/"))


def absolute(base: str, url: str) -> str:
    """The absolute URL for a URL or a path of the API; no part of a path, such as "..", leads out of it."""
    return urljoin(f"{base}/", url) if is_url(url) else f"{base}/{url}"


def reply(response: httpx2.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content)


def http_failure(error: httpx2.TransportError | httpx2.DecodingError) -> Failure:
    text = str(error) or type(error).__name__
    match error:
        case (
            httpx2.ConnectError()
            | httpx2.ConnectTimeout()
            | httpx2.PoolTimeout()
            | httpx2.UnsupportedProtocol()
        ):
            return ConnectFailed(f"cannot reach the service: {text}")
        case httpx2.TimeoutException():
            return TimedOut("the service did not answer in time")
        case _:
            return ConnectionLost(f"lost the connection to the service: {text}")


def connect_failure(error: Exception) -> Failure:
    if isinstance(error, InvalidStatus):
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return HandshakeRefused(Reply(response.status_code, headers, bytes(response.body or b"")))
    return ConnectFailed(f"cannot reach the service: {str(error) or type(error).__name__}")


def closed(error: ConnectionClosed) -> SocketClosed:
    # 1006 is RFC 6455's code for a connection that ended without a close frame.
    return SocketClosed(1006, "") if error.rcvd is None else SocketClosed(error.rcvd.code, error.rcvd.reason)
