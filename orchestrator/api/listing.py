"""``GET /transform``: the caller's jobs in pages, the newest first, and their favourites."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from litestar import Controller, Request, delete, get, put
from litestar.di import NamedDependency
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from orchestrator.api.access import Rule, access
from orchestrator.api.bodies import operation_reading
from orchestrator.api.errors import Problem, problems
from orchestrator.api.presenters import Presenter, Status, StatusData
from orchestrator.api.queries import query_parameter, wanted, which_parameters, whole_number
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import JobState
from orchestrator.domain.keys import Caller
from orchestrator.ports import ListPlace
from orchestrator.services.jobs import JobService, JobView

PAGE, MOST = 20, 100
"""How many jobs a page has unless asked otherwise, and at most."""
STATES = tuple(JobState)
_PAGES = (
    query_parameter(
        "limit",
        "Jobs of a page, at most",
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST, default=PAGE),
    ),
    query_parameter("cursor", "`next` of the page before", Schema(type=OpenAPIType.STRING)),
)


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[StatusData]
    """The newest first. Estimates and places in the queue are null here: ask for a job's status."""
    next: str | None
    """The ``cursor`` of the next page, which may be empty; null on the last one."""


class ListingController(Controller):
    path = "/transform"
    tags = ("transform",)

    @get(
        "/",
        opt=access(Rule.READ),
        operation_id="list_jobs",
        summary="Your jobs, the newest first",
        operation_class=operation_reading(*which_parameters(STATES), *_PAGES),
        responses=problems(400, 503),
    )
    async def list_jobs(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> JobList:
        limit = whole_number(request, "limit", 1, MOST, PAGE)
        after = place_of(request.query_params.get("cursor"))
        page = await jobs.page(caller, wanted(request, STATES), after=after, limit=limit)
        shown = [await presenter.status(JobView(job=job)) for job in page.jobs]
        return JobList(data=shown, next=None if page.next is None else cursor_of(page.next))

    @put(
        "/{job_id:str}/favourite",
        opt=access(Rule.TRANSFORM),
        operation_id="set_favourite",
        summary="Keep a job and its pictures until you say otherwise",
        responses=problems(400, 404, 409, 503),
    )
    async def mark(
        self,
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> Status:
        return Status(data=await presenter.status(await jobs.set_favourite(job_id, True, caller)))

    @delete(
        "/{job_id:str}/favourite",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="unset_favourite",
        summary="Let a favourite be deleted in its time, like other jobs",
        responses=problems(400, 404, 503),
    )
    async def unmark(
        self,
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> Status:
        return Status(data=await presenter.status(await jobs.set_favourite(job_id, False, caller)))


def cursor_of(place: ListPlace) -> str:
    """The place as text for a URL. Clients must not read anything into it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str | None) -> ListPlace | None:
    """Raises Problem for what is no cursor."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(text, type=ListPlace)
    except (ValueError, binascii.Error):
        detail = "this is no cursor: take `next` of the page before, or leave it out for the first page"
        raise Problem(ProblemCode.INVALID_CURSOR, detail, field="cursor") from None
