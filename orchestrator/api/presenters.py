"""Domain objects as the API shows them: times in RFC 3339, and URLs signed at the time of asking."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.domain.job import JobError, JobResult, JobState
from orchestrator.ports import Storage
from orchestrator.services.analysis import SeenObject
from orchestrator.services.jobs import JobView


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str
    estimated_time: float
    """Seconds from now until the job will be finished."""
    websocket_url: str
    status_url: str


Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339 in UTC."""
Score = Annotated[float, Meta(ge=0, le=1)]


class Quality(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Measures of the picture beside its photo, 0 to 1 each and 1 best: edges and depth that it keeps, how sharp it is
    at the photo's edges, contrast (a veil takes it), exposure (nothing burnt out or black that the photo shows),
    cleanliness (no blotches, no noise), and how much was changed (0: nothing was restyled). The score is their weighted
    geometric mean, so that one bad fault is enough for a bad picture."""

    edge_agreement: Score | UnsetType = UNSET
    depth_agreement: Score | UnsetType = UNSET
    sharpness: Score | UnsetType = UNSET
    contrast: Score | UnsetType = UNSET
    exposure: Score | UnsetType = UNSET
    cleanliness: Score | UnsetType = UNSET
    changed: Score | UnsetType = UNSET
    score: Score | UnsetType = UNSET


class ResultWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was asked for and not done: a stable code and one sentence."""

    code: str
    detail: str


class ResultMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the picture was made. Other releases of the service may leave members out, or add some."""

    style: str | UnsetType = UNSET
    processing_time: Annotated[float, Meta(ge=0, description="Seconds")] | UnsetType = UNSET
    quality_score: Score | UnsetType | None = UNSET
    quality: Quality | UnsetType = UNSET
    room_type: str | UnsetType = UNSET
    room_confidence: Score | UnsetType | None = UNSET
    objects: list[SeenObject] | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0, description="Repeats the picture when given again")] | UnsetType = UNSET
    palette: (
        Annotated[list[str], Meta(description="Colours that the models were told, asked for or by the seed")]
        | UnsetType
        | None
    ) = UNSET
    strength: Annotated[float, Meta(gt=0, le=1)] | UnsetType | None = UNSET
    attempts: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    prompt_truncated: bool | UnsetType = UNSET
    warnings: list[ResultWarning] | UnsetType = UNSET
    timings: Annotated[dict[str, float], Meta(description="Seconds by stage")] | UnsetType = UNSET
    release: Annotated[str, Meta(description="The models that made it")] | UnsetType = UNSET
    width: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    height: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class ResultData(msgspec.Struct, frozen=True, kw_only=True):
    """URLs that expire; ask again for new ones."""

    transformed_url: str
    thumbnail_url: str
    original_url: str
    metadata: ResultMetadata


class StatusData(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    status: JobState
    progress: float
    """0 to 1."""
    message: str
    style: str
    created_at: Time
    updated_at: Time
    estimated_time: float | None
    """Seconds from submission to the end; null once the job is finished."""
    estimated_time_remaining: float | None
    queue_position: int | None
    """How many jobs are before it; null unless it waits."""
    attempts: int
    error: JobError | None
    result_url: str | None
    """The same as result.transformed_url."""
    result: ResultData | UnsetType = UNSET
    """Only when the job is completed."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: StatusData


FOR_USERS = frozenset(
    {
        "broken_record",
        "invalid_request",
        "not_understood",
        "original_missing",
        "stalled",
        "too_many_attempts",
        "too_many_outages",
        "unknown_style",
    }
)
"""Codes whose stored sentence is written for the user. That of others may hold addresses and what libraries say: it is
for the worker's log."""

_PUBLIC = {
    "broken_image": "The photo cannot be decoded.",
    "model_error": "The model broke over this photo.",
    "unavailable": "A part of the service was out of reach for too long.",
}


def public_error(error: JobError) -> JobError:
    """A failed job's error as everyone may see it."""
    if error.code in FOR_USERS:
        return error
    return JobError(code=error.code, detail=_PUBLIC.get(error.code, "Something went wrong on our side."))


class Presenter:
    """``base_url`` is where clients reach the API; URLs work for ``url_ttl`` seconds."""

    def __init__(self, storage: Storage, base_url: str, url_ttl: int) -> None:
        self._storage, self._base_url, self._url_ttl = storage, base_url, url_ttl

    def submitted(self, view: JobView) -> Submitted:
        job_id = view.job.id
        return Submitted(
            job_id=job_id,
            estimated_time=view.estimated_time or 0.0,
            # http → ws, https → wss
            websocket_url=f"ws{self._base_url.removeprefix('http')}/ws/transform/{job_id}",
            status_url=f"{self._base_url}/transform/status/{job_id}",
        )

    async def status(self, view: JobView) -> StatusData:
        job = view.job
        result = await self._result(job.original_key, job.result) if job.result else UNSET
        return StatusData(
            job_id=job.id,
            status=job.status,
            progress=job.progress,
            message=job.message,
            style=job.style,
            created_at=rfc3339(job.created_at),
            updated_at=rfc3339(job.updated_at),
            estimated_time=view.estimated_time,
            estimated_time_remaining=view.estimated_time_remaining,
            queue_position=view.queue_position,
            attempts=job.attempts,
            error=public_error(job.error) if job.error else None,
            result_url=result.transformed_url if isinstance(result, ResultData) else None,
            result=result,
        )

    async def _result(self, original_key: str, result: JobResult) -> ResultData:
        keys = (result.transformed_key, result.thumbnail_key, original_key)
        transformed, thumbnail, original = [await self._storage.url(key, self._url_ttl) for key in keys]
        return ResultData(
            transformed_url=transformed,
            thumbnail_url=thumbnail,
            original_url=original,
            # As stored, so that what another release says of its pictures passes through.
            metadata=cast(ResultMetadata, result.metadata),
        )


def rfc3339(seconds: float) -> str:
    """UNIX seconds as 2026-11-22T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
