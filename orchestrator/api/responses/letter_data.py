"""Jobs that were given up, as the API and the commands show them."""

from __future__ import annotations

import msgspec

from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.job import JobState
from orchestrator.ports import DeadLetter
from orchestrator.services.dead_letters import GivenUp


class LetterData(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was given up."""

    job_id: str
    code: str
    """Why, as in the job's error."""
    detail: str
    attempts: int
    at: Time
    """When it was given up."""


class LetterList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[LetterData]
    """The newest first."""


class GivenUpJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of its job."""

    owner: str
    status: JobState
    style: str
    submitted_at: Time
    outages: int


class LetterAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: LetterData
    job: GivenUpJob | None
    """null, once its record has expired."""


def letter_data(letter: DeadLetter) -> LetterData:
    return LetterData(
        job_id=letter.job_id,
        code=letter.code,
        detail=letter.detail,
        attempts=letter.attempts,
        at=rfc3339(letter.at),
    )


def letter_answer(found: GivenUp) -> LetterAnswer:
    job = found.job
    return LetterAnswer(
        data=letter_data(found.letter),
        job=None
        if job is None
        else GivenUpJob(
            owner=job.owner,
            status=job.status,
            style=job.style,
            submitted_at=rfc3339(job.created_at),
            outages=job.outages,
        ),
    )
