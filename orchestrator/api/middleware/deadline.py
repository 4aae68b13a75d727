"""Limits the time until an answer, whichever part is slow: the store, a model server, the queue for decoders."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from orchestrator.api.responses.errors import RETRY_AFTER, Problem, send_problem
from orchestrator.domain.codes import ProblemCode

_EXCHANGE, _UNHURRIED = "exchange", "unhurried_seconds"

log = logging.getLogger(__name__)


@contextmanager
def unhurried(scope: Scope) -> Iterator[None]:
    """In this block the handler takes long on purpose: its time does not count, and it sees to its end itself."""
    exchange: _Exchange | None = scope.get("state", {}).get(_EXCHANGE)
    if exchange is None:
        yield
        return
    exchange.pause()
    began = time.perf_counter()
    try:
        yield
    finally:
        exchange.go_on()
        scope["state"][_UNHURRIED] = unhurried_seconds(scope) + time.perf_counter() - began


def unhurried_seconds(scope: Mapping[str, Any] | Scope) -> float:
    """The seconds that the request has spent in such blocks, which say nothing about how fast the service is."""
    seconds: float = scope.get("state", {}).get(_UNHURRIED, 0.0)
    return seconds


class AnswerWithin:
    """ASGI middleware: answers 503 when the handler has not answered after ``seconds``, and cancels the handler.

    The time in which the handler waits for the client's bytes is not counted; slow work before them is. The handler's
    clean-up may continue after the answer, and a server that stops waits for it.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, receive, send, self._seconds).run(self._app)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, seconds: float) -> None:
        self._scope, self._receive, self._send, self._seconds = scope, receive, send, seconds
        self._left, self._since, self._complete = seconds, 0.0, False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: asyncio.Task[None] | None = None
        self._answered, self._paused = False, False
        scope["state"][_EXCHANGE] = self

    async def run(self, app: ASGIApp) -> None:
        self._task = asyncio.current_task()
        self._run_clock()
        try:
            await app(self._scope, self._from_client, self._to_client)
        except asyncio.CancelledError:
            if self._refusal is None:
                raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if self._refusal is not None:
            await self._refused()

    async def _refused(self) -> None:
        assert self._refusal is not None
        # Find out whether, beside this class, also a server that stops has cancelled the task.
        cancelled = self._task is not None and self._task.uncancel() > 0
        await self._refusal
        if cancelled:
            raise asyncio.CancelledError

    def pause(self) -> None:
        self._stop_clock()
        self._paused = True

    def go_on(self) -> None:
        self._paused = False
        self._run_clock()

    def _run_clock(self) -> None:
        if self._paused:
            return
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        self._timer = loop.call_later(self._left, self._give_up)

    def _stop_clock(self) -> None:
        if self._paused:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._left -= asyncio.get_running_loop().time() - self._since

    def _give_up(self) -> None:
        if self._answered or self._task is None:
            return
        path = self._scope["raw_path"].decode("ascii", "replace")
        log.warning("%s: no answer after %g s, so 503", path, self._seconds)
        detail = f"there was no answer within {self._seconds:g} s; try again soon"
        problem = Problem(ProblemCode.UNAVAILABLE, detail, headers=RETRY_AFTER)
        self._refusal = asyncio.create_task(send_problem(problem, self._scope, self._send))
        self._task.cancel()

    async def _from_client(self) -> Any:
        if self._complete:
            return await self._receive()
        self._stop_clock()
        try:
            message = await self._receive()
        finally:
            self._run_clock()
        self._complete = message["type"] != "http.request" or not message["more_body"]
        return message

    async def _to_client(self, message: Message) -> None:
        if self._refusal is None:
            self._answered = True
            await self._send(message)
