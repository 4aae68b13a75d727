"""What a job is: its states, its request, its result.

Every comparison of states goes through the names in this file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.preferences import Preferences


class JobState(StrEnum):
    QUEUED = "queued"
    ANALYZING = "analyzing"
    GENERATING = "generating"
    TRANSFORMING = "transforming"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        """A state of a newer version: none that a job never leaves, or two releases would have brought it."""
        return cls("transforming")


TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
"""States that a job never leaves."""

MESSAGES = {
    JobState.QUEUED: "Waiting for a free worker",
    JobState.ANALYZING: "Looking at the room",
    JobState.GENERATING: "Preparing the new style",
    JobState.TRANSFORMING: "Restyling the room",
    JobState.FINALIZING: "Finishing the picture",
    JobState.COMPLETED: "Done",
    JobState.CANCELLED: "Cancelled",
}
"""What the user reads in each state; a failed job shows its error's sentence instead."""

UPLOADS, RESULTS = "uploads/", "results/"
"""Where a job's photo and its pictures are stored, each under the job's id."""

MAX_DELIVERIES = 3
"""How often a job is given to a worker before it goes to the dead letters."""

MAX_OUTAGES = 10
"""How often a service may go away under a job before that goes to the dead letters: it may be the job that ends it."""


FEATURES: frozenset[str] = frozenset()
"""What this version's workers can do that a job's ``requires`` may name."""


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed: a stable code and one sentence for the user."""

    code: Annotated[str, Meta(extra_json_schema={"x-extensible-enum": [*FailureCode]})]
    """One of FailureCode, or what another version of the workers has."""
    detail: str


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished job left in storage (keys, never URLs: those are signed when asked for) and how it was made."""

    transformed_key: str
    thumbnail_key: str
    metadata: dict[str, Any]
    """ResultMetadata as its writer encoded it: members that another version adds pass through."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One transformation, as stored. Times are UNIX seconds."""

    id: str
    style: str
    preferences: Preferences
    original_key: str
    created_at: float
    updated_at: float
    status: JobState = JobState.QUEUED
    progress: float = 0.0
    """0 … 1, never falling within an attempt."""
    message: str = ""
    attempts: int = 0
    """How often a worker has begun it; what an outage or a worker's stop cut short is not counted."""
    outages: int = 0
    """How often a service went away under it."""
    cancel_requested: bool = False
    error: JobError | None = None
    result: JobResult | None = None
    requires: list[str] = []
    """What a worker must be able to do beside understanding style and preferences: names out of its FEATURES."""
    last_seq: str = "0-0"
    """``seq`` of the newest event that this record reflects."""
