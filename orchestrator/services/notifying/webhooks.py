"""Users' endpoints: making, changing and testing them."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from orchestrator.domain.keys import Caller
from orchestrator.domain.webhooks import (
    ENDS,
    LIVE_SECRETS,
    MOST_ENDPOINTS,
    TEST,
    Endpoint,
    HookEvent,
    SigningSecret,
    new_secret,
)
from orchestrator.egress.guarded import Guarded
from orchestrator.ports import ANEW, Begun, Delivery, EndpointStore

GRACE_SECONDS = 86400.0
"""Seconds that a secret goes on signing after it was replaced, unless its replacer says otherwise."""


class WebhookService:
    """Each caller has endpoints of their own. All methods raise Unavailable; those that name an endpoint raise
    EndpointNotFound."""

    def __init__(
        self, store: EndpointStore, guarded: Guarded, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._guarded, self._clock = store, guarded, clock

    async def create(
        self,
        caller: Caller,
        url: str,
        events: Sequence[HookEvent] = ENDS,
        description: str = "",
        begun: Begun = ANEW,
    ) -> Endpoint:
        """With ``begun``, the endpoint has its id, so that another try of the same request makes no second one.
        Raises BadUrl, NotAllowed, Unreachable (its name cannot be resolved), TooManyEndpoints."""
        await self._check(url)
        now = self._clock()
        endpoint = Endpoint(
            id=begun.id or secrets.token_hex(16),
            owner=caller.owner,
            url=url,
            events=list(dict.fromkeys(events)),
            description=description,
            created=now,
            secrets=[SigningSecret(text=new_secret(), created=now)],
        )
        await self._store.add(endpoint, MOST_ENDPOINTS)
        # An earlier try has made it with another secret.
        return await self._store.get(caller.owner, endpoint.id) if begun.again else endpoint

    async def all(self, caller: Caller) -> list[Endpoint]:
        return await self._store.all(caller.owner)

    async def get(self, caller: Caller, endpoint_id: str) -> Endpoint:
        return await self._store.get(caller.owner, endpoint_id)

    async def change(
        self, caller: Caller, endpoint_id: str, members: dict[str, Any], enabled: bool | None
    ) -> Endpoint:
        """Give it new ``members``: url, events, description. Raises BadUrl, NotAllowed, Unreachable."""
        endpoint = await self.get(caller, endpoint_id)
        if "url" in members:
            await self._check(members["url"])
        changed = msgspec.structs.replace(endpoint, **members)
        await self._store.change(changed, members, enabled)
        return await self.get(caller, endpoint_id)

    async def rotate(self, caller: Caller, endpoint_id: str, grace: float = GRACE_SECONDS) -> Endpoint:
        """Give it a new secret. The one before it goes on signing for ``grace`` seconds, beside the new one."""
        endpoint, now = await self.get(caller, endpoint_id), self._clock()
        live = [each for each in endpoint.secrets if each.lives(now)] if grace > 0 else []
        ending = [
            msgspec.structs.replace(each, expires=min(each.expires or now + grace, now + grace))
            for each in live[: LIVE_SECRETS - 1]
        ]
        found = [SigningSecret(text=new_secret(), created=now), *ending]
        changed = msgspec.structs.replace(endpoint, secrets=found)
        await self._store.change(changed, {"secrets": found})
        return changed

    async def delete(self, caller: Caller, endpoint_id: str) -> None:
        await self._store.drop(caller.owner, endpoint_id)

    async def test(self, caller: Caller, endpoint_id: str) -> str:
        """Send it an event; returns the event's id. Raises EndpointDisabled."""
        event = f"evt_test_{uuid.uuid4().hex}"
        await self._store.test(caller.owner, endpoint_id, event, TEST)
        return event

    async def deliveries(self, caller: Caller, endpoint_id: str, count: int) -> list[Delivery]:
        """The last ones, the newest first."""
        await self.get(caller, endpoint_id)
        return await self._store.deliveries(endpoint_id, count)

    async def _check(self, url: str) -> None:
        """A mistake shows at once, not at the first event; each call is checked again."""
        await self._guarded.resolved(self._guarded.check(url))
