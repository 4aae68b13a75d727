"""The job record: a :class:`Job` as the fields of a Redis hash, and changes to it.

Older and newer versions read the same records. Unknown members are left out, missing ones have their default, and
:class:`Reading` states whether a worker may run the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from orchestrator.domain.events import (
    Cancelled,
    Completed,
    Event,
    Failed,
    Progress,
    StatusChanged,
    Terminal,
    encode,
)
from orchestrator.domain.job import (
    DEFAULT_TIER,
    FEATURES,
    MESSAGES,
    Child,
    Job,
    JobError,
    JobResult,
    JobState,
)
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import StyleWords, counted_as

_TIER, _COUNTED = "tier", "counted_as"
_CHILD = "child:"
"""+ id: the field of a parent that has a child's state and progress; none of a child that was erased."""
_JSON = {"preferences", "style_words", "requires", "error", "result", "children", "files"}
_PREFERENCES = {field.name: field.type for field in msgspec.structs.fields(Preferences)}
"""With null, which the first version wrote for what was not given."""
_text = msgspec.json.Encoder().encode


class Reading(msgspec.Struct, frozen=True):
    """A job, and what of its record could not be read."""

    job: Job
    unknown: list[str] = []
    """What this version does not understand of what the job asks for."""
    damage: str = ""
    """Which members no version can have written; empty for a sound record."""


def to_fields(job: Job) -> list[str]:
    """The fields that are set, as name, value, name, value …; ``last_seq`` is written by the scripts."""
    fields: list[str] = []
    for name in job.__struct_fields__:
        value = getattr(job, name)
        if value in (None, [], {}) or name == "last_seq":
            continue
        fields += [name, _text(value).decode() if name in _JSON else _plain(value)]
    # The scripts count jobs by it.
    return [*fields, _TIER, job.preferences.quality or DEFAULT_TIER, _COUNTED, counted_as(job.style)]


def from_hash(fields: dict[str, str]) -> Reading:
    """The job in a hash. Raises msgspec.ValidationError when a field that every version needs is missing or wrong."""
    values: dict[str, Any] = {name: fields[name] for name in Job.__struct_fields__ if name in fields}
    values |= {name: fields.get(name) == "1" for name in ("cancel_requested", "favourite")}
    damage = []
    for name in _JSON & values.keys():
        try:
            values[name] = msgspec.json.decode(values[name])
        except msgspec.DecodeError as error:
            damage.append(f"{name}: {error}")
            del values[name]
    asked = values.get("preferences", {})
    values["preferences"], unknown = _understood(asked if isinstance(asked, dict) else {"": asked})
    needs = values.get("requires", [])
    values["requires"] = [str(need) for need in needs] if isinstance(needs, list) else [str(needs)]
    try:
        values["style_words"] = msgspec.convert(values.get("style_words"), StyleWords | None)
    except msgspec.ValidationError:
        values["style_words"] = None
        unknown.append("style_words")
    unknown += [feature for feature in values["requires"] if feature not in FEATURES]
    job = msgspec.convert(values, Job, strict=False)
    if job.children:
        job = msgspec.structs.replace(job, children=list(_children(job.children, fields)))
    return Reading(job, unknown, "; ".join(damage))


def _children(children: list[Child], fields: dict[str, str]) -> Iterator[Child]:
    """Those that were not erased, as of now."""
    for child in children:
        if found := fields.get(_CHILD + child.id):
            status, progress = found.split(" ")
            yield msgspec.structs.replace(child, status=JobState(status), progress=float(progress))


def _understood(asked: dict[str, Any]) -> tuple[Preferences, list[str]]:
    """The preferences that this version knows, and the names of the others."""
    known, unknown = {}, []
    for name, value in asked.items():
        try:
            known[name] = msgspec.convert(value, _PREFERENCES[name])
        except (KeyError, msgspec.ValidationError):
            unknown.append(f"preferences.{name}")
    return Preferences(**known), unknown


def change(event: Event, **fields: str) -> dict[str, Any]:
    """A change for the scripts: they append ``event`` to the job's stream and write ``fields`` into its record."""
    flat = [part for pair in fields.items() for part in pair]
    return {"event": encode(event).decode(), "fields": flat}


def status_change(status: JobState) -> dict[str, Any]:
    """The job is queued, or an attempt begins in ``status``: progress starts at 0."""
    event = StatusChanged(status=status, progress=0.0, message=MESSAGES[status])
    return change(event, status=status, progress="0.0", message=event.message)


def progress_change(event: Progress, release: int | None = None) -> dict[str, Any]:
    made_by = {} if release is None else {"release": str(release)}
    if isinstance(event, StatusChanged):
        return change(event, status=event.status, message=event.message, **made_by)
    return change(event, **made_by)


def terminal_change(outcome: Terminal) -> dict[str, Any]:
    more: dict[str, Any] = {"measured": {}}
    match outcome:
        case Completed(result=result, progress=progress):
            assert result is not None, "only the scripts complete a parent"
            state = JobState.COMPLETED
            fields = {
                "progress": _plain(progress),
                "result": _text(result).decode(),
                "message": MESSAGES[state],
                **({_TIER: str(tier)} if (tier := result.metadata.get("tier")) else {}),
            }
            more = {"measured": _measured(result)}
        case Failed(error=error):
            state = JobState.FAILED
            fields = {"error": _text(error).decode(), "message": error.detail}
            more["code"] = error.code
        case Cancelled():
            state = JobState.CANCELLED
            fields = {"message": MESSAGES[state], "cancel_requested": "1"}
    return change(outcome, status=state, **fields) | more


def _measured(result: JobResult) -> dict[str, Any]:
    """What a completed job has used, for the scripts; a worker of an older version does not say its GPU time."""
    said = result.metadata
    measured = {
        "ms": round(said.get("gpu_seconds", 0) * 1000), "bytes": result.stored_bytes, "objects": result.pictures
    }  # fmt: skip
    return measured | ({"tier": tier} if isinstance(tier := said.get("tier"), str) else {})


def failure(error: JobError) -> dict[str, Any]:
    """The change that fails the job, with the code and detail for its dead letter."""
    return terminal_change(Failed(error=error)) | {"detail": error.detail}


def _plain(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
