"""``/admin/dead-letters``: what ``python -m orchestrator dead-letters`` does, over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.requests.bodies import operation_reading
from orchestrator.api.requests.queries import query_parameter, whole_number
from orchestrator.api.responses.errors import problems
from orchestrator.api.responses.letter_data import LetterAnswer, LetterList, letter_answer, letter_data
from orchestrator.services.dead_letters import DeadLetters

MOST = 10_000
"""Dead letters of one answer."""


class LetterEnded(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str


class DeadLettersController(Controller):
    path = "/admin/dead-letters"
    tags = ("admin",)
    opt = access(Rule.ADMIN)

    @get(
        "/",
        operation_id="list_dead_letters",
        summary="Jobs that were given up, the newest first",
        operation_class=operation_reading(
            query_parameter(
                "limit",
                "How many, at most",
                Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST, default=MOST),
            )
        ),
        responses=problems(400, 503),
    )
    async def index(
        self, request: Request[Any, Any, Any], dead_letters: NamedDependency[DeadLetters]
    ) -> LetterList:
        limit = whole_number(request, "limit", 1, MOST, MOST)
        return LetterList(data=[letter_data(each) for each in await dead_letters.all(limit)])

    @get(
        "/{dead_job:str}",
        operation_id="show_dead_letter",
        summary="A job that was given up",
        responses=problems(400, 404, 503),
    )
    async def show(self, dead_job: FromPath[str], dead_letters: NamedDependency[DeadLetters]) -> LetterAnswer:
        return letter_answer(await dead_letters.show(dead_job))

    @post(
        "/{dead_job:str}/replay",
        status_code=200,
        operation_id="replay_dead_letter",
        summary="Let a job that was given up wait again, if its photo is still there",
        responses=problems(400, 404, 409, 503),
    )
    async def replay(
        self, dead_job: FromPath[str], dead_letters: NamedDependency[DeadLetters]
    ) -> LetterEnded:
        await dead_letters.replay(dead_job)
        return LetterEnded(job_id=dead_job)

    @delete(
        "/{dead_job:str}",
        status_code=200,
        operation_id="drop_dead_letter",
        summary="Forget that a job was given up, and delete its photo",
        responses=problems(400, 404, 503),
    )
    async def drop(self, dead_job: FromPath[str], dead_letters: NamedDependency[DeadLetters]) -> LetterEnded:
        await dead_letters.drop(dead_job)
        return LetterEnded(job_id=dead_job)
