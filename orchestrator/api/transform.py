"""Submit, look at, cancel and erase transformations."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import FromPath

from orchestrator.api.bodies import PHOTO, operation_with
from orchestrator.api.context import FromApp
from orchestrator.api.errors import problems
from orchestrator.api.forms import read_submit_form
from orchestrator.api.preferences import PREFERENCES
from orchestrator.api.presenters import Status, Submitted
from orchestrator.api.reading import address
from orchestrator.api.uploads import accepted_upload, discard
from orchestrator.styles import DEFAULT_STYLE, STYLES


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str


FORM = {
    "file": PHOTO,
    "key": Schema(
        type=OpenAPIType.STRING,
        description="In place of file: the key of POST /uploads, once the photo has been put there",
    ),
    "style": Schema(type=OpenAPIType.STRING, enum=list(STYLES), default=DEFAULT_STYLE),
    "preferences": Schema(
        type=OpenAPIType.STRING,
        content_media_type="application/json",
        description="A JSON object: " + ", ".join(PREFERENCES) + "; all optional",
    ),
}


class TransformController(Controller):
    path = "/transform"
    tags = ("transform",)

    @post(
        "/submit",
        status_code=202,
        summary="Queue the transformation of a photo",
        operation_class=operation_with("multipart/form-data", FORM),
        responses=problems(400, 408, 409, 413, 415, 422, 503),
    )
    async def submit(self, request: Request[Any, Any, Any], context: FromApp) -> Submitted:
        limit = context.settings.max_upload_bytes
        await context.jobs.make_sure_of_a_place()
        client = address(request)
        with context.uploads.hold() as take:
            form = await read_submit_form(request, limit, take)
            if isinstance(form.photo, str):
                async with accepted_upload(context, form.photo, take, client) as (photo, claim):
                    view = await context.jobs.submit(photo.jpeg, form.style, form.preferences, claim)
            else:
                photo = await context.gate.accept(form.photo, client=client)
                view = await context.jobs.submit(photo.jpeg, form.style, form.preferences)
        if isinstance(form.photo, str):
            await discard(context.incoming, form.photo)
        return context.presenter.submitted(view)

    @get("/status/{job_id:str}", summary="A job as of now", responses=problems(400, 404, 503))
    async def status(self, job_id: FromPath[str], context: FromApp) -> Status:
        return Status(data=await context.presenter.status(await context.jobs.status(job_id)))

    @delete("/{job_id:str}", status_code=200, summary="Cancel a job", responses=problems(400, 404, 409, 503))
    async def cancel(self, job_id: FromPath[str], context: FromApp) -> Status:
        return Status(data=await context.presenter.status(await context.jobs.cancel(job_id)))

    @delete(
        "/{job_id:str}/files",
        status_code=200,
        summary="Erase a finished job and its pictures",
        responses=problems(400, 404, 409, 503),
    )
    async def erase(self, job_id: FromPath[str], context: FromApp) -> Erased:
        await context.jobs.erase(job_id)
        return Erased(job_id=job_id)
