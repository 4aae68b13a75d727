"""``/files/{key}``: where the signed URLs of a storage lead that has no server of its own."""

from __future__ import annotations

import asyncio
import mimetypes
from typing import Any

from litestar import Controller, Request, Response, get, put
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, FromQuery

from orchestrator.api.context import Context, FromApp
from orchestrator.api.errors import Problem, problems
from orchestrator.api.forms import READ_SECONDS
from orchestrator.ports import SignedFiles


class FilesController(Controller):
    path = "/files"
    tags = ("files",)

    @get(
        "/{key:path}",
        summary="A stored picture, by a signed link that expires",
        media_type="image/jpeg",
        responses=problems(400, 403, 404, 503),
    )
    async def read(
        self,
        key: FromPath[str],
        context: FromApp,
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> Response[bytes]:
        key = key.removeprefix("/")
        content = await signed_files(context).open(key, expires, signature)
        media_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        # The link is a secret: shared caches may not keep what it gives, nor browsers for long what may be erased.
        return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=60"})

    @put(
        "/{key:path}",
        status_code=200,
        summary="Put a photo, by the link of POST /uploads",
        responses=problems(400, 403, 404, 408, 411, 503),
    )
    async def write(
        self,
        request: Request[Any, Any, Any],
        key: FromPath[str],
        context: FromApp,
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> None:
        key, size = key.removeprefix("/"), content_length(request)
        content_type = request.headers.get("content-type", "")
        signed_files(context).check_upload(key, content_type, size, expires, signature)
        with context.uploads.hold() as take:
            take(size)
            data = await read_body(request)
            await context.storage.put(key, data, content_type)


def signed_files(context: Context) -> SignedFiles:
    """Raises Problem where links lead to another server."""
    if context.files is None:
        raise Problem(404, "not_found", "there is nothing at this address")
    return context.files


def content_length(request: Request[Any, Any, Any]) -> int:
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise Problem(
            411, "length_required", "send the number of bytes as Content-Length", field="content-length"
        )
    return int(length)


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """All of it; the server gives no more than Content-Length says. Raises Problem."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.body()
    except TimeoutError:
        raise Problem(408, "upload_too_slow", f"the upload took more than {READ_SECONDS} s") from None
    except InternalServerException:
        # Litestar's name for a client that went away; nobody reads this answer.
        raise Problem(400, "incomplete_body", "the connection ended before the photo did") from None
