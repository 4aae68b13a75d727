"""The events of a job, as the WebSocket sends them: a tagged union, dispatched with ``match``.

Fields that this version does not know are ignored; events of types that it does not know are :class:`Unknown`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from reroom.errors import ProtocolError
from reroom.models import JobError, JobStatus


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    seq: str
    """The event's position among the job's events; ``events(job, after=seq)`` resumes after it."""
    job_id: str = ""


class Snapshot(_Event, frozen=True, kw_only=True, tag="snapshot"):
    """The job's state when the connection began; ``seq`` is that of the last event that it includes."""

    data: JobStatus


class StatusChanged(_Event, frozen=True, kw_only=True, tag="status"):
    """The job entered the state ``status`` (never a terminal one)."""

    status: str
    progress: float
    """0 … 1; it falls only when the job starts again on another worker."""
    message: str = ""


class Analysis(_Event, frozen=True, kw_only=True, tag="analysis"):
    """What the detector found: ``objects`` = [{label, name, score, box: [x0, y0, x1, y1] in 0..1}]."""

    objects: list[dict[str, Any]]
    room_type: str
    progress: float
    room_confidence: float | None = None
    """0 … 1, how sure ``room_type`` is; None from services that do not send it."""


class Step(_Event, frozen=True, kw_only=True, tag="step"):
    """Solver step ``step`` (from 1) is done; ``of`` is how many are run."""

    step: int
    of: int
    progress: float


class Preview(_Event, frozen=True, kw_only=True, tag="preview"):
    """The picture so far, as a small JPEG."""

    step: int
    jpeg: bytes
    progress: float


class Completed(_Event, frozen=True, kw_only=True, tag="completed"):
    """The last event: the job completed; ``data`` has the result, with signed URLs."""

    data: JobStatus


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """The last event: the job failed."""

    error: JobError


class Cancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    """The last event: the job was cancelled."""


class ChildChanged(_Event, frozen=True, kw_only=True, tag="child"):
    """In the events of the parent of several pictures: ``event`` happened to one of those, a child, as the event says
    that its own watchers get. So its ``job_id`` and ``seq`` are the child's."""

    place: int
    """The child's, from 0."""
    progress: float
    """The parent's: the mean of its children's."""
    event: StatusChanged | Analysis | Step | Preview | Completed | Failed | Cancelled


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a type that this version does not know, with all its fields."""

    type: str
    seq: str
    fields: dict[str, Any]


Terminal = Completed | Failed | Cancelled
Event = Snapshot | StatusChanged | Analysis | Step | Preview | Terminal | ChildChanged | Unknown


class _Head(msgspec.Struct):
    type: str
    seq: str | None = None


_KNOWN = frozenset(
    {"snapshot", "status", "analysis", "step", "preview", "completed", "failed", "cancelled", "child"}
)
_SEQ = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_head = msgspec.json.Decoder(_Head).decode
_event = msgspec.json.Decoder(
    Snapshot | StatusChanged | Analysis | Step | Preview | Terminal | ChildChanged
).decode
_fields = msgspec.json.Decoder(dict[str, Any]).decode


def decode(text: str | bytes) -> Event | None:
    """The event in a message; None for messages without a ``seq`` (connected, pong). Raises ProtocolError."""
    try:
        head = _head(text)
        if head.seq is None:
            return None
        seq_key(head.seq)
        if head.type in _KNOWN:
            known: Event = _event(text)
            return known
        return Unknown(type=head.type, seq=head.seq, fields=_fields(text))
    except ValueError as error:
        raise ProtocolError(f"a message of the service was not understood: {error}") from error


def seq_key(seq: str) -> tuple[int, int]:
    """A ``seq`` (``ms-n``) as two integers, which sort in the order of events. Raises ValueError for anything else."""
    match = _SEQ.fullmatch(seq)
    if match is None:
        raise ValueError(f"{seq!r} is not the seq of an event")
    return int(match[1]), int(match[2] or 0)
