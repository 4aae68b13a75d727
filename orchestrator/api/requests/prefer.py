"""``Prefer`` (RFC 7240) on submissions: ``wait=n`` answers with the finished job if it ends within n seconds,
``respond-async`` at once. Unknown and wrong preferences count as not given, as the RFC demands.

``cancel-on-disconnect`` is this service's own: a client that is waited for and leaves needs its job no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from orchestrator.api.middleware.deadline import unhurried
from orchestrator.api.middleware.stopping import stopping
from orchestrator.api.responses.presenters import Presenter, Status, Submitted
from orchestrator.domain.keys import Caller
from orchestrator.ports import JobFinished, JobNotFound, Unavailable
from orchestrator.services.jobs import JobService, JobView
from orchestrator.services.submitting.waiting import Waiting

PREFER, APPLIED = "Prefer", "Preference-Applied"
CANCEL = "cancel-on-disconnect"

MAX_HEADER = 1000
"""Characters of the header that are read."""
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PREFERENCE = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*"?([^";\s]*)"?\s*)?(?:;.*)?""")
_SECONDS = re.compile(r"[0-9]{1,9}")

PREFER_PARAMETER = Parameter(
    name=PREFER,
    param_in="header",
    description="`wait=n` (RFC 7240): answer 200 with the finished job if it ends within n seconds, else 202. "
    f"`{CANCEL}` beside it: cancel the job if the client disconnects meanwhile. `respond-async`: answer at once",
    schema=Schema(type=OpenAPIType.STRING),
)
WAITED = {
    200: ResponseSpec(
        Status, description="The job has ended while the request waited", generate_examples=False
    )
}
"""Part of a submission's ``responses``."""

log = logging.getLogger(__name__)


class Preferred(msgspec.Struct, frozen=True):
    """What of ``Prefer`` this service knows."""

    wait: float | None = None
    """Seconds, infinite without a number; None: not to be waited for."""
    respond_async: bool = False
    cancel_on_disconnect: bool = False


def preferred(request: Request[Any, Any, Any]) -> Preferred:
    """What the request prefers; of a preference that is given twice the first counts."""
    text = ",".join(request.headers.getall(PREFER, []))[:MAX_HEADER]
    found: dict[str, str | None] = {}
    for part in _PART.findall(text):
        match = _PREFERENCE.fullmatch(part)
        if match:
            found.setdefault(match[1].lower(), match[2] or None)
    return Preferred(_seconds(found), "respond-async" in found, CANCEL in found)


def _seconds(found: dict[str, str | None]) -> float | None:
    if "wait" not in found:
        return None
    text = found["wait"]
    if text is None:
        return float("inf")
    return float(text) if _SECONDS.fullmatch(text) else None


class Waits:
    """Answers submissions as they prefer."""

    def __init__(self, jobs: JobService, waiting: Waiting, presenter: Presenter) -> None:
        self._jobs, self._waiting, self._presenter = jobs, waiting, presenter

    async def answer(
        self, request: Request[Any, Any, Any], submitted: Response[Submitted], caller: Caller
    ) -> Response[Any]:
        """The answer to a request whose job is queued. Nothing of the photo is held any more; whatever fails from here
        on, the client gets the job's id."""
        asked, receipt = preferred(request), submitted.content
        applied = ["respond-async"] if asked.respond_async else []
        began, view = time.monotonic(), None
        if asked.wait is not None:
            seconds = min(asked.wait, self._waiting.seconds)
            with self._waiting.place(caller) as has_place, unhurried(request.scope):
                if has_place:
                    cancel = asked.cancel_on_disconnect
                    view, whole = await self._wait(request, receipt.job_id, caller, seconds, cancel)
                    applied += [f"wait={seconds:g}"] if whole else []
        headers = dict(submitted.headers)
        if view is not None:
            headers[APPLIED] = ", ".join(each for each in applied if each != "respond-async")
            status = Status(data=await self._presenter.status(view))
            return Response(status, status_code=200, headers=headers)
        if applied:
            headers[APPLIED] = ", ".join(applied)
        left = max(0.0, receipt.estimated_time - (time.monotonic() - began))
        receipt = msgspec.structs.replace(receipt, estimated_time=round(left, 1))
        return Response(receipt, status_code=202, headers=headers | {"Location": receipt.status_url})

    async def _wait(
        self, request: Request[Any, Any, Any], job_id: str, caller: Caller, seconds: float, cancel: bool
    ) -> tuple[JobView | None, bool]:
        """The job if it ended in time, and whether it was waited for as long as it was asked for."""
        ended = asyncio.create_task(self._waiting.ended(job_id, caller))
        gone = asyncio.create_task(disconnected(request))
        stops = asyncio.create_task(stopping(request.scope).wait())
        try:
            done, _ = await asyncio.wait(
                (ended, gone, stops), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (ended, gone, stops):
                task.cancel()
            await asyncio.gather(ended, gone, stops, return_exceptions=True)
        if ended in done:
            view = ended.result()
            return view, view is not None
        if gone in done and cancel:
            log.info("job %s: its client has left, and wanted it to be cancelled then", job_id)
            with contextlib.suppress(JobFinished, JobNotFound, Unavailable):
                await self._jobs.cancel(job_id, caller)
        return None, not done


async def disconnected(request: Request[Any, Any, Any]) -> None:
    """Returns once the client has disconnected. The request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
