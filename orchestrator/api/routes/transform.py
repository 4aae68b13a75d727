"""Endpoints that submit, show, cancel and erase jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import FORM, UPLOADED, operation_with
from orchestrator.api.requests.forms import read_submit_form
from orchestrator.api.requests.intake import Intake, Uploads
from orchestrator.api.requests.once import (
    CANCEL_PARAMETER,
    KEY_PARAMETER,
    answered_once,
    cancel_after,
    key_of,
)
from orchestrator.api.requests.prefer import PREFER_PARAMETER, WAITED, Waits
from orchestrator.api.requests.submissions import MAX_JSON_BYTES, read_upload_submission
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.api.responses.presenters import Presenter, Status, Submitted, Which
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.ports import Begun
from orchestrator.services.collages import NoCollage
from orchestrator.services.jobs import JobService
from orchestrator.services.styles import StyleService
from orchestrator.services.submitting.once import Once
from orchestrator.services.submitting.submissions import Submission, Submissions


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str


_ASKED_BY = {"labelled": "label", "lossless": "lossless"}
"""The preference that a picture of this name is made by."""


class TransformController(Controller):
    path = "/transform"
    tags = ("transform",)

    @post(
        "/submit",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="submit",
        summary="Queue the transformation of a photo",
        operation_class=operation_with(FORM, KEY_PARAMETER, CANCEL_PARAMETER, PREFER_PARAMETER),
        responses=WAITED | problems(400, 402, 408, 409, 413, 415, 422, 429, 503),
    )
    async def submit(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        submissions: NamedDependency[Submissions],
        uploads: NamedDependency[Uploads],
        presenter: NamedDependency[Presenter],
        once: NamedDependency[Once],
        styles: NamedDependency[StyleService],
        waits: NamedDependency[Waits],
    ) -> Response[Submitted]:

        def read(intake: Intake) -> Awaitable[Submission]:
            return read_submit_form(request, intake.max_bytes, intake.count_bytes, styles)

        submitted = await self._queued(request, read, caller, submissions, uploads, presenter, once)
        return await waits.answer(request, submitted, caller)

    @post(
        "/submit-upload",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="submit_upload",
        summary="Queue the transformation of a photo that was put into storage before",
        operation_class=operation_with(UPLOADED, KEY_PARAMETER, CANCEL_PARAMETER, PREFER_PARAMETER),
        responses=WAITED | problems(400, 402, 408, 409, 413, 415, 422, 429, 503),
        request_max_body_size=MAX_JSON_BYTES,
    )
    async def submit_upload(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        submissions: NamedDependency[Submissions],
        uploads: NamedDependency[Uploads],
        presenter: NamedDependency[Presenter],
        once: NamedDependency[Once],
        styles: NamedDependency[StyleService],
        waits: NamedDependency[Waits],
    ) -> Response[Submitted]:

        def read(intake: Intake) -> Awaitable[Submission]:
            return read_upload_submission(request, intake.count_bytes, styles)

        submitted = await self._queued(request, read, caller, submissions, uploads, presenter, once)
        return await waits.answer(request, submitted, caller)

    async def _queued(
        self,
        request: Request[Any, Any, Any],
        read: Callable[[Intake], Awaitable[Submission]],
        caller: Caller,
        submissions: Submissions,
        uploads: Uploads,
        presenter: Presenter,
        once: Once,
    ) -> Response[Submitted]:
        """The answer to a submission that ``read`` reads. When this returns, nothing holds the photo any more: the
        request may go on waiting for its job."""
        key = await self._ready(request, caller, submissions, once)
        with uploads.hold(request) as intake:
            submission = await read(intake)
            return await self._submit(request, submission, caller, submissions, intake, presenter, once, key)

    async def _ready(
        self, request: Request[Any, Any, Any], caller: Caller, submissions: Submissions, once: Once
    ) -> str | None:
        """The request's idempotency key. Raises what a submission can be refused for before its photo is read."""
        cancel_after(request)
        key = key_of(request)
        if key is None or not await once.knows(caller.owner, key):
            await submissions.check_capacity()
        return key

    async def _submit(
        self,
        request: Request[Any, Any, Any],
        submission: Submission,
        caller: Caller,
        submissions: Submissions,
        intake: Intake,
        presenter: Presenter,
        once: Once,
        key: str | None,
    ) -> Response[Submitted]:
        submission = msgspec.structs.replace(submission, cancel_after=cancel_after(request))

        async def run(begun: Begun) -> Submitted:
            return presenter.submitted(
                await submissions.submit(submission, caller, intake.client, intake.count_bytes, begun)
            )

        fingerprint = "" if key is None else await asyncio.to_thread(submission.fingerprint)
        return await answered_once(once, caller, key, fingerprint, run, Submitted)

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
        try:
            url = await presenter.picture(await jobs.find(job_id, caller), which)
        except NoCollage as error:
            raise Problem(ProblemCode.JOB_NOT_COMPLETED, str(error)) from None
        if url is None:
            detail = f"the job has no {which} picture: submit it with the preference {_ASKED_BY[which]}"
            raise Problem(ProblemCode.OBJECT_NOT_FOUND, detail, field="which")
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
