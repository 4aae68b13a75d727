"""``/transform``: the caller's jobs in pages, the newest first; those to cancel together; and their favourites."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import operation_reading
from orchestrator.api.requests.queries import bad, query_parameter, wanted, which_parameters, whole_number
from orchestrator.api.responses.errors import Problem, ProblemDetail, described, problems
from orchestrator.api.responses.presenters import Presenter, Status, StatusData
from orchestrator.api.routes.batch import MULTI_STATUS, SOME
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.job import TERMINAL, JobState
from orchestrator.domain.keys import Caller
from orchestrator.ports import JobFinished, ListPlace, Wanted
from orchestrator.services.jobs import JobService

PAGE, MOST = 20, 100
"""How many jobs a page has unless asked otherwise, and at most."""
MOST_CANCELLED = 100
"""How many jobs one request cancels, at most."""
PAGES = 10
"""How many pages of the caller's jobs are looked at for those that a filter means."""
CURSOR = "^[0-9a-f]{46}$"
UNFINISHED = tuple(state for state in JobState if state not in TERMINAL)
STATES = tuple(JobState)
_PAGES = (
    query_parameter(
        "limit",
        "Jobs of a page, at most",
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST, default=PAGE),
    ),
    query_parameter("cursor", "`next` of the page before", Schema(type=OpenAPIType.STRING, pattern=CURSOR)),
)


class JobList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[StatusData]
    """The newest first. Estimates and places in the queue are null here: ask for a job's status."""
    next: str | None
    """The ``cursor`` of the next page, which may be empty; null on the last one."""


class CancelItem(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    status: StatusData | None
    """The job after it; one that runs is stopped shortly afterwards."""
    problem: ProblemDetail | None


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool
    """Whether all of them were cancelled."""
    data: list[CancelItem]
    more: bool
    """Whether there may be more jobs that the filter means: ask again."""


_IDS = query_parameter(
    "id",
    f"Ids of jobs, up to {MOST_CANCELLED}",
    Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.STRING), max_items=MOST_CANCELLED),
)


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
        shown = [await presenter.status(view) for view in await jobs.views_of(page.jobs)]
        return JobList(data=shown, next=None if page.next is None else cursor_of(page.next))

    @delete(
        "/",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="cancel_jobs",
        summary="Cancel the jobs that are named, and those that the filters mean; without any, none",
        operation_class=operation_reading(_IDS, *which_parameters(UNFINISHED)),
        responses={MULTI_STATUS: ResponseSpec(CancelAnswer, description=SOME, generate_examples=False)}
        | problems(400, 503),
    )
    async def cancel(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> Response[CancelAnswer]:
        ids = list(dict.fromkeys(request.query_params.getall("id", [])))
        which = wanted(request, UNFINISHED)
        if len(ids) > MOST_CANCELLED:
            raise bad("id", f"one request cancels at most {MOST_CANCELLED} jobs")
        meant: list[str] = []
        more = False
        if which != Wanted():
            meant, more = await _meant(jobs, caller, which, MOST_CANCELLED - len(ids))
        answers = []
        for job_id in dict.fromkeys([*ids, *meant]):
            try:
                status = await presenter.status(await jobs.cancel(job_id, caller))
                answers.append(CancelItem(job_id=job_id, status=status, problem=None))
            except Exception as error:
                # A job that ended meanwhile is none that the filter means any more.
                if job_id in ids or not isinstance(error, JobFinished):
                    problem = described(error, request.url.path)
                    answers.append(CancelItem(job_id=job_id, status=None, problem=problem))
        refused = any(answer.problem for answer in answers)
        return Response(
            CancelAnswer(success=not refused, data=answers, more=more),
            status_code=MULTI_STATUS if refused else 200,
        )

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


async def _meant(jobs: JobService, caller: Caller, which: Wanted, limit: int) -> tuple[list[str], bool]:
    """The ids of up to ``limit`` unfinished jobs that a filter means, and whether there may be more of them."""
    which = msgspec.structs.replace(which, states=which.states or frozenset(UNFINISHED))
    ids: list[str] = []
    after = None
    for _ in range(PAGES):
        if len(ids) == limit:
            return ids, True
        page = await jobs.page(caller, which, after=after, limit=limit - len(ids))
        ids += [job.id for job in page.jobs]
        after = page.next
        if after is None:
            return ids, False
    return ids, True


def cursor_of(place: ListPlace) -> str:
    """The place as text for a URL. Clients must not read anything into it."""
    return f"{place.made:014x}{place.job_id}"


def place_of(cursor: str | None) -> ListPlace | None:
    """Raises Problem for what is no cursor."""
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR.strip("^$"), cursor):
        detail = "this is no cursor: take `next` of the page before, or leave it out for the first page"
        raise Problem(ProblemCode.INVALID_CURSOR, detail, field="cursor")
    return ListPlace(int(cursor[:14], 16), cursor[14:])
