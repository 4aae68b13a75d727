"""Submit, look at, cancel and erase transformations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath

from orchestrator.api.bodies import FORM, UPLOADED, operation_with
from orchestrator.api.budget import Take
from orchestrator.api.context import Context, FromApp
from orchestrator.api.errors import problems
from orchestrator.api.forms import SubmitForm, read_submit_form
from orchestrator.api.presenters import Status, Submitted
from orchestrator.api.submissions import MAX_JSON_BYTES, read_upload_submission
from orchestrator.api.uploads import accepted_upload, discard
from orchestrator.ports import PortError

DISCARD_SECONDS = 1.0
"""How long an answer waits until the upload is forgotten."""


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str


class TransformController(Controller):
    path = "/transform"
    tags = ("transform",)

    @post(
        "/submit",
        status_code=202,
        operation_id="submit",
        summary="Queue the transformation of a photo",
        operation_class=operation_with(FORM),
        responses=problems(400, 408, 409, 413, 415, 422, 429, 503),
    )
    async def submit(self, request: Request[Any, Any, Any], context: FromApp) -> Response[Submitted]:
        await context.jobs.make_sure_of_a_place()
        with context.uploads.hold(context.client(request)) as take:
            form = await read_submit_form(request, context.settings.max_upload_bytes, take)
            return await accept_submission(context, form, take, context.client(request))

    @post(
        "/submit-upload",
        status_code=202,
        operation_id="submit_upload",
        summary="Queue the transformation of a photo that was put into storage before",
        operation_class=operation_with(UPLOADED),
        responses=problems(400, 408, 409, 413, 415, 422, 429, 503),
        request_max_body_size=MAX_JSON_BYTES,
    )
    async def submit_upload(self, request: Request[Any, Any, Any], context: FromApp) -> Response[Submitted]:
        await context.jobs.make_sure_of_a_place()
        with context.uploads.hold(context.client(request)) as take:
            form = await read_upload_submission(request, take)
            return await accept_submission(context, form, take, context.client(request))

    @get(
        "/status/{job_id:str}",
        operation_id="get_status",
        summary="A job as of now",
        responses=problems(400, 404, 503),
    )
    async def status(self, job_id: FromPath[str], context: FromApp) -> Status:
        return Status(data=await context.presenter.status(await context.jobs.status(job_id)))

    @delete(
        "/{job_id:str}",
        status_code=200,
        operation_id="cancel",
        summary="Cancel a job",
        responses=problems(400, 404, 409, 503),
    )
    async def cancel(self, job_id: FromPath[str], context: FromApp) -> Status:
        return Status(data=await context.presenter.status(await context.jobs.cancel(job_id)))

    @delete(
        "/{job_id:str}/files",
        status_code=200,
        operation_id="erase",
        summary="Erase a finished job and its pictures",
        responses=problems(400, 404, 409, 503),
    )
    async def erase(self, job_id: FromPath[str], context: FromApp) -> Erased:
        await context.jobs.erase(job_id)
        return Erased(job_id=job_id)


async def accept_submission(
    context: Context, form: SubmitForm, take: Take, client: str | None
) -> Response[Submitted]:
    """The receipt for a job that has been queued; raises Problem and what the ports raise."""
    rest = None
    if isinstance(form.photo, str):
        async with accepted_upload(context, form.photo, take, client) as (photo, claim):
            view = await context.jobs.submit(photo.jpeg, form.style, form.preferences, claim)
        rest = await discard_soon(context, form.photo, view.job.id)
    else:
        photo = await context.gate.accept(form.photo, client=client)
        view = await context.jobs.submit(photo.jpeg, form.style, form.preferences)
    return Response(context.presenter.submitted(view), background=rest)


async def discard_soon(context: Context, key: str, job_id: str) -> BackgroundTask:
    """Forget the upload of a queued job: before the answer or, when the storage is slow, after it."""
    discarding = asyncio.create_task(discard(context.incoming, key))
    try:
        await asyncio.wait([discarding], timeout=DISCARD_SECONDS)
    except asyncio.CancelledError:
        # Too late: it is being answered that there is no job.
        with contextlib.suppress(PortError):
            await context.jobs.cancel(job_id)
        raise
    return BackgroundTask(asyncio.wait, [discarding])
