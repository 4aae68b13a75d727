"""``GET /admin``: the page for administrators. Everyone may load it: it shows nothing without their key, which it sends
to the same API as other programs do. Its files are in ``orchestrator/studio/admin/``."""

from __future__ import annotations

import html
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.routes import studio
from orchestrator.settings import Settings

PAGE, START = "admin/index.html", "admin/app.mjs"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


class AdminPageController(Controller):
    path = "/admin"
    include_in_schema = False
    opt = access(Rule.PUBLIC)

    @get("/")
    async def page(
        self, request: Request[Any, Any, Any], settings: NamedDependency[Settings]
    ) -> Response[bytes]:
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": studio.ASK_AGAIN}
        return studio.answer(request, studio.packed(page(settings), ".html"), headers)


def page(settings: Settings) -> bytes:
    values = {
        "files": f"studio/{studio.version()}",
        "api": html.escape(settings.api_base_url),
        "modules": studio.preloading(START),
    }
    return studio.fill((studio.FOLDER / PAGE).read_text(), values)
