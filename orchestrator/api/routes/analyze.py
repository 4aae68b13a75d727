"""``POST /analyze``: reports what is in a photo."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from litestar import Controller, Request, post
from litestar.di import NamedDependency

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import PHOTO_FORM, operation_with
from orchestrator.api.requests.forms import read_photo_form
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.responses.errors import Problem, problems
from orchestrator.domain.codes import ProblemCode
from orchestrator.photos.gate import PhotoGate
from orchestrator.services.analysis import Analysis, AnalysisService
from orchestrator.services.submitting.budget import MonthlyBudget

T = TypeVar("T")


class Analyzed(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: Analysis


class AnalyzeController(Controller):
    path = "/analyze"
    tags = ("analyze",)

    @post(
        "/",
        status_code=200,
        opt=access(Rule.TRANSFORM),
        operation_id="analyze",
        summary="What is in a photo: depth, edges, objects, the kind of room. Nothing is stored",
        operation_class=operation_with(PHOTO_FORM),
        responses=problems(400, 402, 408, 413, 415, 422, 429, 502, 503, 504),
    )
    async def analyze(
        self,
        request: Request[Any, Any, Any],
        uploads: NamedDependency[Uploads],
        gate: NamedDependency[PhotoGate],
        analysis: NamedDependency[AnalysisService],
        monthly_budget: NamedDependency[MonthlyBudget],
    ) -> Analyzed:
        await monthly_budget.check()
        with uploads.hold(request) as intake:
            file = await read_photo_form(request, intake.max_bytes, intake.count_bytes)
            photo = await gate.accept(file, client=intake.client)
            found = await unless_gone(request, analysis.analyse(photo.jpeg))
        return Analyzed(data=found)


async def unless_gone(request: Request[Any, Any, Any], work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client disconnects. Use it after the body has been read.

    Raises Problem ``client_gone`` then; the answer reaches no one, but the log shows it.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Problem(ProblemCode.CLIENT_GONE, "the client went away before the answer")
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.wait((working, gone))


async def _hang_up(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
