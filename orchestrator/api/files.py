"""``/files/{key}``: where the signed URLs of a storage lead that has no server of its own."""

from __future__ import annotations

import mimetypes
from typing import Any

from litestar import Controller, Request, Response, get, put
from litestar.params import FromPath, FromQuery

from orchestrator.api.bodies import PHOTO_FILE, operation_with
from orchestrator.api.context import Context, FromApp
from orchestrator.api.errors import Problem, problems
from orchestrator.api.reading import read_body
from orchestrator.ports import CACHE_CONTROL, SignedFiles


class FilesController(Controller):
    path = "/files"
    tags = ("files",)

    @get(
        "/{key:path}",
        operation_id="read_file",
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
        return Response(content, media_type=media_type, headers={"Cache-Control": CACHE_CONTROL})

    @put(
        "/{key:path}",
        status_code=200,
        operation_id="write_file",
        operation_class=operation_with(PHOTO_FILE),
        summary="Put a photo, by the link of POST /uploads",
        responses=problems(400, 403, 404, 408, 409, 411, 503),
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
            await context.storage.put(key, data, content_type, overwrite=False)


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
