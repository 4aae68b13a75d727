"""Endpoints of users that are told what happens to their jobs, by Standard Webhooks (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from enum import StrEnum

import msgspec

MOST_ENDPOINTS = 10
"""Endpoints of one key."""
LIVE_SECRETS = 2
"""How many secrets of an endpoint sign at once: the newest, and the one before it until it expires."""
SECRET_BYTES = 32
_PREFIX = "whsec_"


class HookEvent(StrEnum):
    """What an endpoint may ask for."""

    STARTED = "job.started"
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


ENDS = (HookEvent.COMPLETED, HookEvent.FAILED, HookEvent.CANCELLED)
"""What an endpoint gets unless it says otherwise: each job that is not erased before its end has one of them."""
TEST = "webhook.test"
"""The event that an endpoint gets on request, whatever it asked for."""


class DisableReason(StrEnum):
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """An event could not be delivered for a day, in which no other one arrived."""
    KEY_ENDED = "key_ended"
    """The API key that made it was revoked or has expired."""
    BY_OWNER = "by_owner"


class Disabled(msgspec.Struct, frozen=True):
    """Why an endpoint gets nothing, and since when, in UNIX seconds."""

    reason: DisableReason
    at: float


class SigningSecret(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    """``whsec_`` and random bytes in base64."""
    created: float
    expires: float | None = None

    def lives(self, now: float) -> bool:
        return self.expires is None or now < self.expires


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the events of an owner's jobs are sent. Times are UNIX seconds."""

    id: str
    owner: str
    """As :attr:`orchestrator.domain.job.Job.owner`."""
    url: str
    events: list[HookEvent]
    description: str = ""
    created: float
    secrets: list[SigningSecret]
    """The newest first."""
    disabled: Disabled | None = None

    @property
    def wanted(self) -> list[HookEvent]:
        """What it gets now."""
        return [] if self.disabled else self.events

    def keys(self, now: float) -> list[bytes]:
        """The bytes that sign for it."""
        return [secret_bytes(each.text) for each in self.secrets if each.lives(now)]


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """The bytes of a ``whsec_…``. Raises ValueError."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        found = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(found) <= 64:
        raise ValueError(
            "must be whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)"
        )
    return found


def signed(event_id: str, now: float, body: bytes, keys: list[bytes]) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature by each key. ``now``: UNIX seconds of this try."""
    text = f"{event_id}.{int(now)}.".encode() + body
    made = [base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
