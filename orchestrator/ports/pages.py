"""The contract of links to the public page of a job."""

from __future__ import annotations

from abc import ABC, abstractmethod


class PageLinks(ABC):
    """Signed, expiring links to ``/pages/{job}``: whoever has one sees the job's photo and picture, without a key."""

    @abstractmethod
    def page_url(self, job_id: str, expires: int) -> str:
        """The link, the same for the same arguments; ``expires`` are UNIX seconds."""

    @abstractmethod
    def check_page(self, job_id: str, expires: str, signature: str) -> None:
        """Takes the parts of a link as a client sent them. Raises BadSignature, and LinkExpired."""
