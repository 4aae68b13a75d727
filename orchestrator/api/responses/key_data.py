"""API keys as people and programs may see them."""

from __future__ import annotations

import time

import msgspec

from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.keys import Key, Scope


class KeyData(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secrets."""

    id: str
    name: str
    scopes: list[Scope]
    plan: str
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    """To the minute."""
    secrets: int
    """How many secrets are accepted now: 0 once it was revoked or has expired, 2 while a rotated one lives on."""


def key_data(key: Key) -> KeyData:
    now = time.time()
    return KeyData(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        plan=key.plan,
        created_at=rfc3339(key.created),
        expires_at=_time(key.expires),
        revoked_at=_time(key.revoked),
        last_used_at=_time(key.last_used),
        secrets=sum(secret.lives(now) for secret in key.secrets) if key.lives(now) else 0,
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
