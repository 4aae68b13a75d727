"""``GET /``: the service's name, version, styles and endpoints; browsers are led to the page for people."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from orchestrator.api.middleware.access import Rule, access
from orchestrator.programs.observing import package_version
from orchestrator.services.styles import StyleService

ENDPOINTS = {
    "upload": "POST /uploads",
    "submit": "POST /transform/submit",
    "submit_upload": "POST /transform/submit-upload",
    "status": "GET /transform/status/{job_id}",
    "cancel": "DELETE /transform/{job_id}",
    "erase": "DELETE /transform/{job_id}/files",
    "picture": "GET /transform/{job_id}/picture",
    "ticket": "POST /tickets",
    "styles": "GET /styles",
    "analyze": "POST /analyze",
    "watch": "WS /ws/transform/{job_id}",
    "health": "GET /health",
    "schema": "GET /schema",
    "docs": "GET /docs",
    "studio": "GET /studio",
    "admin": "GET /admin",
}
STUDIO = "studio"
"""The page for people, from here."""


class Root(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "reroom"
    version: str
    status: str = "running"
    endpoints: dict[str, str]
    supported_styles: list[str]


class RootController(Controller):
    path = "/"
    tags = ("service",)

    @get(
        "/",
        opt=access(Rule.PUBLIC),
        operation_id="get_service",
        summary="What this service is and offers; browsers are led to /studio",
        responses={
            303: ResponseSpec(None, description="To the page, for who takes HTML", generate_examples=False)
        },
    )
    async def root(
        self, request: Request[Any, Any, Any], styles: NamedDependency[StyleService]
    ) -> Response[Root]:
        headers = {"Vary": "Accept"}
        if _takes_pages(request.headers.get("accept", "")):
            # Relative, since a proxy may serve this under a path of its own.
            return Response(None, status_code=303, headers={**headers, "Location": STUDIO})  # type: ignore[arg-type]
        names = list(styles.now().by_name)
        shown = Root(version=package_version(), endpoints=ENDPOINTS, supported_styles=names)
        return Response(shown, headers=headers)


def _takes_pages(accept: str) -> bool:
    """Whether the header Accept names HTML, as those of browsers do and those of programs do not."""
    ranges = [each.strip().lower() for each in accept.split(",")]
    return any(each == "text/html" or each.startswith("text/html;") for each in ranges)
