"""Limits what one request may upload: its bytes are counted for its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Request

from orchestrator.api.middleware.clients import Clients
from orchestrator.api.requests.budget import CountBytes, UploadBudget
from orchestrator.telemetry import metrics


@dataclass(frozen=True)
class Intake:
    """The uploads of one request while it is handled."""

    count_bytes: CountBytes
    client: str | None
    """The client, for its share of scarce resources; None for a proxy that does not name its client."""
    max_bytes: int
    """The most bytes of one photo."""


class Uploads:
    """Limits the uploads of this process: ``max_bytes`` for a photo, and the budget for all together."""

    def __init__(self, budget: UploadBudget, clients: Clients, max_bytes: int) -> None:
        self._budget, self._clients, self._max_bytes = budget, clients, max_bytes

    @contextmanager
    def hold(self, request: Request[Any, Any, Any]) -> Iterator[Intake]:
        """The intake of a request. Its ``count_bytes`` raises Problem when there are too many bytes; at the end of the
        block the counted bytes are free again."""
        client = self._clients.asking(request.client.host if request.client else None)
        with self._budget.hold(client) as hold_bytes:

            def count_bytes(count: int) -> None:
                hold_bytes(count)
                metrics.UPLOAD_BYTES.inc(count)

            yield Intake(count_bytes, client, self._max_bytes)
