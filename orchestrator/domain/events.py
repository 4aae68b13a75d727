"""What happens to a job, for its watchers: a tagged union with one decoder.

The same JSON goes into the job's event stream in Redis and over the WebSocket (there with ``seq`` and ``job_id``).
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from orchestrator.domain.job import JobError, JobResult, JobState

_log = logging.getLogger("reroom.events")


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class StatusChanged(_Event, frozen=True, kw_only=True, tag="status"):
    """The job entered ``status`` (never a terminal one)."""

    status: JobState
    progress: float
    message: str


class Analysis(_Event, frozen=True, kw_only=True, tag="analysis"):
    """What the models found in the photo: ``objects`` = [{label, score, box: [x0, y0, x1, y1] in 0..1}]."""

    objects: list[dict[str, Any]]
    room_type: str
    progress: float
    room_confidence: float | None = None
    """The confidence of ``room_type``, 0 … 1; None in events of older releases."""


class Step(_Event, frozen=True, kw_only=True, tag="step"):
    """A solver step was done; ``of`` is the number of steps that are run."""

    step: int
    of: int
    progress: float


class Preview(_Event, frozen=True, kw_only=True, tag="preview"):
    """A small base64 JPEG of the picture so far."""

    step: int
    jpeg: str
    progress: float


class Completed(_Event, frozen=True, kw_only=True, tag="completed"):
    result: JobResult | None = None
    """None of a parent, whose children have the results."""
    progress: float = 1.0


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    error: JobError


class Cancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    pass


Progress = StatusChanged | Analysis | Step | Preview
Terminal = Completed | Failed | Cancelled


class ChildChanged(_Event, frozen=True, kw_only=True, tag="child"):
    """In the events of a parent: ``event`` happened to its child ``job_id``, as ``seq`` of that one's own events."""

    job_id: str
    place: int
    """The child's, from 0."""
    seq: str
    progress: float
    """The parent's: the mean of its children's."""
    event: Progress | Terminal


Event = Progress | Terminal | ChildChanged


class EventRecord(msgspec.Struct, frozen=True):
    """An event with its place in the job's stream. ``seq`` grows; compare it only through :func:`seq_key`."""

    seq: str
    event: Event


def seq_key(seq: str) -> tuple[int, int]:
    """A Redis stream id ``ms-n``, or ``ms`` for ``ms-0``, as a pair of integers, which sorts. Raises ValueError."""
    ms, _, n = seq.partition("-")
    return int(ms), int(n or 0)


encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode(text: str | bytes) -> Event | None:
    """The event; None, with a warning in the log, when it cannot be decoded: a worker may be newer than the API."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        _log.warning("skips an event that it does not understand: %s", error)
        return None
