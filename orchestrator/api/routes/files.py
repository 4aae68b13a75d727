"""``/files/{key}``: serves the signed URLs of a storage that has no server of its own."""

from __future__ import annotations

import hashlib
import mimetypes
from typing import Any

from litestar import Controller, Request, Response, get, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import PHOTO_FILE, operation_with
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.requests.reading import read_body
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.domain.codes import ProblemCode
from orchestrator.ports import CACHE_CONTROL, SignedFiles, Storage


class FilesController(Controller):
    path = "/files"
    tags = ("files",)

    @get(
        "/{key:path}",
        opt=access(Rule.SIGNED),
        operation_id="read_file",
        summary="A stored picture, by a signed link that expires",
        media_type="image/jpeg",
        responses={
            304: ResponseSpec(
                None, description="The picture is the one that If-None-Match names", generate_examples=False
            ),
            **problems(400, 403, 404, 503),
        },
    )
    async def read(
        self,
        request: Request[Any, Any, Any],
        key: FromPath[str],
        signed_files: NamedDependency[SignedFiles | None],
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> Response[bytes]:
        key = key.removeprefix("/")
        content = await served(signed_files).open(key, expires, signature)
        media_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        headers = {"Cache-Control": CACHE_CONTROL, "ETag": etag(content)}
        if known(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(b"", status_code=304, media_type=media_type, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    @put(
        "/{key:path}",
        status_code=200,
        opt=access(Rule.SIGNED),
        operation_id="write_file",
        operation_class=operation_with(PHOTO_FILE),
        summary="Put a photo, by the link of POST /uploads",
        responses=problems(400, 403, 404, 408, 409, 411, 429, 503),
    )
    async def write(
        self,
        request: Request[Any, Any, Any],
        key: FromPath[str],
        signed_files: NamedDependency[SignedFiles | None],
        storage: NamedDependency[Storage],
        uploads: NamedDependency[Uploads],
        expires: FromQuery[str] = "",
        signature: FromQuery[str] = "",
    ) -> None:
        key, size = key.removeprefix("/"), content_length(request)
        content_type = request.headers.get("content-type", "")
        served(signed_files).check_upload(key, content_type, size, expires, signature)
        with uploads.hold(request) as intake:
            data = await read_body(request, intake.count_bytes)
            await storage.put(key, data, content_type, overwrite=False)


def etag(content: bytes) -> str:
    """A strong validator (RFC 9110, 8.8.3)."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def known(if_none_match: str, tag: str) -> bool:
    """Whether the header If-None-Match, a list of validators or ``*``, includes ``tag``."""
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in tags or tags == ["*"]


def served(signed_files: SignedFiles | None) -> SignedFiles:
    """The storage, if its links lead to this API; otherwise raises Problem."""
    if signed_files is None:
        raise Problem(ProblemCode.NOT_FOUND, "there is nothing at this address")
    return signed_files


def content_length(request: Request[Any, Any, Any]) -> int:
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise Problem(
            ProblemCode.LENGTH_REQUIRED, "send the number of bytes as Content-Length", field="content-length"
        )
    return int(length)
