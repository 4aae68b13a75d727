"""Sends events to the operator's own systems: alerts about the budget, and the usage of each job for billing.

They are signed as Standard Webhooks says. An event is sent until its receiver has answered with a status of 2xx, so it
may come twice; its id stays the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import msgspec

from orchestrator.domain.usage import MICROS
from orchestrator.ports import Outbox, Outgoing, Receiver, Unavailable

log = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds until the second try of an event, longer than an answer may take; each further pause is twice as long, up to
an hour."""

PAUSE = 2.0
"""Seconds between two looks into the outbox."""

ANSWER_SECONDS = 15.0
"""Seconds that a receiver may take to answer."""

AlertHook = Callable[[float | None, float], None]
"""Called with the share of the budget that was reached (None = work is refused now) and with what is spent."""


class Deliveries:
    """``receivers`` are URLs; an event for whom there is none is only logged. ``on_alert`` is for metrics."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[Receiver, str],
        secret: bytes,
        currency: str,
        *,
        patience: float = PATIENCE,
        pause: float = PAUSE,
        on_alert: AlertHook | None = None,
    ) -> None:
        self._outbox, self._receivers, self._secret, self._currency = outbox, receivers, secret, currency
        self._patience, self._pause, self._on_alert = patience, pause, on_alert
        self._taker = uuid.uuid4().hex

    async def run(self) -> None:
        """Send until it is cancelled."""
        async with httpx2.AsyncClient(
            timeout=ANSWER_SECONDS, follow_redirects=False, trust_env=False
        ) as http:
            while True:
                try:
                    found = await self._outbox.take(self._taker, self._patience)
                    await asyncio.gather(*(self._deliver(http, event) for event in found))
                except Unavailable as error:
                    found = []
                    log.debug("the outbox cannot be read: %s", error)
                except Exception:
                    found = []
                    log.exception("events were not sent; trying again")
                if not found:
                    await asyncio.sleep(self._pause)

    async def _deliver(self, http: httpx2.AsyncClient, event: Outgoing) -> None:
        if event.to == "budget" and event.tries == 1:
            self._say(event.event)
        url = self._receivers.get(event.to)
        if url is None or await self._accepts(http, url, event):
            await self._outbox.sent(event)

    async def _accepts(self, http: httpx2.AsyncClient, url: str, event: Outgoing) -> bool:
        body = msgspec.json.encode(self._body(event))
        headers = {"Content-Type": "application/json", **signed(event.id, time.time(), body, self._secret)}
        try:
            answer = await http.post(url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            said = repr(error)
        else:
            if answer.is_success:
                return True
            said = f"status {answer.status_code}"
        log.warning("event %s was not taken (try %d): %s", event.id, event.tries, said)
        return False

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

    def _body(self, event: Outgoing) -> dict[str, Any]:
        """The event as its receiver gets it. The same for every try."""
        written = datetime.fromtimestamp(event.written, UTC)
        told = event.event
        if event.to == "usage":
            kind = "usage.recorded"
            data = {
                "job_id": told["job"], "key": told["owner"], "day": told["day"], "style": told["style"],
                "tier": told["tier"], "outcome": told["outcome"], "gpu_seconds": told["ms"] / 1000,
                "cost": told["micros"] / MICROS,
            }  # fmt: skip
        else:
            kind = "budget.reached" if "share" in told else "budget.exhausted"
            data = {
                "month": told["month"],
                "spent": told["micros"] / MICROS,
                "budget": told["budget"] / MICROS,
            }
            if "share" in told:
                data["share"] = told["share"]
        return {
            "type": kind,
            "timestamp": written.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {**data, "currency": self._currency},
        }


def signed(event_id: str, now: float, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. ``now``: UNIX seconds of this try."""
    text = f"{event_id}.{int(now)}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, text, hashlib.sha256)).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": f"v1,{signature}",
    }
