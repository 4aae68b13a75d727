"""Domain objects as the API shows them: times in RFC 3339, and URLs signed when they are requested."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.domain.job import Job, JobError, JobResult, JobState
from orchestrator.domain.keeping import Times, expires_at
from orchestrator.domain.result import ResultMetadata
from orchestrator.ports import PageLinks, Storage
from orchestrator.services.collages import Collages, NoCollage
from orchestrator.services.jobs import JobView


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that will be made: a job of its own."""

    job_id: str
    style: str
    variation: Annotated[int, Meta(ge=1)]
    """Which one of its style."""
    seed: Annotated[int, Meta(ge=0)] | None
    """As it was asked for; null: the models choose one."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    job_id: str
    estimated_time: float
    """Seconds from now until the job will be finished."""
    websocket_url: str
    status_url: str
    children: list[Planned] | UnsetType = UNSET
    """Of a submission of several pictures, whose job is their parent."""


Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339 in UTC."""


Which = Literal[
    "transformed", "thumbnail", "original", "lossless", "labelled", "before_after", "contact_sheet"
]
"""A picture of a completed job, or of a parent; ``lossless`` and ``labelled`` are there only if they were asked for."""


FAVOURITE_PAGE_SECONDS = 365 * 86400
"""How long the page of a favourite is reached by one link at most, and half of it at least: its pictures are kept until
it is unmarked."""


class ResultData(msgspec.Struct, frozen=True, kw_only=True):
    """URLs that expire; ask again for new ones."""

    transformed_url: str
    thumbnail_url: str
    original_url: str
    labelled_url: str | UnsetType = UNSET
    """Of the picture with a visible badge; only with the preference label."""
    page_url: str
    """A page for everyone who has the link: it says that AI changed the picture, and shows it beside the photo. It
    lasts as long as the pictures do."""
    page_expires_at: Time
    """Until when that link is good. A favourite's ends although its pictures stay: ask again for a new one."""
    metadata: ResultMetadata
    lossless_url: str | UnsetType = UNSET
    """The result as PNG, without loss, where the job asked for it."""


class ChildData(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of several that were submitted together: a job of its own, as of now."""

    job_id: str
    style: str
    variation: Annotated[int, Meta(ge=1)]
    """Which one of its style."""
    seed: Annotated[int, Meta(ge=0)] | None
    """That it was made with, or was asked for; null: the models have yet to choose one."""
    status: JobState
    progress: float
    """0 to 1."""
    error: JobError | None
    result_url: str | None
    """The same as result.transformed_url."""
    result: ResultData | UnsetType = UNSET
    """Only when it is completed, and its record has not expired."""
    expires_at: Time | None
    """Until then its pictures are there; they are deleted soon afterwards. Null: it has none, or is a favourite."""


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
    """The number of jobs before it; null unless it waits."""
    attempts: int
    error: JobError | None
    favourite: bool
    """Whether it is kept until it is unmarked or erased."""
    expires_at: Time | None
    """Until then its pictures are there; they are deleted soon afterwards. Null: it has none, or is a favourite. Of a
    parent: of its photo and contact sheet, null while a child is a favourite; each child has its own."""
    result_url: str | None
    """The same as result.transformed_url."""
    result: ResultData | UnsetType = UNSET
    """Only when the job is completed."""
    parent: str | UnsetType = UNSET
    """Of a child: the id of its parent."""
    children: list[ChildData] | UnsetType = UNSET
    """Of a parent: its children, which have the results, by their places."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: StatusData


def public_error(error: JobError) -> JobError:
    """A failed job's error as clients may see it. A code of another version gets a general sentence."""
    return error.public()


class Presenter:
    """``base_url`` is where clients reach the API; URLs work for ``url_ttl`` seconds, and those of pages for as long
    as there are both the photo and the picture, by ``times``."""

    def __init__(
        self,
        storage: Storage,
        collages: Collages,
        base_url: str,
        url_ttl: int,
        pages: PageLinks,
        times: Times,
    ) -> None:
        self._storage, self._base_url, self._url_ttl = storage, base_url, url_ttl
        self._collages = collages
        self._pages, self._times = pages, times

    def submitted(self, view: JobView) -> Submitted:
        job_id = view.job.id
        return Submitted(
            job_id=job_id,
            estimated_time=view.estimated_time or 0.0,
            # http → ws, https → wss
            websocket_url=f"ws{self._base_url.removeprefix('http')}/ws/transform/{job_id}",
            status_url=f"{self._base_url}/transform/status/{job_id}",
            children=[
                Planned(job_id=child.id, style=child.style, variation=child.variation, seed=child.seed)
                for child in view.job.children
            ]
            or UNSET,
        )

    async def status(self, view: JobView) -> StatusData:
        job = view.job
        result = await self.result(job, job.result) if job.result else UNSET
        error = public_error(job.error) if job.error else None
        return StatusData(
            job_id=job.id,
            status=job.status,
            progress=job.progress,
            # A failed job's record has the internal sentence there too.
            message=error.detail if error else job.message,
            style=job.style,
            created_at=rfc3339(job.created_at),
            updated_at=rfc3339(job.updated_at),
            estimated_time=view.estimated_time,
            estimated_time_remaining=view.estimated_time_remaining,
            queue_position=view.queue_position,
            attempts=job.attempts,
            error=error,
            favourite=job.favourite,
            expires_at=self._expires_at(job, view.children),
            result_url=result.transformed_url if isinstance(result, ResultData) else None,
            result=result,
            parent=job.parent or UNSET,
            children=[child async for child in self._children(view)] or UNSET,
        )

    async def _children(self, view: JobView) -> AsyncGenerator[ChildData, None]:
        records = {job.id: job for job in view.children}
        for child in view.job.children:
            job = records.get(child.id)
            result = await self.result(job, job.result) if job and job.result else UNSET
            made_with = job.result.metadata.get("seed") if job and job.result else None
            yield ChildData(
                job_id=child.id,
                style=child.style,
                variation=child.variation,
                seed=child.seed if made_with is None else made_with,
                status=job.status if job else child.status,
                progress=job.progress if job else child.progress,
                error=public_error(job.error) if job and job.error else None,
                expires_at=self._expires_at(job, []) if job else None,
                result_url=result.transformed_url if isinstance(result, ResultData) else None,
                result=result,
            )

    async def picture(self, job: Job, which: Which) -> str | None:
        """A signed URL of a picture; None where a completed job lacks it. Raises NoCollage where there is none at all,
        JobNotFound, Unavailable."""
        if which == "before_after" or which == "contact_sheet":
            key = await self._collages.key(job, which)
        elif job.children:
            raise NoCollage("its children have the pictures; its own is contact_sheet")
        elif job.result is None:
            raise NoCollage("the job has no picture, unless it is completed")
        else:
            keys: dict[Which, str | None] = {
                "transformed": job.result.transformed_key,
                "thumbnail": job.result.thumbnail_key,
                "original": job.original_key,
                "lossless": job.result.lossless_key,
                "labelled": job.result.labelled_key,
            }
            found = keys[which]
            if found is None:
                return None
            key = found
        return await self._storage.url(key, self._url_ttl)

    def _expires_at(self, job: Job, children: Sequence[Job]) -> str | None:
        seconds = expires_at(job, children, self._times)
        return None if seconds is None else rfc3339(seconds)

    def _page_expires(self, job: Job) -> int:
        """UNIX seconds, the same whenever they are asked for within a while, and so is the link."""
        since = int(job.updated_at)
        if not job.favourite:
            return since + self._times.both
        step = FAVOURITE_PAGE_SECONDS // 2
        steps = max(0, int(time.time()) - since) // step
        return since + max(self._times.both, (steps + 2) * step)

    async def result(self, job: Job, result: JobResult) -> ResultData:
        """The result of a completed job, with links that are signed now."""
        keys = (result.transformed_key, result.thumbnail_key, job.original_key)
        transformed, thumbnail, original = [await self._storage.url(key, self._url_ttl) for key in keys]
        labelled = result.labelled_key and await self._storage.url(result.labelled_key, self._url_ttl)
        page_expires = self._page_expires(job)
        return ResultData(
            transformed_url=transformed,
            thumbnail_url=thumbnail,
            original_url=original,
            labelled_url=labelled or UNSET,
            page_url=self._pages.page_url(job.id, page_expires),
            page_expires_at=rfc3339(page_expires),
            # As stored, so that members from another version pass through.
            metadata=cast(ResultMetadata, result.metadata),
            lossless_url=UNSET
            if result.lossless_key is None
            else await self._storage.url(result.lossless_key, self._url_ttl),
        )


def rfc3339(seconds: float) -> str:
    """UNIX seconds as 2026-11-22T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
