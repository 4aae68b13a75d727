"""Uploads that go directly to storage, not through this API: ``POST /uploads``, then PUT, then submit by key."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, get_args

import msgspec
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import UPLOAD_REQUEST, ContentType, operation_with
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.requests.json_text import NotJson, complaint, decode_json
from orchestrator.api.requests.once import KEY_PARAMETER, answered_once, key_of
from orchestrator.api.requests.reading import read_body
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.ports import Begun
from orchestrator.services.submitting.direct_uploads import DirectUploads
from orchestrator.services.submitting.once import Once, fingerprint_of


class UploadRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    content_type: ContentType
    size: Annotated[int, Meta(ge=1)]


class UploadOffer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    key: str
    """For the member ``key`` of POST /transform/submit-upload, once the photo has been put. It is good for one
    submission; a refused photo uses it up, an answer of 503 does not."""
    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str]
    """To be sent with exactly ``size`` bytes."""
    expires_at: Time


class UploadsController(Controller):
    path = "/uploads"
    tags = ("transform",)

    @post(
        "/",
        status_code=201,
        opt=access(Rule.TRANSFORM),
        operation_id="request_upload",
        summary="A link to put a photo straight into storage",
        operation_class=operation_with(UPLOAD_REQUEST, KEY_PARAMETER),
        responses=problems(400, 408, 409, 413, 422, 429, 503),
        request_max_body_size=4096,
    )
    async def offer(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        uploads: NamedDependency[Uploads],
        direct_uploads: NamedDependency[DirectUploads],
        once: NamedDependency[Once],
    ) -> Response[UploadOffer]:
        key = key_of(request)
        with uploads.hold(request) as intake:
            asked = decode_upload(await read_body(request, intake.count_bytes), intake.max_bytes)

        async def offered(begun: Begun) -> UploadOffer:
            expires_at = time.time() + direct_uploads.ttl
            offer = await direct_uploads.offer(asked.content_type, asked.size, caller.owner)
            return UploadOffer(
                key=offer.key,
                url=offer.link.url,
                headers=offer.link.headers,
                expires_at=rfc3339(expires_at),
            )

        fingerprint = fingerprint_of("upload", msgspec.structs.asdict(asked))
        return await answered_once(once, caller, key, fingerprint, offered, UploadOffer)


def decode_upload(body: bytes, max_size: int) -> UploadRequest:
    """Raises Problem, whose field names the member."""
    try:
        wish = decode_json(body)
    except NotJson:
        raise Problem(
            ProblemCode.INVALID_UPLOAD, "the body must be a JSON object in UTF-8", status=400, field="body"
        ) from None
    if isinstance(wish, dict) and isinstance(kind := wish.get("content_type"), str):
        wish |= {"content_type": kind.strip().lower()}
    try:
        asked = msgspec.convert(wish, UploadRequest)
    except msgspec.ValidationError as error:
        sentence, field = complaint(error)
        if sentence.startswith("Invalid enum value"):
            sentence += f": a photo is {' or '.join(get_args(ContentType))}"
        raise Problem(ProblemCode.INVALID_UPLOAD, sentence, field=field) from None
    if asked.size > max_size:
        raise Problem(ProblemCode.BODY_TOO_LARGE, f"a photo may have at most {max_size} bytes", field="size")
    return asked
