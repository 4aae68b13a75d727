"""``/admin/releases``: which version of the models makes pictures, and the one on trial."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import json_body, operation_with
from orchestrator.api.requests.small_bodies import MAX_BODY_BYTES, read_json
from orchestrator.api.responses.canary_report import POLICY, report_page
from orchestrator.api.responses.errors import problems
from orchestrator.api.responses.release_data import ReleasesAnswer, RolloutAnswer, releases_answer
from orchestrator.domain.keys import Caller
from orchestrator.domain.releases import Mode
from orchestrator.services.releases.control import ReleaseControl


class NewCanary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /admin/releases/{version}/canary``."""

    mode: Mode = "shadow"
    share: Annotated[float, Meta(gt=0, le=1, description="Of the jobs")] = 0.1


class ReleasesController(Controller):
    path = "/admin/releases"
    tags = ("admin",)
    opt = access(Rule.ADMIN)

    @get(
        "/",
        operation_id="list_releases",
        summary="The releases that were published, what is live, and how the one on trial does",
        responses=problems(503),
    )
    async def index(self, releases: NamedDependency[ReleaseControl]) -> ReleasesAnswer:
        return releases_answer(await releases.overview())

    @post(
        "/{version:int}/promote",
        status_code=200,
        operation_id="promote_release",
        summary="Make a release live, for new jobs; one that runs stays on its own",
        responses=problems(400, 404, 409, 503),
    )
    async def promote(
        self,
        version: FromPath[int],
        releases: NamedDependency[ReleaseControl],
        caller: NamedDependency[Caller],
    ) -> RolloutAnswer:
        return RolloutAnswer(data=await releases.promote(version, _who(caller)))

    @post(
        "/{version:int}/canary",
        status_code=200,
        operation_id="try_release",
        summary="Put a release on trial: it goes live, or back, by itself",
        operation_class=operation_with(json_body("NewCanary")),
        responses=problems(400, 404, 408, 409, 413, 422, 503),
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def canary(
        self,
        request: Request[Any, Any, Any],
        version: FromPath[int],
        releases: NamedDependency[ReleaseControl],
        caller: NamedDependency[Caller],
    ) -> RolloutAnswer:
        asked = await read_json(request, NewCanary)
        return RolloutAnswer(data=await releases.try_out(version, asked.mode, asked.share, _who(caller)))

    @post(
        "/rollback",
        status_code=200,
        operation_id="roll_back_release",
        summary="Take the newest change back: the release on trial, or the live one; it is withdrawn",
        responses=problems(409, 503),
    )
    async def rollback(
        self, releases: NamedDependency[ReleaseControl], caller: NamedDependency[Caller]
    ) -> RolloutAnswer:
        return RolloutAnswer(data=await releases.roll_back(_who(caller)))

    # For people, not for programs: the figures are those of the list.
    @get("/canary/report", include_in_schema=False)
    async def report(self, releases: NamedDependency[ReleaseControl]) -> Response[str]:
        page = report_page(await releases.report())
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
        return Response(page, media_type=MediaType.HTML, headers=headers)


def _who(caller: Caller) -> str:
    return f"key {caller.owner} over the API" if caller.owner else "the administrator over the API"
