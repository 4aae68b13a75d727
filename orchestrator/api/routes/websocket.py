"""``WS /ws/transform/{job_id}``: a job's events as they happen.

A watcher is tasks that end together: one answers the client's messages, one sends the job's events, one sees whether
the key is still valid. Each client has a watcher of its own, so that a slow client delays no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from orchestrator.api.middleware.access import Rule, access, admitted
from orchestrator.api.responses.errors import Problem
from orchestrator.api.responses.messages import Message, PongMessage
from orchestrator.api.responses.presenters import Presenter
from orchestrator.api.responses.watching import BAD_AFTER as NO_SEQ
from orchestrator.api.responses.watching import RIGHTS_SECONDS, KeyEnded, Watch, is_foreign, seq_of
from orchestrator.domain.keys import Caller
from orchestrator.ports import JobNotFound, Unavailable
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import KeyService
from orchestrator.settings import Settings

log = logging.getLogger(__name__)

PATH = "/ws/transform/{job_id}"

NORMAL = 1000
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013
BAD_AFTER = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
JOB_NOT_FOUND = 4404

CLOSE_CODES = {
    NORMAL: "The job has ended, and every event was sent",
    INTERNAL_ERROR: "Something went wrong on our side; connect again with after",
    SERVICE_RESTART: "This server stops; connect again with after",
    TRY_AGAIN_LATER: "A part of the service cannot be reached; connect again with after, not at once",
    BAD_AFTER: "after is not a seq",
    UNAUTHORIZED: "No valid key or ticket was sent; connect again with a new ticket",
    FORBIDDEN: "The page's origin is not in ALLOWED_ORIGINS, or the key lacks the scope read",
    JOB_NOT_FOUND: "No job of yours has this id, or it was erased",
}
"""The close codes of the server and their meaning. uvicorn itself sends SERVICE_RESTART."""

SEND_SECONDS = 20.0
"""Seconds in which a client must accept a message; then the connection is dropped."""
_encode = msgspec.json.Encoder().encode

Socket = WebSocket[Any, Any, Any]


class _Close(Exception):
    """End the connection with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class _ClientGone(Exception):
    """The client has disconnected or does not read."""


@websocket("/ws/transform/{job_id:str}", opt=access(Rule.READ, ticket=True))
async def watch(
    socket: Socket,
    job_id: FromPath[str],
    jobs: NamedDependency[JobService],
    keys: NamedDependency[KeyService],
    presenter: NamedDependency[Presenter],
    settings: NamedDependency[Settings],
) -> None:
    """Send a job's events. Every handshake is accepted, because a browser gets no close code from a refused one."""
    watcher = _Watcher(socket, job_id, jobs, keys, presenter, settings.origins)
    with contextlib.suppress(_ClientGone):
        try:
            await watcher.run()
        except _Close as close:
            await watcher.close(close)
        except _ClientGone:
            raise
        except Exception:
            log.exception("watching job %s", job_id)
            await watcher.close(_Close(INTERNAL_ERROR, "something went wrong on our side"))


class _Watcher:
    def __init__(
        self,
        socket: Socket,
        job_id: str,
        jobs: JobService,
        keys: KeyService,
        presenter: Presenter,
        origins: Sequence[str],
    ) -> None:
        self._socket, self._job_id, self._origins = socket, job_id, origins
        self._jobs, self._keys, self._presenter = jobs, keys, presenter
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the client until the job ends or the client disconnects. Always raises _Close or _ClientGone."""
        await self._within_time(self._socket.accept())
        parts = (self._answer_client(), self._watch(), self._keep_rights())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        outcomes = [result for task, result in zip(tasks, results, strict=True) if task in done]
        raise next((outcome for outcome in outcomes if isinstance(outcome, Exception)), _ClientGone())

    async def close(self, close: _Close) -> None:
        await self._within_time(self._socket.close(code=close.code, reason=close.reason))

    async def _answer_client(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise _ClientGone
            await self._send(PongMessage())

    async def _watch(self) -> None:
        check_origin(self._socket.headers.get("origin"), self._origins)
        watch = self._watch_of(check_caller(self._socket))
        after = parse_after(self._socket.query_params.get("after"))
        try:
            async with contextlib.aclosing(watch.messages(after)) as messages:
                async for message in messages:
                    await self._send(message)
        except JobNotFound:
            raise _Close(JOB_NOT_FOUND, "no job of yours has this id") from None
        except Unavailable:
            raise _Close(TRY_AGAIN_LATER, "the service cannot be reached now") from None
        except KeyEnded as ended:
            raise _Close(UNAUTHORIZED, str(ended)) from None
        raise _Close(NORMAL, "the job is finished")

    async def _keep_rights(self) -> None:
        """Ends soon after the caller's key was revoked or has expired. Always raises."""
        while True:
            await asyncio.sleep(RIGHTS_SECONDS)
            try:
                await self._watch_of(check_caller(self._socket)).check_rights()
            except Unavailable:
                continue
            except KeyEnded as ended:
                raise _Close(UNAUTHORIZED, str(ended)) from None

    def _watch_of(self, caller: Caller) -> Watch:
        return Watch(self._job_id, caller, self._jobs, self._keys, self._presenter)

    async def _send(self, message: Message) -> None:
        async with self._sending:
            await self._within_time(self._socket.send_text(_encode(message).decode()))

    async def _within_time(self, sending: Any) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await sending
        except (TimeoutError, WebSocketDisconnect, OSError):
            raise _ClientGone from None


def check_origin(origin: str | None, origins: Sequence[str]) -> None:
    """Refuse pages of other origins, since browsers do not apply CORS to WebSockets. Raises _Close."""
    if is_foreign(origin, origins):
        raise _Close(FORBIDDEN, "this origin is not allowed")


def check_caller(socket: Socket) -> Caller:
    """Who watches. Raises _Close."""
    try:
        return admitted(socket.scope)
    except Problem as problem:
        codes = {401: UNAUTHORIZED, 403: FORBIDDEN}
        # A close frame has room for 123 bytes of reason.
        raise _Close(codes.get(problem.status, TRY_AGAIN_LATER), problem.detail[:100]) from None


def parse_after(after: str | None) -> str | None:
    """The query parameter ``after`` as a stream id; raises _Close."""
    if after is None:
        return None
    seq = seq_of(after)
    if seq is None:
        raise _Close(BAD_AFTER, NO_SEQ)
    return seq
