"""The contract of the store for API keys and for tickets."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from orchestrator.domain.keys import Caller, Key, Secret


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A right to follow one job, good for one request."""

    caller: Caller
    job: str


class KeyStore(ABC):
    """API keys and tickets.

    Every write may be repeated after a lost reply, except :meth:`take_ticket`, which then finds nothing. All
    methods raise :class:`Unavailable` when the store cannot be reached.
    """

    @abstractmethod
    async def add(self, key: Key) -> None:
        """Store a new key. Its id must be new."""

    @abstractmethod
    async def get(self, key_id: str) -> Key:
        """The key as of now, in one round trip, also a revoked or expired one; raises KeyNotFound."""

    @abstractmethod
    async def all(self) -> list[Key]:
        """Every key, the oldest first."""

    @abstractmethod
    async def replace_secrets(self, key: Key, secrets: list[Secret]) -> bool:
        """Give the key these secrets. Returns False, and changes nothing, unless its secrets are still those of
        ``key``. Raises KeyNotFound."""

    @abstractmethod
    async def revoke(self, key_id: str, now: float) -> None:
        """From now on the key is refused. A key that was revoked before keeps that time. Raises KeyNotFound."""

    @abstractmethod
    async def used(self, key_id: str, now: float) -> None:
        """Record when the key was last used."""

    @abstractmethod
    async def put_ticket(self, digest: str, ticket: Ticket, seconds: float) -> None:
        """Keep a ticket for ``seconds`` under the SHA-256 of its text."""

    @abstractmethod
    async def ticket(self, digest: str) -> Ticket | None:
        """The ticket, which stays. None as for :meth:`take_ticket`."""

    @abstractmethod
    async def take_ticket(self, digest: str) -> Ticket | None:
        """The ticket, which is used up: of several calls one gets it. None if it expired, was used or never was."""
