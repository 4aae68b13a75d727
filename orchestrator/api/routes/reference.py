"""``GET /docs``: the API's reference for people, by Swagger UI, whose files are in ``swagger_ui/``: nothing comes from
other servers.

They are those of the npm package ``swagger-ui-dist`` (Apache-2.0), unchanged, but for ``index.html`` and ``start.js``.
"""

from __future__ import annotations

from pathlib import Path

from litestar import Controller, Response, get
from litestar.params import FromPath

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.errors import Problem
from orchestrator.domain.codes import ProblemCode

FOLDER = Path(__file__).with_name("swagger_ui")
PAGE = "index.html"
VERSION = "5.35.0"
"""Of Swagger UI."""

MEDIA_TYPES = {
    PAGE: "text/html",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""By the name of the file. Others in the folder are not served."""

POLICY = (
    # Swagger UI draws its icons from data: URLs. It sends requests to this service alone.
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHE_CONTROL = "public, max-age=3600"


class ReferenceController(Controller):
    path = "/docs"
    include_in_schema = False
    opt = access(Rule.PUBLIC)

    @get("/")
    async def page(self) -> Response[bytes]:
        return served(PAGE)

    @get("/{name:str}")
    async def file(self, name: FromPath[str]) -> Response[bytes]:
        if name not in MEDIA_TYPES:
            raise Problem(ProblemCode.NOT_FOUND, "there is nothing at this address")
        return served(name)


def served(name: str) -> Response[bytes]:
    """A file of ``MEDIA_TYPES``."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": CACHE_CONTROL}
    return Response((FOLDER / name).read_bytes(), media_type=MEDIA_TYPES[name], headers=headers)
