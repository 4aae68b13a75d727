"""What the client can do, without I/O. Each function is one operation for the shells to perform."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import msgspec

from reroom import events
from reroom._effects import Failure, Fetch, Put, Save, Send, Steps, Unreached
from reroom._files import Output, content_type, wanted_format
from reroom._http import RetryPolicy, costly, decode, once, repeatable, request
from reroom._watch import Outcome, watch
from reroom.errors import ApiError, Conflict, JobCancelled, JobFailed, JobNotFinished, NotFound
from reroom.models import (
    CANCELLED,
    FAILED,
    Analysis,
    Health,
    JobError,
    JobRef,
    JobStatus,
    PreferencesLike,
    Submitted,
    Uploaded,
    job_id,
)


class _Status(msgspec.Struct):
    data: JobStatus


class _Analyzed(msgspec.Struct):
    data: Analysis


class _Index(msgspec.Struct):
    supported_styles: list[str]


class _Offer(msgspec.Struct):
    key: str
    url: str
    headers: dict[str, str]
    expires_at: datetime | None = None


def submit(
    photo: bytes | Uploaded, style: str, preferences: PreferencesLike | None, policy: RetryPolicy
) -> Steps[Submitted]:
    form = {"style": style}
    if preferences is not None:
        form["preferences"] = msgspec.json.encode(preferences).decode()
    if isinstance(photo, Uploaded):
        effect = Send("POST", "/transform/submit", {**form, "key": photo.key})
    else:
        effect = Send("POST", "/transform/submit", form, photo)
    reply = yield from request(effect, policy, once)
    return decode(reply, Submitted)


def upload(photo: bytes, policy: RetryPolicy) -> Steps[Uploaded]:
    wish = msgspec.json.encode({"content_type": content_type(photo), "size": len(photo)})
    # An offer that is not used costs nothing, so a second one does no harm.
    reply = yield from request(Send("POST", "/uploads", json=wish), policy, repeatable)
    offer = decode(reply, _Offer)
    try:
        yield from request(Put(offer.url, offer.headers, photo), policy, repeatable)
    except ApiError as error:
        # A link takes one photo: a try before this one got through, and its answer was lost.
        if error.status != 412:
            raise
    return Uploaded(key=offer.key, expires_at=offer.expires_at)


def analyze(photo: bytes, policy: RetryPolicy) -> Steps[Analysis]:
    reply = yield from request(Send("POST", "/analyze", file=photo), policy, costly)
    return decode(reply, _Analyzed).data


def status(job: JobRef, policy: RetryPolicy) -> Steps[JobStatus]:
    reply = yield from request(Send("GET", f"/transform/status/{_segment(job)}"), policy, repeatable)
    return decode(reply, _Status).data


def cancel(job: JobRef, policy: RetryPolicy) -> Steps[JobStatus]:
    try:
        reply = yield from request(Send("DELETE", f"/transform/{_segment(job)}"), policy, repeatable)
    except Conflict:
        # The answer to an earlier try may have been lost, so that the job ended by our own doing.
        now = yield from status(job, policy)
        if now.status != CANCELLED:
            raise
        return now
    return decode(reply, _Status).data


def erase(job: JobRef, policy: RetryPolicy) -> Steps[None]:
    maybe_erased = False

    def again(cause: Failure | ApiError) -> bool:
        nonlocal maybe_erased
        passing = repeatable(cause)
        maybe_erased = maybe_erased or (passing and not isinstance(cause, Unreached))
        return passing

    try:
        yield from request(Send("DELETE", f"/transform/{_segment(job)}/files"), policy, again)
    except NotFound:
        # Gone by an earlier try, whose answer was lost.
        if not maybe_erased:
            raise


def styles(policy: RetryPolicy) -> Steps[list[str]]:
    reply = yield from request(Send("GET", "/"), policy, repeatable)
    return decode(reply, _Index).supported_styles


def health(policy: RetryPolicy) -> Steps[Health]:
    reply = yield from request(Send("GET", "/health"), policy, repeatable)
    return decode(reply, Health)


def follow(job: JobRef, after: str | None, timeout: float | None, policy: RetryPolicy) -> Steps[Outcome]:
    return watch(_segment(job), after, timeout, policy)


def wait(job: JobRef, after: str | None, timeout: float | None, policy: RetryPolicy) -> Steps[JobStatus]:
    outcome = yield from follow(job, after, timeout, policy)
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
            _result_url(outcome)
            return outcome


def restyle(
    photo: bytes | Uploaded,
    style: str,
    preferences: PreferencesLike | None,
    out: Output | None,
    timeout: float | None,
    policy: RetryPolicy,
) -> Steps[JobStatus]:
    if out is not None:
        wanted_format(out)  # before the work, not after it
    job = yield from submit(photo, style, preferences, policy)
    done = yield from wait(job, "0", timeout, policy)
    if out is not None:
        yield Save((yield from picture(_result_url(done), policy)), out, done.job_id)
    return done


def picture(source: JobRef, policy: RetryPolicy) -> Steps[bytes]:
    url = _as_url(source) or _result_url((yield from status(source, policy)))
    reply = yield from request(Fetch(url), policy, repeatable)
    return reply.body


def download(source: JobRef, output: Output, policy: RetryPolicy) -> Steps[Path]:
    wanted_format(output)
    found = yield from picture(source, policy)
    url = _as_url(source)
    stem = job_id(source) if url is None else PurePosixPath(urlsplit(url).path).stem
    path: Path = yield Save(found, output, stem)
    return path


def _as_url(source: JobRef) -> str | None:
    is_url = isinstance(source, str) and source.startswith(("http://", "https://", "/"))
    return str(source) if is_url else None


def _result_url(job: JobStatus) -> str:
    if job.status == FAILED:
        raise _failed(job.job_id, job.error)
    if job.status == CANCELLED:
        raise JobCancelled(job.job_id)
    if job.result is None:
        raise JobNotFinished(job.job_id, job.status)
    return job.result.transformed_url


def _failed(job: str, error: JobError | None) -> JobFailed:
    error = error or JobError(code="unknown", detail="the service gave no reason")
    return JobFailed(job, error.code, error.detail)


def _segment(job: JobRef) -> str:
    return quote(job_id(job), safe="")
