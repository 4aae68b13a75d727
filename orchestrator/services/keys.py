"""API keys: making, rotating and revoking them, recognising callers by them, and one-time tickets."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection

import msgspec

from orchestrator.domain.keys import (
    ADMINISTRATOR,
    DEFAULT_PLAN,
    LIVE_SECRETS,
    Caller,
    Key,
    Scope,
    Secret,
    caller_of,
    digest_of,
    new_id,
    new_secret,
    parse,
    text_of,
)
from orchestrator.ports import KeyNotFound, KeyStore, Ticket, Unavailable

USED_SECONDS = 60.0
"""How exactly a key's last use is recorded."""

TICKET_SECONDS = 30.0
"""Seconds within which a ticket must be used."""

GRACE_SECONDS = 86400.0
"""Seconds that a secret lives on after it was replaced, unless its replacer says otherwise."""

ROTATIONS = 5
"""How often a rotation tries again after someone else has changed the key's secrets meanwhile."""


class NotRecognised(Exception):
    """The key, the token or the ticket is malformed or unknown, was revoked or used up, or has expired."""


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its newest secret in the clear."""

    key: Key
    text: str
    """``rr_<id>_<secret>``, which cannot be shown again."""


class KeyService:
    """``admin_token`` is REROOM_ADMIN_TOKEN; ``clock`` gives UNIX seconds. All methods raise Unavailable."""

    def __init__(
        self, store: KeyStore, *, admin_token: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._clock = store, clock
        self._admin_digest = None if admin_token is None else digest_of(admin_token)

    async def create(
        self, name: str, scopes: Collection[Scope], *, plan: str = DEFAULT_PLAN, expires: float | None = None
    ) -> MadeKey:
        """A new key; ``expires`` are UNIX seconds, None = never."""
        now, secret = self._clock(), new_secret()
        key = Key(
            id=new_id(),
            name=name,
            scopes=sorted(set(scopes)),
            plan=plan,
            created=now,
            expires=expires,
            secrets=[Secret(digest=digest_of(secret), created=now)],
        )
        await self._store.add(key)
        return MadeKey(key=key, text=text_of(key.id, secret))

    async def all(self) -> list[Key]:
        """Every key, the oldest first, also those that were revoked or have expired."""
        return await self._store.all()

    async def get(self, key_id: str) -> Key:
        """Raises KeyNotFound."""
        return await self._store.get(key_id)

    async def rotate(self, key_id: str, grace: float = GRACE_SECONDS) -> MadeKey:
        """Give the key a new secret. The one before it lives on for ``grace`` seconds, any older one ends at once.
        Raises KeyNotFound, also for a key that was revoked, and Unavailable when others change it all the time."""
        secret = new_secret()
        for _ in range(ROTATIONS):
            key, now = await self._store.get(key_id), self._clock()
            if key.revoked is not None:
                raise KeyNotFound(key_id)
            live = [each for each in key.secrets if each.lives(now)] if grace > 0 else []
            ending = [
                msgspec.structs.replace(each, expires=min(each.expires or now + grace, now + grace))
                for each in live[: LIVE_SECRETS - 1]
            ]
            found = [Secret(digest=digest_of(secret), created=now), *ending]
            if await self._store.replace_secrets(key, found):
                changed = msgspec.structs.replace(key, secrets=found)
                return MadeKey(key=changed, text=text_of(key_id, secret))
        raise Unavailable(
            f"the secrets of key {key_id} were changed {ROTATIONS} times meanwhile: rotate it again"
        )

    async def revoke(self, key_id: str) -> Key:
        """From now on the key is refused everywhere. It may be called again. Raises KeyNotFound."""
        await self._store.revoke(key_id, self._clock())
        return await self._store.get(key_id)

    async def recognise(self, text: str) -> Caller:
        """The caller who sends this key, or the administrator's token. Raises NotRecognised.

        The key is read from the store for every call, so that a revoked one is refused at once.
        """
        # Digests have one length, so that the comparison says nothing about the token's.
        if self._admin_digest is not None and hmac.compare_digest(self._admin_digest, digest_of(text)):
            return ADMINISTRATOR
        parts = parse(text)
        if parts is None:
            raise NotRecognised
        key_id, secret = parts
        digest, now = digest_of(secret), self._clock()
        try:
            key = await self._store.get(key_id)
        except KeyNotFound:
            raise NotRecognised from None
        if not key.accepts(digest, now):
            raise NotRecognised
        if key.last_used is None or now - key.last_used >= USED_SECONDS:
            # A store that is full or read-only is no reason to refuse what only reads.
            with contextlib.suppress(Unavailable):
                await self._store.used(key_id, now)
        return caller_of(key)

    async def ticket(self, caller: Caller, job_id: str) -> str:
        """A ticket for one request about this job within TICKET_SECONDS, with the caller's rights. The caller's right
        to the job is checked by whoever calls this."""
        text = secrets.token_urlsafe(32)
        await self._store.put_ticket(digest_of(text), Ticket(caller=caller, job=job_id), TICKET_SECONDS)
        return text

    async def holder(self, text: str, job_id: str) -> Caller:
        """Who was given this ticket for this job. It stays good for :meth:`redeem`; one that is for another job is used
        up. Raises NotRecognised."""
        ticket = await self._store.ticket(digest_of(text))
        if ticket is None:
            raise NotRecognised
        if ticket.job != job_id:
            return await self.redeem(text, job_id)
        return ticket.caller

    async def redeem(self, text: str, job_id: str) -> Caller:
        """Who was given this ticket for this job; the ticket is used up, whatever comes of it. Raises NotRecognised."""
        ticket = await self._store.take_ticket(digest_of(text))
        if ticket is None or ticket.job != job_id:
            raise NotRecognised
        if not await self.lives(ticket.caller):
            raise NotRecognised
        return ticket.caller

    async def lives(self, caller: Caller) -> bool:
        """Whether the key of someone who was recognised before is still valid; always for callers without one."""
        if not caller.owner:
            return True
        try:
            return (await self._store.get(caller.owner)).lives(self._clock())
        except KeyNotFound:
            return False
