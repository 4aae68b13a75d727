"""``GET /``: the service's name, version, styles and endpoints."""

from __future__ import annotations

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency

from orchestrator.api.access import Rule, access
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
}


class Root(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "reroom"
    version: str
    status: str = "running"
    endpoints: dict[str, str]
    supported_styles: list[str]


class RootController(Controller):
    path = "/"
    tags = ("service",)

    @get("/", opt=access(Rule.PUBLIC), operation_id="get_service", summary="What this service is and offers")
    async def root(self, styles: NamedDependency[StyleService]) -> Root:
        names = list(styles.now().by_name)
        return Root(version=package_version(), endpoints=ENDPOINTS, supported_styles=names)
