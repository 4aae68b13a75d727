"""``POST /transform/batch``: several submissions in one request.

Each item has an answer of its own. That a photo is damaged says nothing about the other nineteen, and who sends twenty
wants the nineteen; who wants all or nothing can cancel those that were taken.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from msgspec import Meta

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.middleware.deadline import unhurried
from orchestrator.api.requests.bodies import MOST_SUBMITTED, json_body, operation_with
from orchestrator.api.requests.intake import Uploads
from orchestrator.api.requests.once import (
    CANCEL_PARAMETER,
    KEY_PARAMETER,
    REPLAYED,
    answered_once,
    cancel_after,
    key_of,
)
from orchestrator.api.requests.submissions import MAX_JSON_BYTES, from_members, read_json_object
from orchestrator.api.responses.errors import (
    RETRY_AFTER,
    Problem,
    ProblemDetail,
    described,
    problems,
    to_problem,
    within,
)
from orchestrator.api.responses.presenters import Presenter, Submitted
from orchestrator.domain.codes import ProblemCode
from orchestrator.domain.keys import Caller
from orchestrator.ports import Begun
from orchestrator.services.styles import StyleService, UnknownStyle
from orchestrator.services.submitting.once import Once
from orchestrator.services.submitting.submissions import Submission, Submissions
from orchestrator.settings import Settings

MAX_KEY = 100
MULTI_STATUS = 207
SOME = "Some were refused; each says why"

_FOR_ALL = {
    ProblemCode.QUEUE_FULL,
    ProblemCode.QUOTA_EXCEEDED,
    ProblemCode.BUDGET_EXHAUSTED,
    ProblemCode.UNAVAILABLE,
}
"""Refusals that the items after it would meet too, so that their photos need not be read."""


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one item: a job, or why there is none."""

    index: Annotated[int, Meta(ge=0)]
    """Its place among the items."""
    job: Submitted | None
    problem: ProblemDetail | None


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool
    """Whether all items were queued."""
    data: list[BatchItem]
    """In the order of the items."""


class BatchController(Controller):
    path = "/transform"
    tags = ("transform",)

    @post(
        "/batch",
        status_code=202,
        opt=access(Rule.TRANSFORM),
        operation_id="submit_batch",
        summary="Queue several transformations of photos in storage",
        operation_class=operation_with(json_body("SubmitBatch"), KEY_PARAMETER, CANCEL_PARAMETER),
        responses={MULTI_STATUS: ResponseSpec(BatchAnswer, description=SOME, generate_examples=False)}
        | problems(400, 408, 409, 413, 415, 422, 429, 503),
        request_max_body_size=MAX_JSON_BYTES,
    )
    async def submit(
        self,
        request: Request[Any, Any, Any],
        caller: NamedDependency[Caller],
        submissions: NamedDependency[Submissions],
        uploads: NamedDependency[Uploads],
        presenter: NamedDependency[Presenter],
        once: NamedDependency[Once],
        styles: NamedDependency[StyleService],
        settings: NamedDependency[Settings],
    ) -> Response[BatchAnswer]:
        key, after = key_of(request), cancel_after(request)
        if key is None:
            await submissions.check_capacity()
        with uploads.hold(request) as intake:
            items = _items(await read_json_object(request, intake.count_bytes), styles)
            batch = _Batch(request, caller, submissions, uploads, presenter, once, key, after)
            with unhurried(request.scope):
                answers = await batch.run(items, settings.answer_seconds)
        refused = any(answer.problem for answer in answers)
        return Response(
            BatchAnswer(success=not refused, data=answers),
            status_code=MULTI_STATUS if refused else 202,
            headers={REPLAYED: "true"} if batch.all_replayed else {},
        )


def _items(members: dict[str, Any], styles: StyleService) -> list[Submission]:
    """A body that is not as described is refused as a whole. Raises Problem, whose field says in which item."""
    items = members.get("items")
    if len(members) != 1 or not isinstance(items, list) or not 1 <= len(items) <= MOST_SUBMITTED:
        detail = f"the body must have one member, items: a list of 1 to {MOST_SUBMITTED} submissions"
        raise Problem(ProblemCode.INVALID_BODY, detail, field="items")
    return [_item(index, item, styles) for index, item in enumerate(items)]


def _item(index: int, item: Any, styles: StyleService) -> Submission:
    try:
        submission = from_members(item, styles)
        if isinstance(submission.photo, str) and len(submission.photo) > MAX_KEY:
            raise Problem(ProblemCode.NO_SUCH_UPLOAD, f"a key has at most {MAX_KEY} characters", field="key")
        return submission
    except (Problem, UnknownStyle) as error:
        raise within(to_problem(error), f"items[{index}]") from None


class _Batch:
    """The submissions of one request, one after the other, so that they are queued in their order."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        caller: Caller,
        submissions: Submissions,
        uploads: Uploads,
        presenter: Presenter,
        once: Once,
        key: str | None,
        after: float | None,
    ) -> None:
        self._request, self._caller, self._submissions, self._uploads = request, caller, submissions, uploads
        self._presenter, self._once, self._key, self._after = presenter, once, key, after
        self.all_replayed = True

    async def run(self, items: list[Submission], seconds: float) -> list[BatchItem]:
        """The answers. Items that are not begun within ``seconds`` are refused."""
        end = asyncio.get_running_loop().time() + seconds
        answers: list[BatchItem] = []
        stop: Problem | None = None
        for index, item in enumerate(items):
            job = None
            try:
                if stop is not None:
                    raise stop
                async with asyncio.timeout_at(end):
                    job = await self._submit(index, item)
                problem = None
            except Exception as error:
                late = isinstance(error, TimeoutError)
                problem = described(
                    _late(seconds) if late else error, self._request.url.path, f"items[{index}]"
                )
                if problem.code in _FOR_ALL:
                    stop = _late(seconds) if late else to_problem(error)
            answers.append(BatchItem(index=index, job=job, problem=problem))
        self.all_replayed = self.all_replayed and not any(answer.problem for answer in answers)
        return answers

    async def _submit(self, index: int, item: Submission) -> Submitted:
        submission = msgspec.structs.replace(item, cancel_after=self._after)
        with self._uploads.hold(self._request) as intake:

            async def run(begun: Begun) -> Submitted:
                submitted = self._submissions.submit(
                    submission, self._caller, intake.client, intake.count_bytes, begun
                )
                return self._presenter.submitted(await submitted)

            # No key that a client sends has a line break.
            key = None if self._key is None else f"{self._key}\n{index}"
            fingerprint = "" if key is None else await asyncio.to_thread(submission.fingerprint)
            answer = await answered_once(self._once, self._caller, key, fingerprint, run, Submitted)
        self.all_replayed = self.all_replayed and REPLAYED in answer.headers
        return answer.content


def _late(seconds: float) -> Problem:
    detail = f"it was not begun or not done within {seconds:g} s; send it again, alone or with fewer others"
    return Problem(ProblemCode.UNAVAILABLE, detail, headers=RETRY_AFTER)
