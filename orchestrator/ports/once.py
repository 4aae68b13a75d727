"""The contract of the store for requests that are done once, however often they are sent."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec


class Answered(msgspec.Struct, frozen=True):
    """The request was done before."""

    answer: str


class Begun(msgspec.Struct, frozen=True):
    """This try is the one that does it now."""

    id: str
    """The same for every try with this name: what a try makes under it, another one finds."""
    again: bool
    """Whether an earlier try may have done it without leaving an answer: its process died, or it was interrupted."""


ANEW = Begun("", again=False)
"""A request without a name."""


class OnceStore(ABC):
    """Remembers answers by name. All methods raise Unavailable, and may be repeated after a lost reply."""

    @abstractmethod
    async def begin(
        self, name: str, fingerprint: str, token: str, *, lock_seconds: float, seconds: int
    ) -> Answered | Begun:
        """Begin a try, which is called ``token``, and remember it for ``seconds``. For ``lock_seconds`` no other try
        begins.

        Raises InFlight while another one is not over, and AnotherRequest when the name was used with another
        fingerprint.
        """

    @abstractmethod
    async def extend(self, name: str, token: str, *, lock_seconds: float) -> bool:
        """Let no other try begin for ``lock_seconds`` from now. Returns False, and changes nothing, when this try is
        over or another one has begun."""

    @abstractmethod
    async def answer(self, name: str, token: str, answer: str) -> None:
        """End a try: later ones get the answer. Without effect if another try has begun after ``lock_seconds``."""

    @abstractmethod
    async def forget(self, name: str, token: str) -> None:
        """End a try that did nothing: the name is free. Without effect if another try has begun."""

    @abstractmethod
    async def interrupt(self, name: str, token: str) -> None:
        """End a try of which nobody knows what it did: another one of the same request may begin, under the same id.
        Without effect if another try has begun."""

    @abstractmethod
    async def knows(self, name: str) -> bool:
        """Whether the name was used."""
