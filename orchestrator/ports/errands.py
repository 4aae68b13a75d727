"""The contract of what the API has a worker do while a request waits: small things, such as a picture of pictures, for
which only workers have the certificate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a job's pictures that is to be made and stored."""

    job_id: str
    what: str
    """The picture's name."""
    labels: list[str] = []
    """What stands below each of the results on it, by their places."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an errand."""

    outcome: Literal["done", "changed", "refused"]
    """``changed``: the job, or one of its children, was erased meanwhile; ``refused``: it cannot be done."""
    detail: str = ""
    """Why it cannot be done, in a sentence for the user."""


class Errands(ABC):
    """All methods raise Unavailable. An errand is done at most once each time it is sent: its worker may die, or there
    is none; then whoever sent it is told so after a while, and may send it again."""

    @abstractmethod
    async def send(self, errand: Errand, patience: float) -> Report:
        """Have a worker do it. Raises Unavailable too when none has reported after ``patience`` seconds."""

    @abstractmethod
    async def take(self, seconds: float) -> tuple[str, Errand] | None:
        """An errand that somebody still waits for, under a name for its report; waits up to about ``seconds`` for
        one."""

    @abstractmethod
    async def report(self, name: str, report: Report) -> None:
        """Tell who sent the errand."""
