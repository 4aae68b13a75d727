"""Events for users' endpoints: what happened to their jobs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from orchestrator.domain.job import Job, JobError, JobResult, JobState
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.webhooks import TEST, DisableReason, Endpoint, signed
from orchestrator.egress.guarded import Guarded, NotAllowed, Unreachable
from orchestrator.egress.urls import BadUrl
from orchestrator.ports import KeyNotFound, KeyStore, Outcome, Outgoing
from orchestrator.services.notifying.deliveries import ANSWER_SECONDS, retry_after, rfc3339

GONE = 410


ShowResult = Callable[[Job, JobResult], Awaitable[object]]
"""Makes what clients see of a job's result. Raises Unavailable."""


class HookEvents:
    """Sends them, signed. ``base_url`` is where clients reach the API. An endpoint may take ``patience`` seconds to
    answer."""

    def __init__(
        self,
        guarded: Guarded,
        keys: KeyStore,
        show_result: ShowResult,
        base_url: str,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._guarded, self._keys, self._show_result = guarded, keys, show_result
        self._base_url, self._patience = base_url, patience

    async def send(self, event: Outgoing) -> Outcome:
        endpoint = event.endpoint
        assert endpoint is not None
        if not await self._key_lives(endpoint):
            return _failed("its API key has ended", disable=DisableReason.KEY_ENDED)
        body = msgspec.json.encode(await self._body(event))
        now = time.time()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "reroom-webhooks/1",
            **signed(event.id, now, body, endpoint.keys(now)),
        }
        try:
            target = self._guarded.check(endpoint.url)
            # The answer's body is not read: it is nobody's business, and may have no end.
            async with self._guarded.call(
                "POST", target, headers=headers, body=body, seconds=self._patience
            ) as answer:
                status, asked = answer.status_code, retry_after(answer.headers.get("retry-after"))
        except NotAllowed:
            return _failed("its name leads to an address that this service does not call")
        except (BadUrl, Unreachable) as error:
            return _failed(str(error))
        if status == GONE:
            return _failed(f"status {status}", disable=DisableReason.GONE)
        delivered = 200 <= status < 300
        return Outcome(
            delivered=delivered, answer=f"status {status}", retry_after=None if delivered else asked
        )

    async def _key_lives(self, endpoint: Endpoint) -> bool:
        if not endpoint.owner:
            return True
        try:
            return (await self._keys.get(endpoint.owner)).lives(time.time())
        except KeyNotFound:
            return False

    async def _body(self, event: Outgoing) -> dict[str, Any]:
        """The event as its receiver gets it: the same for every try, but for the links, which are signed anew."""
        data = {"message": "a test"} if event.kind == TEST else await self._job(event)
        return {"type": event.kind, "timestamp": rfc3339(event.written), "data": data}

    async def _job(self, event: Outgoing) -> dict[str, Any]:
        fields = event.fields
        result = msgspec.json.decode(fields["result"], type=JobResult) if "result" in fields else None
        job = Job(
            id=fields["job"],
            style=fields["style"],
            preferences=Preferences(),
            original_key=fields["original_key"],
            created_at=float(fields["created_at"]),
            updated_at=event.written,
            status=JobState(fields["status"]),
            attempts=int(fields.get("attempts", "0")),
            result=result,
        )
        data: dict[str, Any] = {
            "job_id": job.id,
            "status": job.status,
            "style": job.style,
            "created_at": rfc3339(job.created_at),
            "attempts": job.attempts,
            "status_url": f"{self._base_url}/transform/status/{job.id}",
        }
        if "parent" in fields:
            data["parent"] = fields["parent"]
        if "children" in fields:
            data["children"] = msgspec.json.decode(fields["children"], type=list[dict[str, str]])
        if "error" in fields:
            data["error"] = msgspec.json.decode(fields["error"], type=JobError).public()
        if result is not None:
            data["result"] = await self._show_result(job, result)
        return data


def _failed(answer: str, disable: DisableReason | None = None) -> Outcome:
    return Outcome(delivered=False, answer=answer, disable=disable)
