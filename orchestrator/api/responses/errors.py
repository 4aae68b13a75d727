"""The errors of the REST API as RFC 9457 problem details. Only this file maps domain errors to HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.types import Scope, Send
from msgspec import Meta

from orchestrator.domain.codes import FailureCode, ProblemCode
from orchestrator.domain.releases import NotPossible
from orchestrator.domain.webhooks import MOST_ENDPOINTS
from orchestrator.egress.guarded import NotAllowed, Unreachable
from orchestrator.egress.urls import BadUrl
from orchestrator.photos.gate import PhotoRejected
from orchestrator.ports import (
    AnotherRequest,
    AnotherWriter,
    BadSignature,
    DeadLetterNotFound,
    EndpointDisabled,
    EndpointNotFound,
    InferenceError,
    InFlight,
    JobFinished,
    JobNotFound,
    KeyNotFound,
    LinkExpired,
    NothingToKeep,
    NotReplayed,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    ReservationLost,
    StyleNotFound,
    TooManyEndpoints,
    TooManyStyles,
    Unavailable,
)
from orchestrator.services.analysis import TooBusy, TooSlow
from orchestrator.services.jobs import JobNotFinished, TooManyJobs
from orchestrator.services.releases.control import NoReleases, ReleaseNotFound
from orchestrator.services.styles import UnknownStyle
from orchestrator.services.submitting.direct_uploads import NoSuchUpload, UploadUsed
from orchestrator.services.submitting.quotas import NotInPlan, OverLimit
from orchestrator.telemetry import context

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "2"}
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
IDEMPOTENCY_FIELD = "idempotency-key"


class ProblemDetail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457. ``code`` is stable, for programs; ``field`` names the offending part of the request; ``request_id`` is
    that of the header X-Request-Id, by which the operator finds the request in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Meta(extra_json_schema={"x-extensible-enum": [*ProblemCode]})]
    instance: str
    field: str | None = None
    violated_policies: Annotated[
        list[str] | None,
        Meta(
            description="With 402 and 429: the limits that refuse, by the names of RateLimit-Policy and of the plan"
        ),
    ] = msgspec.field(name="violated-policies", default=None)
    request_id: str | None = None


class Problem(Exception):
    """A refusal by the API itself. ``status`` defaults to the first status of the code; ``violated`` is the name of the
    limit that refuses."""

    def __init__(
        self,
        code: ProblemCode,
        detail: str,
        *,
        status: int | None = None,
        field: str | None = None,
        violated: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = code.statuses[0] if status is None else status
        self.code, self.detail, self.field, self.headers = code, detail, field, headers
        self.violated = violated


def handle_error(request: Request[Any, Any, Any], error: Exception) -> Response[ProblemDetail]:
    """Litestar's handler for all exceptions."""
    problem = to_problem(error)
    if problem.status == 500:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
    return Response(
        _detail(problem, request.url.path),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(problem.headers or {}),
    )


def described(error: Exception, instance: str, part: str | None = None) -> ProblemDetail:
    """The error of one ``part`` of a request that has several. An unexpected one is logged."""
    problem = to_problem(error)
    if problem.status == 500:
        log.error("a part of a request to %s", instance, exc_info=error)
    return _detail(problem if part is None else within(problem, part), instance)


def within(problem: Problem, part: str) -> Problem:
    """The same problem, with the part of the request before the name of its field."""
    field = part if problem.field in (None, "body") else f"{part}.{problem.field}"
    return Problem(
        problem.code,
        problem.detail,
        status=problem.status,
        field=field,
        violated=problem.violated,
        headers=problem.headers,
    )


async def send_problem(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer from code that runs outside Litestar's handlers."""
    headers, body = encode_problem(problem, scope["path"])
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def encode_problem(problem: Problem, instance: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The ASGI headers and the body of a problem's answer. ``instance`` is the path of the request."""
    body = msgspec.json.encode(_detail(problem, instance))
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **(problem.headers or {})}
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


def _detail(problem: Problem, instance: str) -> ProblemDetail:
    return ProblemDetail(
        type="about:blank" if problem.violated is None else QUOTA_EXCEEDED,
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        field=problem.field,
        violated_policies=None if problem.violated is None else [problem.violated],
        instance=instance,
        request_id=context.request_id.get() or None,
    )


def to_problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case PhotoRejected(code=code, detail=detail, field=field):
            return Problem(code, detail, field=field)
        case JobNotFound():
            return Problem(ProblemCode.JOB_NOT_FOUND, "no job of yours has this id; it may have been erased")
        case KeyNotFound():
            return Problem(ProblemCode.KEY_NOT_FOUND, "no API key has this id, or it was revoked")
        case EndpointNotFound():
            return Problem(ProblemCode.WEBHOOK_NOT_FOUND, "no webhook of yours has this id")
        case EndpointDisabled():
            disabled = "the webhook is disabled: enable it with PATCH first"
            return Problem(ProblemCode.WEBHOOK_DISABLED, disabled)
        case TooManyEndpoints():
            most = f"a key may have {MOST_ENDPOINTS} webhooks: delete one, or change it with PATCH"
            return Problem(ProblemCode.TOO_MANY_WEBHOOKS, most)
        case BadUrl():
            return Problem(ProblemCode.INVALID_URL, str(error), field="url")
        case NotAllowed():
            inside = "the URL leads to an address that is not on the internet; this service does not call it"
            return Problem(ProblemCode.URL_NOT_ALLOWED, inside, field="url")
        case Unreachable():
            return Problem(ProblemCode.URL_UNREACHABLE, f"the URL cannot be called: {error}", field="url")
        case UnknownStyle(detail=detail):
            return Problem(ProblemCode.UNKNOWN_STYLE, detail, field="style")
        case StyleNotFound():
            return Problem(ProblemCode.STYLE_NOT_FOUND, "no style of your own has this name; see GET /styles")
        case TooManyStyles(most=most):
            detail = f"you have {most} styles of your own, which is as many as you may; delete one"
            return Problem(ProblemCode.TOO_MANY_STYLES, detail)
        case JobFinished():
            return Problem(ProblemCode.JOB_FINISHED, "the job is finished already")
        case JobNotFinished():
            return Problem(ProblemCode.JOB_NOT_FINISHED, "the job is not finished; cancel it first")
        case NothingToKeep():
            nothing = "the job has failed or was cancelled: it has no picture that could be kept"
            return Problem(ProblemCode.NOTHING_TO_KEEP, nothing)
        case DeadLetterNotFound():
            return Problem(ProblemCode.DEAD_LETTER_NOT_FOUND, "no job with this id was given up")
        case NoReleases():
            nowhere = "this service does not know where its releases lie: set REROOM_RELEASES_AT"
            return Problem(ProblemCode.NO_RELEASES, nowhere)
        case ReleaseNotFound():
            return Problem(ProblemCode.RELEASE_NOT_FOUND, str(error))
        case NotPossible():
            return Problem(ProblemCode.RELEASE_REFUSED, str(error))
        case AnotherWriter():
            return Problem(ProblemCode.ROLLOUT_CHANGED, str(error))
        case NotReplayed():
            return Problem(ProblemCode.NOT_REPLAYED, f"the job cannot be replayed: {error}")
        case InFlight():
            busy = "a request with this Idempotency-Key is being done; send it again soon to get its answer"
            return Problem(
                ProblemCode.IDEMPOTENCY_KEY_IN_USE, busy, headers=RETRY_AFTER, field=IDEMPOTENCY_FIELD
            )
        case AnotherRequest():
            reused = "this Idempotency-Key came with another request before: each request needs its own"
            return Problem(ProblemCode.IDEMPOTENCY_KEY_REUSED, reused, field=IDEMPOTENCY_FIELD)
        case ObjectNotFound():
            return Problem(ProblemCode.OBJECT_NOT_FOUND, "there is no such object; it may have been erased")
        case NoSuchUpload():
            detail = (
                "there is no photo under this key: put it to the link of POST /uploads, then submit it once"
            )
            return Problem(ProblemCode.NO_SUCH_UPLOAD, detail, field="key")
        case UploadUsed() | ReservationLost():
            used = "this key has been submitted before, and is good once: ask POST /uploads for another"
            return Problem(ProblemCode.UPLOAD_USED, used, field="key")
        case ObjectExists():
            put = "another photo has been put by this link, which takes one: ask POST /uploads for another"
            return Problem(ProblemCode.UPLOAD_USED, put)
        case TooManyJobs(waiting=waiting, retry_after=seconds):
            full = f"the queue is full: {waiting} jobs wait; try again in {seconds} s"
            return Problem(ProblemCode.QUEUE_FULL, full, headers={"Retry-After": str(seconds)})
        case NotInPlan(detail=detail, field=field):
            return Problem(ProblemCode.NOT_IN_PLAN, detail, field=field)
        case OverLimit(limit=limit, detail=detail, retry_after=seconds):
            over = ProblemCode.BUDGET_EXHAUSTED if limit == "monthly_budget" else ProblemCode.QUOTA_EXCEEDED
            return Problem(over, detail, violated=limit, headers={"Retry-After": str(seconds)})
        case ObjectTooLarge():
            return Problem(ProblemCode.BODY_TOO_LARGE, "the uploaded photo has too many bytes", field="key")
        case BadSignature():
            return Problem(ProblemCode.BAD_SIGNATURE, "the link was not made by this service or was changed")
        case LinkExpired():
            return Problem(
                ProblemCode.LINK_EXPIRED, "the link has expired; ask for the job's status to get a new one"
            )
        case Unavailable() | InferenceError(code=FailureCode.UNAVAILABLE):
            log.warning("answered 503: %s", error)
            return Problem(
                ProblemCode.UNAVAILABLE,
                "a part of the service cannot be reached; try again soon",
                headers=RETRY_AFTER,
            )
        case TooBusy():
            busy = "too many photos are being analyzed; try again soon"
            return Problem(ProblemCode.UNAVAILABLE, busy, headers=RETRY_AFTER)
        case TooSlow():
            log.warning("answered 504: %s", error)
            return Problem(ProblemCode.MODEL_TIMEOUT, "the model took too long")
        case InferenceError():
            # Its detail is only for the operator, because the request had passed every check.
            log.warning("answered 502: %s: %s", error.code, error.detail)
            return Problem(ProblemCode.MODEL_ERROR, "the model failed on this photo")
        case HTTPException():
            return _from_framework(error)
        case _:
            return Problem(ProblemCode.INTERNAL_ERROR, "something went wrong on our side")


def _from_framework(error: HTTPException) -> Problem:
    headers = error.headers
    match error.status_code:
        case 404:
            return Problem(ProblemCode.NOT_FOUND, "there is nothing at this address")
        case 405 if headers and headers.get("allow") == "websocket":
            detail = "this address accepts only WebSockets"
            return Problem(ProblemCode.UPGRADE_REQUIRED, detail, headers={"Upgrade": "websocket"})
        case 405:
            return Problem(
                ProblemCode.METHOD_NOT_ALLOWED, "this address does not take this method", headers=headers
            )
        case 413:
            return Problem(ProblemCode.BODY_TOO_LARGE, "the request's body is too large", field="file")
        case status if 400 <= status < 500:
            return Problem(ProblemCode.BAD_REQUEST, error.detail, status=status, headers=headers)
        case _:
            return Problem(ProblemCode.INTERNAL_ERROR, "something went wrong on our side")


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """A route's ``responses`` for OpenAPI: problem details with these statuses."""
    return {
        status: ResponseSpec(
            ProblemDetail,
            description=HTTPStatus(status).phrase,
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in statuses
    }
