"""``POST /tickets``: lets a browser follow a job, or show its pictures, where it can send no header."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import json_body, operation_with
from orchestrator.api.requests.small_bodies import MAX_BODY_BYTES, read_json
from orchestrator.api.responses.errors import problems
from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.keys import Caller
from orchestrator.services.jobs import JobService
from orchestrator.services.keys import TICKET_SECONDS, KeyService


class TicketRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /tickets``."""

    job_id: Annotated[str, Meta(max_length=100)]


class TicketAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    ticket: str
    """For the query parameter ``ticket`` of one request about the job: the WebSocket or a picture."""
    job_id: str
    expires_at: Time


class TicketsController(Controller):
    path = "/tickets"
    tags = ("transform",)

    @post(
        "/",
        status_code=201,
        opt=access(Rule.READ),
        operation_id="create_ticket",
        summary="A ticket for one request without a key, within 30 seconds",
        operation_class=operation_with(json_body("TicketRequest")),
        responses=problems(400, 404, 408, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        keys: NamedDependency[KeyService],
    ) -> TicketAnswer:
        asked = await read_json(request, TicketRequest)
        job = await jobs.find(asked.job_id, caller)
        expires_at = time.time() + TICKET_SECONDS
        ticket = await keys.ticket(caller, job.id)
        return TicketAnswer(ticket=ticket, job_id=job.id, expires_at=rfc3339(expires_at))
