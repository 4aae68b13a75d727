"""Photos that go to storage directly, not through this API: ``POST /uploads``, then PUT, then submit by key."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, get_args

import msgspec
from litestar import Controller, Request, post
from msgspec import Meta

from orchestrator.api.bodies import UPLOAD_REQUEST, ContentType, operation_with
from orchestrator.api.budget import Take
from orchestrator.api.context import Context, FromApp
from orchestrator.api.errors import Problem, problems
from orchestrator.api.json_text import NotJson, decode_json
from orchestrator.api.presenters import Time, rfc3339
from orchestrator.api.reading import read_body
from orchestrator.photos.gate import Photo, PhotoRejected
from orchestrator.ports import Claim, ObjectTooLarge, PortError
from orchestrator.services.direct_uploads import Incoming

log = logging.getLogger(__name__)


class UploadRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    content_type: ContentType
    size: Annotated[int, Meta(ge=1)]


class UploadOffer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    key: str
    """For the field ``key`` of POST /transform/submit, once the photo has been put; good for one submission, also one
    whose photo is refused, but not one that is answered with 503."""
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
        operation_id="request_upload",
        summary="A link to put a photo straight into storage",
        operation_class=operation_with(UPLOAD_REQUEST),
        responses=problems(400, 408, 413, 422, 429, 503),
        request_max_body_size=4096,
    )
    async def offer(self, request: Request[Any, Any, Any], context: FromApp) -> UploadOffer:
        with context.uploads.hold(context.client(request)) as take:
            asked = decode_upload(await read_body(request, take), context.settings.max_upload_bytes)
        expires_at = time.time() + context.incoming.ttl
        offer = await context.incoming.offer(asked.content_type, asked.size)
        return UploadOffer(
            key=offer.key,
            url=offer.link.url,
            headers=offer.link.headers,
            expires_at=rfc3339(expires_at),
        )


def decode_upload(body: bytes, max_size: int) -> UploadRequest:
    """Raises Problem, whose field names the member."""
    try:
        wish = decode_json(body)
    except NotJson:
        raise Problem(
            400, "invalid_upload", "the body must be a JSON object in UTF-8", field="body"
        ) from None
    if isinstance(wish, dict) and isinstance(kind := wish.get("content_type"), str):
        wish |= {"content_type": kind.strip().lower()}
    try:
        asked = msgspec.convert(wish, UploadRequest)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.size`"
        sentence, _, place = str(error).partition(" - at ")
        member = re.search(r"\$\.(\w+)", place) or re.search(r"field `(\w+)`", sentence)
        if sentence.startswith("Invalid enum value"):
            sentence += f": a photo is {' or '.join(get_args(ContentType))}"
        raise Problem(422, "invalid_upload", sentence, field=member[1] if member else "body") from None
    if asked.size > max_size:
        raise Problem(413, "body_too_large", f"a photo may have at most {max_size} bytes", field="size")
    return asked


@asynccontextmanager
async def accepted_upload(
    context: Context, key: str, take: Take, client: str | None
) -> AsyncGenerator[tuple[Photo, Claim]]:
    """The photo under ``key`` through the gate, to be submitted with the claim. What the gate refuses is used up too.

    ``take`` counts its bytes; ``client`` is the submitter. Raises PhotoRejected, NoSuchUpload, UploadUsed,
    ObjectTooLarge, Problem, Unavailable.
    """
    limit = context.settings.max_upload_bytes
    async with context.incoming.claimed(key) as claim:
        try:
            data = await context.incoming.read(key, limit, take)
            photo = await context.gate.accept(data, client=client)
        except (PhotoRejected, ObjectTooLarge):
            await discard(context.incoming, key)
            raise
        yield photo, claim


async def discard(incoming: Incoming, key: str) -> None:
    """Forget an upload that has served; if that fails now, a worker's retention does it later."""
    try:
        await incoming.discard(key)
    except PortError as error:
        log.warning("%s stays until it is old: %s", key, error)
