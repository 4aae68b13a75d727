"""HTTP/1.1 connections with limits of their number, of header size and of the time for each part of a request.

uvicorn has none of these limits. It uses h11 here, because its other parser, httptools, stops at any ``Upgrade:``, so
that the body is read as the next request, and accepts headers without a limit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from orchestrator.api.middleware.clients import Clients
from orchestrator.api.middleware.stopping import tell_stopping
from orchestrator.api.responses.errors import RETRY_AFTER, Problem, encode_problem
from orchestrator.domain.codes import ProblemCode
from orchestrator.server.parsing import MAX_HEADER_BYTES, MAX_HEADERS, BoundedParser
from orchestrator.telemetry import metrics

HEADER_SECONDS = 10.0
"""Seconds from a connection's beginning, or a later request's first byte, until the headers are complete."""
REST_SECONDS = 60.0
"""Seconds that a client may go on sending a body that was answered already: browsers read the answer only
afterwards."""
TAKE_SECONDS = 30.0
"""The period over which a client must read LEAST_RATE bytes per second of its answer, or all of it."""
LEAST_RATE = 8_000
LINGER_SECONDS, LINGER_BYTES = 2.0, 256 * 1024
"""How long, and for how many bytes, a refused connection is still read. Closing a connection with unread bytes resets
it, and the answer may be lost; but reading more than this would cost too much processor time."""
LINGERING = 100
"""The most refused connections that are still read."""
SHARE = 4
"""One client may have this fraction, a quarter, of the connections."""
_PIECE = 16 * 1024
_LAST = ((b"x-content-type-options", b"nosniff"), (b"connection", b"close"))

log = logging.getLogger("orchestrator.server.connections")


@dataclass
class Limits:
    """The limits and counters that all connections of a process share."""

    connections: int
    clients: Clients
    header_seconds: float = HEADER_SECONDS
    rest_seconds: float = REST_SECONDS
    take_seconds: float = TAKE_SECONDS
    linger_seconds: float = LINGER_SECONDS
    lingering: int = 0
    _noted: dict[str, tuple[float, int]] = field(default_factory=dict)

    def note(self, what: str, client: str) -> None:
        """Log a refusal, at most one line per second of each kind."""
        now = time.monotonic()
        last, missed = self._noted.get(what, (-1.0, 0))
        if now - last < 1.0:
            self._noted[what] = (last, missed + 1)
            return
        self._noted[what] = (now, 0)
        more = f" ({missed} more like it were not logged)" if missed else ""
        log.warning("refused %s: %s%s", client, what, more)


class BoundedProtocol(H11Protocol):
    """A connection. A refused request is answered with problem details and logged; the client has LINGER_SECONDS to
    read the answer."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn: BoundedParser = BoundedParser()
        self._limits = limits
        self._refused, self._dropped = False, 0
        self._awaiting: tuple[str, object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most, client = self._limits.connections, self._client()
        if len(self.connections) > most:
            self._refuse(_too_many("the service has as many connections as it can hold", 503))
        elif len(self.connections) > most // SHARE and client is not None and self._others(client):
            self._refuse(_too_many("there are too many connections from your address", 429))
        else:
            self._watch()

    def _client(self) -> str | None:
        return self._limits.clients.connected(self.client[0] if self.client else None)

    def _others(self, client: str) -> bool:
        """Whether the client has its share of the connections already."""
        name = self._limits.clients.connected
        peers = [peer for each in self.connections if (peer := getattr(each, "client", None))]
        return sum(name(peer[0]) == client for peer in peers) > self._limits.connections // SHARE

    def connection_lost(self, exc: Exception | None) -> None:
        if self._refused:
            self._limits.lingering -= 1
        for timer in (self._timer, self._taking):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn calls this when the server stops."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            tell_stopping(self.cycle.scope)

    def data_received(self, data: bytes) -> None:
        # h11 parses all the data that it gets. In small pieces, it detects an exceeded limit soon.
        for start in range(0, len(data), _PIECE):
            if self._refused or self.transport.is_closing() or self.transport.get_protocol() is not self:
                break
            super().data_received(data[start : start + _PIECE])
        if self._refused:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.flow.pause_reading()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Start the timer for what the client must send now, unless it is running already."""
        if self._refused:
            return
        awaited = self._awaited()
        if awaited == self._awaiting:
            return
        self._awaiting = awaited
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if awaited is not None:
            limits = self._limits
            seconds = limits.header_seconds if awaited[0] == "headers" else limits.rest_seconds
            self._timer = self.loop.call_later(seconds, self._late, awaited[0])

    def _awaited(self) -> tuple[str, object] | None:
        """What the client must send now, and after which request. Handlers limit the time of the bodies that they
        read."""
        if self.transport.get_protocol() is not self:
            return None  # it is a WebSocket's by now
        state = self.conn.their_state
        # Between requests uvicorn's keep-alive timer runs.
        if state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            return "headers", self.cycle
        if state is h11.SEND_BODY and self.cycle is not None and self.cycle.response_complete:
            return "rest", self.cycle
        return None

    def _late(self, what: str) -> None:
        if what == "rest":
            self._abort(f"the rest of an answered request took more than {self._limits.rest_seconds:g} s")
        elif self.conn.trailing_data[0]:
            slow = f"the headers of a request must come within {self._limits.header_seconds:g} s"
            self._refuse(Problem(ProblemCode.HEADERS_TOO_SLOW, slow))
        else:
            self.transport.close()  # browsers open connections in advance and expect no answer

    def _should_upgrade(self) -> bool:
        # uvicorn upgrades any request that offers it, and loses its body. An offer may be ignored (RFC 9110, 7.8).
        names = {name for name, _ in self.headers}
        plain = self.scope["method"] == "GET" and not names & {b"content-length", b"transfer-encoding"}
        return plain and super()._should_upgrade()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        # The WebSocket protocol has the whole request now. If it does not understand it, it would wait for ever.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self._abort("a WebSocket's handshake was not understood")

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: curl and Java offer HTTP/2 with every request."""

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this when h11 refuses a request."""
        fault = self.conn.fault
        if fault is not None and fault.error_status_hint == 431:
            most = f"headers may have at most {MAX_HEADER_BYTES} bytes and {MAX_HEADERS} lines"
            self._refuse(Problem(ProblemCode.HEADERS_TOO_LARGE, most))
        else:
            self._refuse(Problem(ProblemCode.MALFORMED_REQUEST, "the request is not valid HTTP/1.1"))

    def _refuse(self, problem: Problem) -> None:
        self._limits.note(f"{problem.status}, {problem.detail}", self.client[0] if self.client else "?")
        metrics.CONNECTIONS_REFUSED.labels(problem.code).inc()
        self._refused = True
        self._limits.lingering += 1
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(self._answer(problem))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._limits.lingering > LINGERING or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(self._limits.linger_seconds, self.transport.abort)

    def _answer(self, problem: Problem) -> bytes:
        headers, body = encode_problem(problem, "/")
        response = h11.Response(
            status_code=problem.status,
            headers=[*self.server_state.default_headers, *headers, *_LAST],
            reason=HTTPStatus(problem.status).phrase.encode(),
        )
        events = (response, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self.conn.send(event) or b"" for event in events)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_to_take()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # The connection closes only after the client has read the rest of the answer.
        self._expect_to_take()

    def _expect_to_take(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
        left = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self._limits.take_seconds, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left and before - left < LEAST_RATE * self._limits.take_seconds:
            self._abort(f"it read less than {LEAST_RATE} bytes a second of its answer")
        elif left:
            self._expect_to_take()

    def _abort(self, why: str) -> None:
        self._limits.note(why, self.client[0] if self.client else "?")
        self.transport.abort()


def _too_many(detail: str, status: int) -> Problem:
    return Problem(
        ProblemCode.TOO_MANY_CONNECTIONS, f"{detail}; try again soon", status=status, headers=RETRY_AFTER
    )
