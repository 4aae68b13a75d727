"""The contract of the place where releases lie: what may be served, and what shall be."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from orchestrator.domain.releases import ReleaseVersion, Rollout


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent beside a Triton says of it (``host.json``)."""

    name: str
    live: int | None = None
    ready: list[int] = []
    loading: int | None = None
    problems: dict[str, str] = {}
    """A sentence for each version with which something is wrong."""


class Rollouts(ABC):
    """The releases of one bundle: a folder, or a prefix in an object storage. All methods raise :class:`Unavailable`
    when it cannot be reached."""

    @abstractmethod
    async def read(self) -> Rollout:
        """The document as it is. Of a place that has none yet, revision 0 with what is live there."""

    @abstractmethod
    async def write(self, rollout: Rollout) -> None:
        """Replace the document whose revision is one less than this one's, atomically. Raises AnotherWriter when it has
        another revision, and changes nothing; the same document again is no error. Members that only another version
        of the service knows stay."""

    @abstractmethod
    async def versions(self) -> list[ReleaseVersion]:
        """Those that were published, in the order of their numbers."""

    @abstractmethod
    async def hosts(self) -> list[HostState]:
        """What the hosts say that write there; empty where none does."""
