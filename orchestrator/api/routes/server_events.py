"""``GET /transform/{job_id}/events``: a job's events as they happen, as server-sent events.

The same messages as over the WebSocket, for clients and proxies that speak plain HTTP. Each event's id is its ``seq``,
so a browser's EventSource resumes by itself, with ``Last-Event-ID``; after the end it is answered 204 and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.middleware.semantics import is_head
from orchestrator.api.middleware.stopping import stopping
from orchestrator.api.requests.bodies import operation_reading
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.api.responses.messages import ConnectedMessage, Message, PongMessage, SnapshotMessage
from orchestrator.api.responses.presenters import Presenter
from orchestrator.api.responses.watching import (
    BAD_AFTER,
    RIGHTS_SECONDS,
    SEQ_PATTERN,
    KeyEnded,
    Watch,
    is_foreign,
    seq_of,
)
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.ports import JobNotFound, Unavailable
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import KeyService
from orchestrator.settings import Settings

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2000
"""How long a browser waits before it connects again."""
BEAT_SECONDS = RIGHTS_SECONDS
"""The longest silence, so that proxies, which often give up after a minute, keep the connection."""
_LAST_ID = "Last-Event-ID"
_encode = msgspec.json.Encoder().encode

_PLACE = Schema(type=OpenAPIType.STRING, pattern=SEQ_PATTERN)
_PARAMETERS = (
    Parameter(
        name="after",
        param_in="query",
        description="Events after this seq; 0 = from the first; without it those from now on",
        schema=_PLACE,
    ),
    Parameter(
        name=_LAST_ID,
        param_in="header",
        description="The same; browsers send it when they connect again. It goes before `after`",
        schema=_PLACE,
    ),
)

log = logging.getLogger(__name__)


class ServerEventsController(Controller):
    path = "/transform"
    tags = ("transform",)

    @get(
        "/{job_id:str}/events",
        opt=access(Rule.READ, ticket=True),
        operation_id="get_events",
        summary="A job's events as they happen, as server-sent events",
        operation_class=operation_reading(*_PARAMETERS),
        media_type=MEDIA_TYPE,
        responses={
            200: ResponseSpec(
                str,
                description="Events with a type, an id (its seq) and data: a Message in JSON",
                media_type=MEDIA_TYPE,
                generate_examples=False,
            ),
            204: ResponseSpec(
                None, description="The job has ended, and that was its last event", generate_examples=False
            ),
            **problems(400, 404, 503),
        },
    )
    async def events(
        self,
        request: Request[Any, Any, Any],
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        keys: NamedDependency[KeyService],
        presenter: NamedDependency[Presenter],
        settings: NamedDependency[Settings],
    ) -> Response[Any]:
        if is_foreign(request.headers.get("origin"), settings.origins):
            detail = "pages of this origin may not watch jobs; the service's operator can name it in ALLOWED_ORIGINS"
            raise Problem(ProblemCode.FORBIDDEN_ORIGIN, detail, field="origin")
        after = _after(request)
        watch = Watch(job_id, caller, jobs, keys, presenter)
        # What is wrong is said by the answer, and not by a stream that ends.
        if await watch.is_over(after or "0-0") and after is not None:
            return Response(None, status_code=204)
        headers = {"Cache-Control": "no-store"}
        if is_head(request.scope):
            return Response(None, media_type=MEDIA_TYPE, headers=headers)
        resumes = after is not None and await watch.has_more(after)
        return ServerSentEvent(
            _events(watch, after, stopping(request.scope), resumes=resumes), headers=headers
        )


def _after(request: Request[Any, Any, Any]) -> str | None:
    """After which event to begin; None = from now on. Raises Problem."""
    last, after = request.headers.get(_LAST_ID), request.query_params.get("after")
    found = None
    for text, field in ((after, "after"), (last, _LAST_ID.lower())):
        if text is not None:
            found = seq_of(text)
            if found is None:
                raise Problem(ProblemCode.INVALID_AFTER, BAD_AFTER, field=field)
    return found


async def _events(
    watch: Watch, after: str | None, stops: asyncio.Event, *, resumes: bool
) -> AsyncGenerator[ServerSentEventMessage, None]:
    """Ends after the terminal event, when the server stops, and when something is wrong: the client connects again, and
    is told what. ``resumes``: whether events after ``after`` follow the snapshot."""
    yield ServerSentEventMessage(data=None, comment="connected", retry=RETRY_MS)
    stopped = asyncio.create_task(stops.wait())
    messages = watch.messages(after)
    upcoming = asyncio.create_task(_next(messages))
    checked = time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait(
                (upcoming, stopped), timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if time.monotonic() - checked >= RIGHTS_SECONDS:
                checked = time.monotonic()
                with contextlib.suppress(Unavailable):
                    await watch.check_rights()
            if upcoming in done:
                message = upcoming.result()
                if message is None:
                    return
                yield _event(message, resumes=resumes)
                upcoming = asyncio.create_task(_next(messages))
            elif stopped in done:
                return
            else:
                yield ServerSentEventMessage(data=None, comment="still here")
    except (JobNotFound, KeyEnded, Unavailable) as error:
        log.info("a stream of events ends: %s", error)
    finally:
        for task in (upcoming, stopped):
            task.cancel()
        await asyncio.gather(upcoming, stopped, return_exceptions=True)
        await messages.aclose()


async def _next(messages: AsyncGenerator[Message, None]) -> Message | None:
    return await anext(messages, None)


def _event(message: Message, *, resumes: bool) -> ServerSentEventMessage:
    seq = None if isinstance(message, ConnectedMessage | PongMessage) else message.seq
    if resumes and isinstance(message, SnapshotMessage):
        # Its seq is the newest. A client that loses the connection now must resume from where it was.
        seq = None
    kind = type(message).__struct_config__.tag
    return ServerSentEventMessage(data=_encode(message).decode(), event=str(kind), id=seq)
