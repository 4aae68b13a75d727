"""What one request may upload: its bytes are counted, for whoever sends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Request

from orchestrator.api.budget import CountBytes, UploadBudget
from orchestrator.api.clients import Clients


@dataclass(frozen=True)
class Intake:
    """One request's uploads while it is answered."""

    count_bytes: CountBytes
    client: str | None
    """Who asks, for shares of what is scarce; None for a proxy that does not say for whom."""
    max_bytes: int
    """Of one photo."""


class Uploads:
    """What this process takes in: at most ``max_bytes`` a photo, and all together what the budget allows."""

    def __init__(self, budget: UploadBudget, clients: Clients, max_bytes: int) -> None:
        self._budget, self._clients, self._max_bytes = budget, clients, max_bytes

    @contextmanager
    def hold(self, request: Request[Any, Any, Any]) -> Iterator[Intake]:
        """The bytes counted are given back at the end. ``count_bytes`` raises Problem when they are too many."""
        client = self._clients.asking(request.client.host if request.client else None)
        with self._budget.hold(client) as count_bytes:
            yield Intake(count_bytes, client, self._max_bytes)
