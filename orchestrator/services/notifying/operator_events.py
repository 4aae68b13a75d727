"""Events for the operator's own systems: alerts about the budget, the usage of each job for billing, and how trials of
releases ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import msgspec

from orchestrator.domain.usage import MICROS
from orchestrator.domain.webhooks import signed
from orchestrator.ports import Outcome, Outgoing, Receiver
from orchestrator.services.notifying.deliveries import ANSWER_SECONDS, retry_after, rfc3339

log = logging.getLogger(__name__)

AlertHook = Callable[[float | None, float], None]
"""Called with the share of the budget that was reached (None = work is refused now) and with what is spent."""


_RELEASES = {
    "promote": "release.promoted",
    "roll_back": "release.rolled_back",
    "undecided": "release.undecided",
}


class OperatorEvents:
    """Sends them, signed. ``receivers`` are URLs; an event for whom there is none is only logged. ``on_alert`` is for
    metrics. Open it as an async context manager."""

    def __init__(
        self,
        receivers: Mapping[Receiver, str],
        secret: bytes,
        currency: str,
        *,
        on_alert: AlertHook | None = None,
    ) -> None:
        self._receivers: Mapping[str, str] = {str(name): url for name, url in receivers.items()}
        self._secret, self._currency, self._on_alert = secret, currency, on_alert

    async def __aenter__(self) -> OperatorEvents:
        self._http = httpx2.AsyncClient(timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, event: Outgoing) -> Outcome:
        said = msgspec.json.decode(event.fields["event"])
        if event.receiver == "budget" and event.tries == 1:
            self._say(said)
        url = self._receivers.get(event.receiver)
        if url is None:
            return Outcome(delivered=True, answer="no receiver")
        body = msgspec.json.encode(self._body(event, said))
        headers = {
            "Content-Type": "application/json",
            **signed(event.id, time.time(), body, [self._secret]),
        }
        try:
            # The answer's body is not read: it may have no end.
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._http.stream("POST", url, content=body, headers=headers) as answer:
                    return Outcome(
                        delivered=answer.is_success,
                        answer=f"status {answer.status_code}",
                        retry_after=retry_after(answer.headers.get("retry-after")),
                    )
        except (httpx2.HTTPError, TimeoutError) as error:
            return Outcome(delivered=False, answer=repr(error))

    def _say(self, event: Mapping[str, Any]) -> None:
        spent, budget = event["micros"] / MICROS, event["budget"] / MICROS
        share = event.get("share")
        if share is None:
            said = "the budget of %s is used up, and new jobs are refused: %.2f %s"
            log.error(said, event["month"], budget, self._currency)
        else:
            place = (100 * share, event["month"], spent, budget, self._currency)
            log.warning("%g %% of the budget of %s are used or reserved: %.2f of %.2f %s", *place)
        if self._on_alert is not None:
            self._on_alert(share, spent)

    def _body(self, event: Outgoing, said: Mapping[str, Any]) -> dict[str, Any]:
        """The event as its receiver gets it. The same for every try."""
        if event.receiver == "releases":
            return {
                "type": _RELEASES[said["decision"]],
                "timestamp": rfc3339(event.written),
                "data": {"version": said["version"], "live_before": said["live"], "reason": said["reason"]},
            }
        if event.receiver == "usage":
            kind = "usage.recorded"
            data = {
                "job_id": said["job"], "key": said["owner"], "day": said["day"], "style": said["style"],
                "tier": said["tier"], "outcome": said["outcome"], "gpu_seconds": said["ms"] / 1000,
                "cost": said["micros"] / MICROS,
            }  # fmt: skip
        else:
            kind = "budget.reached" if "share" in said else "budget.exhausted"
            data = {
                "month": said["month"],
                "spent": said["micros"] / MICROS,
                "budget": said["budget"] / MICROS,
            }
            if "share" in said:
                data["share"] = said["share"]
        return {
            "type": kind,
            "timestamp": rfc3339(event.written),
            "data": {**data, "currency": self._currency},
        }
