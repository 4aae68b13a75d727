"""What happens to a job, as told over the WebSocket: a tagged union, dispatched with ``match``.

Fields and types that this version does not know do no harm: the former are ignored, the latter become
:class:`Unknown`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from reroom.errors import ProtocolError
from reroom.models import JobError, JobStatus


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    seq: str
    """The event's place among the job's events: resume after it with ``events(job, after=seq)``."""
    job_id: str = ""


class Snapshot(_Event, frozen=True, kw_only=True, tag="snapshot"):
    """The job as it was when watching began; ``seq`` is the last event that it reflects."""

    data: JobStatus


class StatusChanged(_Event, frozen=True, kw_only=True, tag="status"):
    """The job entered the state ``status`` (never a terminal one)."""

    status: str
    progress: float
    """0 … 1; it falls only when a job is begun again."""
    message: str = ""


class Analysis(_Event, frozen=True, kw_only=True, tag="analysis"):
    """What the detector saw: ``objects`` = [{label, score, box: [x0, y0, x1, y1] in 0..1}]."""

    objects: list[dict[str, Any]]
    room_type: str
    progress: float
    room_confidence: float | None = None
    """0 … 1, how sure ``room_type`` is; None when the service did not say."""


class Step(_Event, frozen=True, kw_only=True, tag="step"):
    """Solver step ``step`` (from 1) was done; ``of`` counts the steps really run."""

    step: int
    of: int
    progress: float


class Preview(_Event, frozen=True, kw_only=True, tag="preview"):
    """The picture so far, as a small JPEG."""

    step: int
    jpeg: bytes
    progress: float


class Completed(_Event, frozen=True, kw_only=True, tag="completed"):
    """The end: ``data`` has the result, with signed URLs."""

    data: JobStatus


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """The end: the job failed."""

    error: JobError


class Cancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    """The end: the job was cancelled."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this version does not know: all its fields are in ``fields``."""

    type: str
    seq: str
    fields: dict[str, Any]


Terminal = Completed | Failed | Cancelled
Event = Snapshot | StatusChanged | Analysis | Step | Preview | Terminal | Unknown


class _Head(msgspec.Struct):
    type: str
    seq: str | None = None


_KNOWN = frozenset({"snapshot", "status", "analysis", "step", "preview", "completed", "failed", "cancelled"})
_SEQ = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_head = msgspec.json.Decoder(_Head).decode
_event = msgspec.json.Decoder(Snapshot | StatusChanged | Analysis | Step | Preview | Terminal).decode
_fields = msgspec.json.Decoder(dict[str, Any]).decode


def decode(text: str | bytes) -> Event | None:
    """The event in a message; None for messages outside the sequence (connected, pong). Raises ProtocolError."""
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
    """The order of ``seq``: ``ms-n`` as a pair of integers. Raises ValueError on anything else."""
    match = _SEQ.fullmatch(seq)
    if match is None:
        raise ValueError(f"{seq!r} is not the seq of an event")
    return int(match[1]), int(match[2] or 0)
