"""API keys: who may call the service, and what each caller may do.

A key is given to its user as ``rr_<id>_<secret>``, once. The service keeps only the SHA-256 of the secret, which has
256 random bits, so that nothing slower is needed against guessing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from enum import StrEnum

import msgspec

DEFAULT_PLAN = "default"
"""The plan of a key that was made without one."""

PLAN = "^[a-z0-9_-]{1,40}$"
"""What the name of a plan looks like."""

LIVE_SECRETS = 2
"""The most secrets of one key that are accepted at the same time: a new one, and the one that it replaces."""

_TEXT = re.compile(r"rr_([0-9a-f]{16})_([0-9a-f]{64})")


class Scope(StrEnum):
    """What a key may be used for. A key has one or several; none includes another."""

    TRANSFORM = "transform"
    """Analyze and submit photos, cancel and erase jobs."""
    READ = "read"
    """Follow jobs and see their pictures."""
    ADMIN = "admin"
    """Manage keys and see the service's inside. With ``read`` or ``transform``, also everyone's jobs."""


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key, as stored. Times are UNIX seconds."""

    digest: str
    """SHA-256 of the secret, in hexadecimal."""
    created: float
    expires: float | None = None
    """None: as long as its key."""

    def lives(self, now: float) -> bool:
        return self.expires is None or now < self.expires


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, as stored. Times are UNIX seconds."""

    id: str
    """16 hexadecimal digits. No secret: it also names the owner of jobs."""
    name: str
    """For people, such as the application that uses the key."""
    scopes: list[Scope]
    plan: str = DEFAULT_PLAN
    """The name of the set of limits that the key has."""
    created: float
    expires: float | None = None
    """None: it does not expire."""
    revoked: float | None = None
    """When it was revoked. Revoked keys are kept, because usage is reported under their names."""
    last_used: float | None = None
    """Written at most once a minute."""
    secrets: list[Secret] = []
    """The newest first; at most LIVE_SECRETS."""

    def lives(self, now: float) -> bool:
        """Whether it can be used at all."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def accepts(self, digest: str, now: float) -> bool:
        """Whether the key can be used now with the secret of this digest. The comparison takes the same time for every
        digest."""
        same = [hmac.compare_digest(secret.digest, digest) and secret.lives(now) for secret in self.secrets]
        return any(same) and self.lives(now)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request."""

    owner: str
    """Whose jobs and uploads are the caller's: the id of a key; ``""`` for callers without a key."""
    scopes: frozenset[Scope]
    plan: str = DEFAULT_PLAN

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def owns(self, owner: str) -> bool:
        """Whether what belongs to ``owner`` exists for this caller."""
        return self.is_admin or owner == self.owner


OPEN = Caller(owner="", scopes=frozenset({Scope.TRANSFORM, Scope.READ}))
"""Everyone who sends no key, in open mode."""

ADMINISTRATOR = Caller(owner="", scopes=frozenset(Scope))
"""Who sends REROOM_ADMIN_TOKEN."""


def caller_of(key: Key) -> Caller:
    return Caller(owner=key.id, scopes=frozenset(key.scopes), plan=key.plan)


def new_id() -> str:
    return secrets.token_hex(8)


def new_secret() -> str:
    """256 random bits, in hexadecimal."""
    return secrets.token_hex(32)


def digest_of(secret: str) -> str:
    """The SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def text_of(key_id: str, secret: str) -> str:
    """A key as its user gets it."""
    return f"rr_{key_id}_{secret}"


def parse(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key as its user sends it; None if it is no key."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None
