"""Endpoints that submit, show, cancel and erase jobs."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery

from orchestrator.api.access import Rule, access
from orchestrator.api.bodies import FORM, UPLOADED, operation_with
from orchestrator.api.errors import Problem, problems
from orchestrator.api.forms import read_submit_form
from orchestrator.api.intake import Uploads
from orchestrator.api.presenters import Presenter, Status, Submitted, Which
from orchestrator.api.submissions import MAX_JSON_BYTES, read_upload_submission
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.services.jobs import JobService
from orchestrator.services.submissions import Submissions


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str


class TransformController(Controller):
    path = "/transform"
    tags = ("transform",)

    @post(
        "/submit",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="submit",
        summary="Queue the transformation of a photo",
        operation_class=operation_with(FORM),
        responses=problems(400, 402, 408, 409, 413, 415, 422, 429, 503),
    )
    async def submit(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        submissions: NamedDependency[Submissions],
        uploads: NamedDependency[Uploads],
        presenter: NamedDependency[Presenter],
    ) -> Submitted:
        await submissions.check_capacity()
        with uploads.hold(request) as intake:
            submission = await read_submit_form(request, intake.max_bytes, intake.count_bytes)
            return presenter.submitted(
                await submissions.submit(submission, caller, intake.client, intake.count_bytes)
            )

    @post(
        "/submit-upload",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="submit_upload",
        summary="Queue the transformation of a photo that was put into storage before",
        operation_class=operation_with(UPLOADED),
        responses=problems(400, 402, 408, 409, 413, 415, 422, 429, 503),
        request_max_body_size=MAX_JSON_BYTES,
    )
    async def submit_upload(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        submissions: NamedDependency[Submissions],
        uploads: NamedDependency[Uploads],
        presenter: NamedDependency[Presenter],
    ) -> Submitted:
        await submissions.check_capacity()
        with uploads.hold(request) as intake:
            submission = await read_upload_submission(request, intake.count_bytes)
            return presenter.submitted(
                await submissions.submit(submission, caller, intake.client, intake.count_bytes)
            )

    @get(
        "/status/{job_id:str}",
        opt=access(Rule.READ),
        operation_id="get_status",
        summary="A job as of now",
        responses=problems(400, 404, 503),
    )
    async def status(
        self,
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> Status:
        return Status(data=await presenter.status(await jobs.status(job_id, caller)))

    @get(
        "/{job_id:str}/picture",
        status_code=307,
        opt=access(Rule.READ, ticket=True),
        operation_id="get_picture",
        summary="Leads to a picture of a completed job, by a link that expires",
        responses={
            307: ResponseSpec(None, description="The header Location has the link", generate_examples=False),
            **problems(400, 404, 409, 503),
        },
    )
    async def picture(
        self,
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
        which: FromQuery[Which] = "transformed",
    ) -> Response[None]:
        url = await presenter.picture(await jobs.find(job_id, caller), which)
        if url is None:
            raise Problem(ProblemCode.JOB_NOT_COMPLETED, "the job has no picture, unless it is completed")
        return Response(None, status_code=307, headers={"Location": url})

    @delete(
        "/{job_id:str}",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="cancel",
        summary="Cancel a job",
        responses=problems(400, 404, 409, 503),
    )
    async def cancel(
        self,
        job_id: FromPath[str],
        caller: NamedDependency[Caller],
        jobs: NamedDependency[JobService],
        presenter: NamedDependency[Presenter],
    ) -> Status:
        return Status(data=await presenter.status(await jobs.cancel(job_id, caller)))

    @delete(
        "/{job_id:str}/files",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="erase",
        summary="Erase a finished job and its pictures",
        responses=problems(400, 404, 409, 503),
    )
    async def erase(
        self, job_id: FromPath[str], caller: NamedDependency[Caller], jobs: NamedDependency[JobService]
    ) -> Erased:
        await jobs.erase(job_id, caller)
        return Erased(job_id=job_id)
