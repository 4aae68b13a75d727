"""Events for users' endpoints: what happened to their jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.domain.job import JobError, JobResult
from orchestrator.domain.webhooks import TEST, DisableReason, Endpoint, signed
from orchestrator.egress.guarded import Guarded, NotAllowed, Unreachable
from orchestrator.egress.urls import BadUrl
from orchestrator.ports import KeyNotFound, KeyStore, Outcome, Outgoing, Storage
from orchestrator.services.deliveries import ANSWER_SECONDS, retry_after, rfc3339

GONE = 410


class HookEvents:
    """Sends them, signed. ``base_url`` is where clients reach the API; the links to pictures work for ``url_ttl``
    seconds. An endpoint may take ``patience`` seconds to answer."""

    def __init__(
        self,
        guarded: Guarded,
        keys: KeyStore,
        storage: Storage,
        base_url: str,
        url_ttl: int,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._guarded, self._keys, self._storage = guarded, keys, storage
        self._base_url, self._url_ttl, self._patience = base_url, url_ttl, patience

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
        data = {"message": "a test"} if event.kind == TEST else await self._job(event.fields)
        return {"type": event.kind, "timestamp": rfc3339(event.written), "data": data}

    async def _job(self, fields: Mapping[str, str]) -> dict[str, Any]:
        job_id = fields["job"]
        data: dict[str, Any] = {
            "job_id": job_id,
            "status": fields["status"],
            "style": fields["style"],
            "created_at": rfc3339(float(fields["created_at"])),
            "attempts": int(fields.get("attempts", "0")),
            "status_url": f"{self._base_url}/transform/status/{job_id}",
        }
        if "error" in fields:
            data["error"] = msgspec.json.decode(fields["error"], type=JobError).public()
        if "result" in fields:
            result = msgspec.json.decode(fields["result"], type=JobResult)
            data["result"] = {
                "transformed_url": await self._storage.url(result.transformed_key, self._url_ttl),
                "thumbnail_url": await self._storage.url(result.thumbnail_key, self._url_ttl),
                "original_url": await self._storage.url(fields["original_key"], self._url_ttl),
                "metadata": result.metadata,
            }
        return data


def _failed(answer: str, disable: DisableReason | None = None) -> Outcome:
    return Outcome(delivered=False, answer=answer, disable=disable)
