"""What the client can do, without I/O: each function is an operation, which the two clients perform."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from reroom import events
from reroom._effects import ConnectFailed, Failure, Operation, Read, Save, Send
from reroom._files import Output, Photo, content_type, is_folder, wanted_format
from reroom._http import RetryPolicy, decode, if_repeatable, if_transient, request, unless_too_slow
from reroom._transport import is_url
from reroom._watch import Outcome, Way, watch
from reroom.errors import ApiError, Conflict, JobCancelled, JobFailed, JobNotFinished, NotFound, ProtocolError
from reroom.models import (
    CANCELLED,
    COMPLETED,
    FAILED,
    Analysis,
    Health,
    JobError,
    JobRef,
    JobResult,
    JobStatus,
    PhotoUrl,
    PreferencesLike,
    Style,
    Submitted,
    Uploaded,
    job_id,
)

TRANSFORMED = "transformed"


class _Status(msgspec.Struct):
    data: JobStatus


class _Analyzed(msgspec.Struct):
    data: Analysis


class _Index(msgspec.Struct):
    supported_styles: list[str]


class _Styles(msgspec.Struct):
    data: list[Style]


class _Style(msgspec.Struct):
    data: Style


class _UploadOffer(msgspec.Struct):
    key: str
    url: str
    headers: dict[str, str]
    expires_at: datetime | None = None


def submit(
    photo: Photo | Uploaded | PhotoUrl,
    style: str,
    preferences: PreferencesLike | None,
    keep_mask: Photo | None,
    reference: Photo | None,
    cancel_after: float | None,
    wait_seconds: float | None,
    styles: Sequence[str],
    variations: int,
    policy: RetryPolicy,
) -> Operation[Submitted]:
    # Services before several pictures know neither of the two.
    form = {"styles": msgspec.json.encode(styles).decode()} if styles else {"style": style}
    if variations != 1:
        form["variations"] = str(variations)
    if preferences is not None:
        form["preferences"] = msgspec.json.encode(preferences).decode()
    files: dict[str, bytes] = {}
    if isinstance(photo, Uploaded):
        form["key"] = photo.key
    elif isinstance(photo, PhotoUrl):
        form["image_url"] = photo.url
    else:
        files["file"] = yield Read(photo)
    if keep_mask is not None:
        files["keep_mask"] = yield Read(keep_mask)
    if reference is not None:
        files["reference"] = yield Read(reference)
    # The service does it once, however often it is sent.
    headers = {"idempotency-key": uuid.uuid4().hex}
    if cancel_after is not None:
        headers["cancel-after"] = f"{math.ceil(cancel_after)}s"
    if wait_seconds is not None:
        headers["prefer"] = f"wait={math.ceil(wait_seconds)}"
    effect = Send(
        "POST", "transform/submit", headers=headers, form=form, files=files, patience=wait_seconds or 0.0
    )
    reply = yield from request(effect, policy, if_repeatable)
    if reply.status == 200:
        ended = decode(reply, _Status).data
        return Submitted(job_id=ended.job_id, estimated_time=0.0, job=ended)
    return decode(reply, Submitted)


def upload(photo: Photo, policy: RetryPolicy) -> Operation[Uploaded]:
    data: bytes = yield Read(photo)
    body = msgspec.json.encode({"content_type": content_type(data), "size": len(data)})
    ask = Send("POST", "uploads", body, {"content-type": "application/json"})
    # An upload that is not used costs nothing, so this may be repeated.
    reply = yield from request(ask, policy, if_transient)
    offer = decode(reply, _UploadOffer)
    try:
        yield from request(Send("PUT", offer.url, data, offer.headers), policy, if_transient)
    except ApiError as error:
        # The link takes one photo: an earlier try stored it, and its answer was lost.
        if error.status != 412:
            raise
    return Uploaded(key=offer.key, expires_at=offer.expires_at)


def analyze(photo: Photo, policy: RetryPolicy) -> Operation[Analysis]:
    effect = Send("POST", "analyze", files={"file": (yield Read(photo))})
    reply = yield from request(effect, policy, unless_too_slow)
    return decode(reply, _Analyzed).data


def status(job: JobRef, policy: RetryPolicy) -> Operation[JobStatus]:
    reply = yield from request(Send("GET", f"transform/status/{_segment(job)}"), policy, if_transient)
    return decode(reply, _Status).data


def cancel(job: JobRef, policy: RetryPolicy) -> Operation[JobStatus]:
    try:
        reply = yield from request(Send("DELETE", f"transform/{_segment(job)}"), policy, if_transient)
    except Conflict:
        # An earlier try may have cancelled the job, and its answer was lost.
        now = yield from status(job, policy)
        if now.status != CANCELLED:
            raise
        return now
    return decode(reply, _Status).data


def erase(job: JobRef, policy: RetryPolicy) -> Operation[None]:
    return delete(f"transform/{_segment(job)}/files", policy)


def styles(policy: RetryPolicy) -> Operation[list[Style]]:
    try:
        reply = yield from request(Send("GET", "styles"), policy, if_transient)
    except NotFound:
        # An older service has only names.
        reply = yield from request(Send("GET", ""), policy, if_transient)
        return [Style(name=name, title=name) for name in decode(reply, _Index).supported_styles]
    return decode(reply, _Styles).data


def create_style(body: Mapping[str, Any], policy: RetryPolicy) -> Operation[Style]:
    effect = Send("POST", "styles", msgspec.json.encode(body), {"content-type": "application/json"})
    # The same style again is the same style.
    reply = yield from request(effect, policy, if_transient)
    return decode(reply, _Style).data


def delete_style(name: str, policy: RetryPolicy) -> Operation[None]:
    return delete(f"styles/{quote(name, safe='')}", policy)


def delete(path: str, policy: RetryPolicy) -> Operation[None]:
    """Delete what is then gone. Raises NotFound when it was not there."""
    maybe_gone = False

    def retry(cause: Failure | ApiError) -> bool:
        nonlocal maybe_gone
        transient = if_transient(cause)
        maybe_gone = maybe_gone or (transient and not isinstance(cause, ConnectFailed))
        return transient

    try:
        yield from request(Send("DELETE", path), policy, retry)
    except NotFound:
        # An earlier try deleted it, and its answer was lost.
        if not maybe_gone:
            raise


def health(policy: RetryPolicy) -> Operation[Health]:
    reply = yield from request(Send("GET", "health"), policy, if_transient)
    return decode(reply, Health)


def follow(
    job: JobRef, after: str | None, timeout: float | None, policy: RetryPolicy, over: Way = "websocket"
) -> Operation[Outcome]:
    return watch(_segment(job), after, timeout, policy, over)


def wait(
    job: JobRef, after: str | None, timeout: float | None, policy: RetryPolicy, over: Way = "websocket"
) -> Operation[JobStatus]:
    if isinstance(job, Submitted) and job.job is not None and after is None:
        return conclude(job.job_id, job.job)
    outcome = yield from follow(job, after, timeout, policy, over)
    return conclude(job_id(job), outcome)


def conclude(job: str, outcome: Outcome) -> JobStatus:
    """The completed job; raises JobFailed or JobCancelled when it ended otherwise."""
    match outcome:
        case events.Completed(data=data):
            return data
        case events.Failed(error=error):
            raise _failed(job, error)
        case events.Cancelled():
            raise JobCancelled(job)
        case JobStatus():
            if not (outcome.children and outcome.status == COMPLETED):
                _result(outcome)
            return outcome


def restyle(
    photo: Photo | Uploaded | PhotoUrl,
    style: str,
    preferences: PreferencesLike | None,
    keep_mask: Photo | None,
    reference: Photo | None,
    out: Output | None,
    timeout: float | None,
    styles: Sequence[str],
    variations: int,
    policy: RetryPolicy,
) -> Operation[JobStatus]:
    if out is not None:
        wanted_format(out)  # an unknown extension is refused before the work, not after it
        if (len(styles) > 1 or variations > 1) and not is_folder(out):
            raise ValueError(f"{out}: several pictures need a folder; end its name with /")
    job = yield from submit(
        photo, style, preferences, keep_mask, reference, None, None, styles, variations, policy
    )
    done = yield from wait(job, "0", timeout, policy)
    if out is not None and done.children:
        for child in done.children:
            if child.result is not None:
                found = yield from _fetched(child.result.url_for(out), policy)
                yield Save(found, out, f"{child.style}-{child.variation}")
    elif out is not None:
        yield Save((yield from _fetched(_result(done).url_for(out), policy)), out, done.job_id)
    return done


def picture(source: JobRef, which: str, policy: RetryPolicy) -> Operation[bytes]:
    url = _as_url(source)
    if url is None and which != TRANSFORMED:
        url = yield from _link(source, which, policy)
    elif url is None:
        url = _result((yield from status(source, policy))).transformed_url
    return (yield from _fetched(url, policy))


def _link(source: JobRef, which: str, policy: RetryPolicy) -> Operation[str]:
    """Where a picture is that the service makes when it is asked for."""
    path = f"transform/{_segment(source)}/picture?which={quote(which, safe='')}"
    reply = yield from request(Send("GET", path), policy, if_transient, redirect=True)
    if "location" not in reply.headers:
        raise ProtocolError(f"the service answered {reply.status} in place of a link to the picture")
    return reply.headers["location"]


def download(source: JobRef, output: Output, which: str, policy: RetryPolicy) -> Operation[Path]:
    wanted_format(output)
    url = _as_url(source)
    name = job_id(source) if which == TRANSFORMED else f"{job_id(source)}-{which}"
    stem = name if url is None else PurePosixPath(urlsplit(url).path).stem
    if url is None and which == TRANSFORMED:
        url = _result((yield from status(source, policy))).url_for(output)
    elif url is None:
        url = yield from _link(source, which, policy)
    path: Path = yield Save((yield from _fetched(url, policy)), output, stem)
    return path


def _fetched(url: str, policy: RetryPolicy) -> Operation[bytes]:
    reply = yield from request(Send("GET", url), policy, if_transient)
    return reply.body


def _as_url(source: JobRef) -> str | None:
    return source if isinstance(source, str) and is_url(source) else None


def _result(job: JobStatus) -> JobResult:
    if job.status == FAILED:
        raise _failed(job.job_id, job.error)
    if job.status == CANCELLED:
        raise JobCancelled(job.job_id)
    if job.result is None:
        raise JobNotFinished(job.job_id, job.status)
    return job.result


def _failed(job: str, error: JobError | None) -> JobFailed:
    error = error or JobError(code="unknown", detail="the service gave no reason")
    return JobFailed(job, error.code, error.detail)


def _segment(job: JobRef) -> str:
    return quote(job_id(job), safe="")
