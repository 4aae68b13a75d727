"""The contract of the store for the styles that callers make for themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from orchestrator.domain.styles import Style


class StyleStore(ABC):
    """Styles of owners, which are those of jobs: the ids of keys, and ``""`` for callers without one.

    Every write may be repeated after a lost reply. Revoking a key deletes its styles. All methods raise
    :class:`Unavailable` when the store cannot be reached.
    """

    @abstractmethod
    async def all(self, owner: str) -> Mapping[str, Style]:
        """The owner's styles by name, in the order of the alphabet; in one round trip."""

    @abstractmethod
    async def put(self, owner: str, name: str, style: Style, most: int) -> None:
        """Store a style, in place of one of that name. Raises TooManyStyles, and changes nothing, when there are
        ``most`` others; KeyNotFound when the owner's key is revoked."""

    @abstractmethod
    async def delete(self, owner: str, name: str) -> None:
        """Raises StyleNotFound."""
