"""``GET /files/{key}``: where the local storage's signed URLs lead."""

from __future__ import annotations

import mimetypes

from litestar import Controller, Response, get
from litestar.params import FromPath, FromQuery

from orchestrator.api.context import FromApp
from orchestrator.api.errors import problems


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
        content = await context.files.open(key, expires, signature)
        media_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        # The link is a secret: shared caches may not keep what it gives, nor browsers for long what may be erased.
        return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=60"})
