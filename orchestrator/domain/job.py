"""What a job is: its states, its request, its result.

Every comparison of states goes through the names in this file.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import StyleWords


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
        """An unknown state is one of a newer version. It is not terminal: a new terminal state takes two releases."""
        return cls("transforming")


class Priority(StrEnum):
    """A high priority brings a job forward by a limited amount of work, so that others do not wait for ever."""

    NORMAL = "normal"
    HIGH = "high"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        """One of a newer version."""
        return cls("normal")


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
"""The text for the user in each state. A failed job shows its error's sentence instead."""

UPLOADS, RESULTS = "uploads/", "results/"
"""Where a job's photo and its pictures are stored, each under the job's id."""

MAX_DELIVERIES = 3
"""How often a job is delivered to a worker before it becomes a dead letter."""

MAX_OUTAGES = 10
"""How many outages may interrupt a job before it becomes a dead letter: the job itself may cause them."""


KEEP_MASK, REFERENCE, STYLE_WORDS, TREE = "keep_mask", "reference", "style_words", "tree"
FEATURES = frozenset({KEEP_MASK, REFERENCE, STYLE_WORDS, TREE})
"""The abilities of this version's workers that a job's ``requires`` may name."""


DEFAULT_TIER = "default"
"""The tier, in counts and events, of a job that names no quality, when the release does not say which it took."""


MAX_STYLES, MAX_VARIATIONS = 8, 4
"""How many styles a submission may have, and how many pictures of each: 32 at most. One script adds them all, and Redis
serves nobody else meanwhile; and they must be told apart on one contact sheet."""


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed: a stable code and one sentence for the user."""

    code: Annotated[str, Meta(extra_json_schema={"x-extensible-enum": [*FailureCode]})]
    """A FailureCode, or a code of another version of the workers."""
    detail: str

    def public(self) -> JobError:
        """As clients may see it. A code of another version gets a general sentence."""
        return JobError(code=self.code, detail=FailureCode.of(self.code).sentence or self.detail)


PICTURES = 2
"""How many pictures every completed job has stored beside what was submitted, without those that may be asked for."""


def pictures_of(preferences: Preferences) -> int:
    """How many pictures are stored for a job with these preferences when it is completed, beside what was submitted and
    those that may be asked for later."""
    return PICTURES + preferences.label + (preferences.lossless is not None)


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """The storage keys of a finished job's pictures, and how they were made. URLs are signed only when requested."""

    transformed_key: str
    thumbnail_key: str
    metadata: dict[str, Any]
    """ResultMetadata as the worker encoded it, so that members of another version pass through."""
    stored_bytes: int = 0
    """Of all pictures."""
    labelled_key: str | None = None
    """Of the picture with the visible label, if that was asked for."""
    lossless_key: str | None = None
    """Of the result without loss, if that was asked for."""

    @property
    def pictures(self) -> int:
        """How many pictures are stored."""
        return PICTURES + sum(key is not None for key in (self.labelled_key, self.lossless_key))


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A stored picture: its key, and how many bytes it has."""

    key: str
    bytes: int


class Child(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a parent remembers of a child, even after the child's own record has expired."""

    id: str
    style: str
    variation: int
    """Which one of its style it is, from 1."""
    seed: int | None = None
    """As it was asked for; None: the models choose one."""
    status: JobState = JobState.QUEUED
    progress: float = 0.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One transformation, as stored; or the *parent* of several of the same photo that were submitted together, its
    children. A parent never waits or runs itself: what it has in common with its children, and its state, progress and
    end follow from theirs, in the atomic steps that change those. Times are UNIX seconds."""

    id: str
    owner: str = ""
    """The id of the API key that submitted it (:attr:`orchestrator.domain.keys.Caller.owner`). ``""``: it was submitted
    in open mode, by the administrator, or before there were keys."""
    style: str
    style_words: StyleWords | None = None
    """What the style said when the job was submitted, whatever becomes of the style. None: an older version submitted
    it, and the worker has the words of that name."""
    preferences: Preferences
    original_key: str
    mask_key: str | None = None
    """Where the keep mask is stored: its light pixels stay as photographed."""
    reference_key: str | None = None
    """Where the picture is stored whose colours are wanted."""
    manifests_key: str | None = None
    """Where the C2PA manifests are stored that the upload carried: they go on in signed results."""
    photo_type: str = ""
    """What the upload said of where it comes from; see :attr:`orchestrator.domain.marks.Facts.photo_type`."""
    photo_digest: str | None = None
    """What jobs of the same photo have in common; see :attr:`orchestrator.ports.Lease.photo_id`."""
    price: int = 0
    """What an hour of the models' time cost when it was submitted, in micros of the currency; 0: it was not said."""
    currency: str = ""
    cost: float = 1.0
    """What it costs the models, for estimates and for its owner's share of them; 1 = a picture of the default quality
    (:mod:`orchestrator.domain.cost`)."""
    created_at: float
    updated_at: float
    status: JobState = JobState.QUEUED
    progress: float = 0.0
    """0 … 1, never falling within an attempt."""
    message: str = ""
    attempts: int = 0
    """How often a worker has begun it, without the times that an outage or a worker's stop cut short."""
    outages: int = 0
    """How often an outage of a service interrupted it."""
    cancel_requested: bool = False
    error: JobError | None = None
    result: JobResult | None = None
    release: int | None = None
    """The version of the models that its last attempt was made with, as soon as that was known: the next attempt goes
    on with it. None: it has not begun, or the models do not say."""
    favourite: bool = False
    """Whether its owner wants to keep it: neither the record nor the pictures of a completed one expire."""
    weight: float = 1.0
    """Its owner's share of the workers in relation to other owners'; above 0."""
    priority: Priority = Priority.NORMAL
    cancel_after: float | None = None
    """Seconds from its submission until it is cancelled, unless it has ended."""
    requires: list[str] = []
    """The abilities, names of FEATURES, that a worker needs beside understanding the style and the preferences."""
    request_id: str | None = None
    """The id of the request that submitted it, for the logs of its workers."""
    traceparent: str | None = None
    """The span that submitted it (W3C Trace Context), when traces are recorded."""
    last_seq: str = "0-0"
    """The ``seq`` of the newest event that this record includes."""
    children: list[Child] = []
    """By their places; only a parent has any. Those that were erased one by one are left out."""
    parent: str | None = None
    """The id of the job that this one is a child of."""
    place: int | None = None
    """A child's place among its parent's children, from 0."""
    variation: int | None = None
    """Which one of its style a child is, from 1."""
    files: dict[str, StoredFile] = {}
    """Pictures that were made of its pictures because somebody asked for them, by name."""


def child_id(parent: str, place: int) -> str:
    """The id of a child. It is always the same, so that a submission may be repeated."""
    return hashlib.sha256(f"{parent} {place}".encode()).hexdigest()[:32]


COMMON_MULTIPLE = 27_720
"""A multiple of every number up to 12: see :func:`drawn_seed`."""


def drawn_seed() -> int:
    """A seed for variations of which nobody asked for one, below 2**53, so that JavaScript can tell it. Bundles without
    noise choose the palette by the seed modulo the number of their palettes, of which the first is the style's own: so
    the first variation has the style's colours, and each of the next ones others."""
    return secrets.randbelow(2**53 // COMMON_MULTIPLE) * COMMON_MULTIPLE


def variation_seed(seed: int | None, variation: int) -> int | None:
    """The seed of a style's n-th variation, from 1: that which was asked for, the next number, and so on; 0 comes after
    the largest. None: the models choose one."""
    return None if seed is None else (seed + variation - 1) % 2**63
