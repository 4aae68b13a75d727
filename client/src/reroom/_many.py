"""What the client can do with several jobs, without I/O: pages of them, favourites, batches."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from reroom._effects import Operation, Reply, Send
from reroom._http import RetryPolicy, decode, error_from_problem, if_repeatable, if_transient, request
from reroom._operations import upload
from reroom.errors import ApiError
from reroom.models import BatchItem, JobRef, JobStatus, PhotoUrl, Submitted, Uploaded, job_id

AT_ONCE = 20
"""Submissions of one request."""
CANCELS = 100
"""Jobs that one request cancels."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs; None = whichever."""

    status: str | Sequence[str] | None = None
    style: str | None = None
    favourite: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def query(self) -> list[tuple[str, str]]:
        states = [self.status] if isinstance(self.status, str) else self.status or ()
        named = {
            "style": self.style,
            "favourite": None if self.favourite is None else str(self.favourite).lower(),
            "created_after": _time(self.created_after),
            "created_before": _time(self.created_before),
        }
        pairs = [(name, value) for name, value in named.items() if value is not None]
        return [("status", state) for state in states] + pairs


class Page(msgspec.Struct, frozen=True):
    data: list[JobStatus]
    next: str | None = None


class _Status(msgspec.Struct):
    data: JobStatus


class _Batched(msgspec.Struct):
    class Item(msgspec.Struct):
        job: Submitted | None = None
        problem: dict[str, Any] | None = None

    data: list[Item]


class _Cancelled(msgspec.Struct):
    class Item(msgspec.Struct):
        job_id: str
        status: JobStatus | None = None
        problem: dict[str, Any] | None = None

    data: list[Item]
    more: bool = False


def page(which: Filter, limit: int, cursor: str | None, policy: RetryPolicy) -> Operation[Page]:
    query = [*which.query(), ("limit", str(limit)), *([] if cursor is None else [("cursor", cursor)])]
    reply = yield from request(Send("GET", f"transform?{urlencode(query)}"), policy, if_transient)
    return decode(reply, Page)


def favourite(job: JobRef, keep: bool, policy: RetryPolicy) -> Operation[JobStatus]:
    address = f"transform/{quote(job_id(job), safe='')}/favourite"
    reply = yield from request(Send("PUT" if keep else "DELETE", address), policy, if_transient)
    return decode(reply, _Status).data


def submit_batch(
    items: Iterable[BatchItem], cancel_after: float | None, policy: RetryPolicy
) -> Operation[list[Submitted | ApiError]]:
    headers = {"content-type": "application/json"}
    if cancel_after is not None:
        headers["cancel-after"] = f"{math.ceil(cancel_after)}s"
    given, answers = list(items), list[Submitted | ApiError]()
    for start in range(0, len(given), AT_ONCE):
        members = []
        for item in given[start : start + AT_ONCE]:
            if isinstance(item.photo, PhotoUrl):
                wish = {"image_url": item.photo.url, "style": item.style}
            else:
                photo = item.photo
                if not isinstance(photo, Uploaded):
                    photo = yield from upload(photo, policy)
                wish = {"key": photo.key, "style": item.style}
            members.append(wish if item.preferences is None else wish | {"preferences": item.preferences})
        body = msgspec.json.encode({"items": members})
        # The service does each item once, however often the request is sent.
        effect = Send("POST", "transform/batch", body, headers | {"idempotency-key": uuid.uuid4().hex})
        reply: Reply = yield from request(effect, policy, if_repeatable)
        answers += [
            item.job or error_from_problem(item.problem or {}) for item in decode(reply, _Batched).data
        ]
    return answers


def cancel_jobs(
    jobs: Iterable[JobRef], which: Filter, policy: RetryPolicy
) -> Operation[dict[str, JobStatus | ApiError]]:
    answers: dict[str, JobStatus | ApiError] = {}
    ids = list(dict.fromkeys(map(job_id, jobs)))
    for start in range(0, len(ids), CANCELS):
        found = yield from _cancel([("id", each) for each in ids[start : start + CANCELS]], policy)
        answers |= _results(found)
    query = which.query()
    more = bool(query)
    while more:
        found = yield from _cancel(query, policy)
        new = _results(found)
        # A job that runs is stopped shortly afterwards: until then the filter means it still.
        more = found.more and not new.keys() <= answers.keys()
        answers |= new
    return answers


def _cancel(query: list[tuple[str, str]], policy: RetryPolicy) -> Operation[_Cancelled]:
    reply = yield from request(Send("DELETE", f"transform?{urlencode(query)}"), policy, if_transient)
    return decode(reply, _Cancelled)


def _results(found: _Cancelled) -> dict[str, JobStatus | ApiError]:
    return {item.job_id: item.status or error_from_problem(item.problem or {}) for item in found.data}


def _time(time: datetime | None) -> str | None:
    """In UTC; a time without a zone is local, as Python's are."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
