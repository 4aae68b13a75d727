"""The contract of the store for users' endpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import msgspec

from orchestrator.domain.webhooks import Endpoint


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event for an endpoint. Times are UNIX seconds."""

    id: str
    kind: str
    job: str | None
    outcome: Literal["waiting", "delivered", "given_up"]
    tries: int
    answer: str | None
    """To the last try: a status, or why there was none. None before the first."""
    written: float
    next_try: float | None
    """While it waits."""
    ended: float | None


class EndpointStore(ABC):
    """Endpoints, each of its owner alone: for others they do not exist. Every write may be repeated after a lost reply.

    All methods raise :class:`Unavailable` when the store cannot be reached.
    """

    @abstractmethod
    async def add(self, endpoint: Endpoint, most: int) -> None:
        """Raises TooManyEndpoints when its owner has ``most``."""

    @abstractmethod
    async def get(self, owner: str, endpoint_id: str) -> Endpoint:
        """Raises EndpointNotFound."""

    @abstractmethod
    async def all(self, owner: str) -> list[Endpoint]:
        """The oldest first."""

    @abstractmethod
    async def change(self, endpoint: Endpoint, members: dict[str, Any], enabled: bool | None = None) -> None:
        """Give it these members. ``enabled``: False drops what waits for it. Raises EndpointNotFound."""

    @abstractmethod
    async def drop(self, owner: str, endpoint_id: str) -> None:
        """Delete it, and what waits for it. Raises EndpointNotFound."""

    @abstractmethod
    async def test(self, owner: str, endpoint_id: str, event: str, kind: str) -> None:
        """Put an event into its lane. Raises EndpointNotFound, EndpointDisabled."""

    @abstractmethod
    async def deliveries(self, endpoint_id: str, count: int) -> list[Delivery]:
        """The last ones, the newest first."""
