"""The messages of the WebSocket: a union tagged by ``type``, described in docs/websocket.md.

They correspond to the stored events of :mod:`orchestrator.domain.events`, without storage keys and internal sentences,
and with each event's ``seq``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, assert_never, cast

import msgspec
from msgspec import Meta

from orchestrator.api.responses.presenters import StatusData, public_error
from orchestrator.domain import events
from orchestrator.domain.job import JobError, JobState
from orchestrator.domain.result import SeenObject
from orchestrator.ports import JobNotFound

Seq = Annotated[
    str,
    Meta(
        pattern="^[0-9]+-[0-9]+$",
        description="The event's place among the job's: watch again with ?after=seq and nothing is missed or repeated",
    ),
]
Share = Annotated[float, Meta(ge=0, le=1, description="0 to 1; it falls only when the job is begun again")]


class ConnectedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="connected"):
    """The first message: the job exists, and its events follow."""

    job_id: str


class PongMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """The answer to every message of the client."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    job_id: str
    seq: Seq


class SnapshotMessage(_Event, frozen=True, kw_only=True, tag="snapshot"):
    """The second message: the job as of now. Events after ``seq`` follow (after ``after``, if that was given)."""

    data: StatusData


class StatusMessage(_Event, frozen=True, kw_only=True, tag="status"):
    """The job entered a state that is not its last."""

    status: JobState
    progress: Share
    message: str


class AnalysisMessage(_Event, frozen=True, kw_only=True, tag="analysis", omit_defaults=True):
    """What is in the photo."""

    objects: list[SeenObject]
    room_type: str
    progress: Share
    room_confidence: Annotated[float, Meta(ge=0, le=1)] | None = None


class StepMessage(_Event, frozen=True, kw_only=True, tag="step"):
    """A step of the solver was done."""

    step: Annotated[int, Meta(ge=1)]
    of: Annotated[int, Meta(ge=1, description="The number of steps that are run")]
    progress: Share


class PreviewMessage(_Event, frozen=True, kw_only=True, tag="preview"):
    """The picture so far; only with the preference preview_every."""

    step: Annotated[int, Meta(ge=1)]
    jpeg: Annotated[
        str, Meta(extra_json_schema={"contentEncoding": "base64", "contentMediaType": "image/jpeg"})
    ]
    progress: Share


class CompletedMessage(_Event, frozen=True, kw_only=True, tag="completed"):
    """The end: ``data`` has the result, with links that expire."""

    progress: Share
    data: StatusData


class FailedMessage(_Event, frozen=True, kw_only=True, tag="failed"):
    """The end: the job failed."""

    error: JobError


class CancelledMessage(_Event, frozen=True, kw_only=True, tag="cancelled"):
    """The end: the job was cancelled."""


ChildEvent = (
    StatusMessage
    | AnalysisMessage
    | StepMessage
    | PreviewMessage
    | CompletedMessage
    | FailedMessage
    | CancelledMessage
)


class ChildMessage(_Event, frozen=True, kw_only=True, tag="child"):
    """Something happened to a child of the job: ``event`` is what a watcher of that child gets."""

    place: Annotated[int, Meta(ge=0, description="The child's, from 0")]
    progress: Share
    event: ChildEvent


Message = (
    ConnectedMessage
    | SnapshotMessage
    | StatusMessage
    | AnalysisMessage
    | StepMessage
    | PreviewMessage
    | CompletedMessage
    | FailedMessage
    | CancelledMessage
    | ChildMessage
    | PongMessage
)


async def event_message(
    job_id: str, record: events.EventRecord, status: Callable[[str], Awaitable[StatusData]]
) -> Message | None:
    """The message for an event; None where it happened to a child that was erased meanwhile. ``status`` gives the
    status of the job, or of a child, once it is completed, and may raise JobNotFound."""
    event, seq = record.event, record.seq
    if isinstance(event, events.ChildChanged):
        try:
            inner = await _message(event.job_id, event.seq, event.event, status)
        except JobNotFound:
            return None
        return ChildMessage(job_id=job_id, seq=seq, place=event.place, progress=event.progress, event=inner)
    return await _message(job_id, seq, event, status)


async def _message(
    job_id: str,
    seq: str,
    event: events.Progress | events.Terminal,
    status: Callable[[str], Awaitable[StatusData]],
) -> ChildEvent:
    place = {"job_id": job_id, "seq": seq}
    match event:
        case events.StatusChanged():
            return StatusMessage(**place, status=event.status, progress=event.progress, message=event.message)
        case events.Analysis():
            return AnalysisMessage(
                **place,
                # As stored, so that members from another version pass through.
                objects=cast(list[SeenObject], event.objects),
                room_type=event.room_type,
                room_confidence=event.room_confidence,
                progress=event.progress,
            )
        case events.Step():
            return StepMessage(**place, step=event.step, of=event.of, progress=event.progress)
        case events.Preview():
            return PreviewMessage(**place, step=event.step, jpeg=event.jpeg, progress=event.progress)
        case events.Failed():
            return FailedMessage(**place, error=public_error(event.error))
        case events.Cancelled():
            return CancelledMessage(**place)
        case events.Completed():
            return CompletedMessage(**place, progress=event.progress, data=await status(job_id))
        case _:
            assert_never(event)
