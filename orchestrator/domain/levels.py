"""How well the service does: its objectives, and what was measured of a day.

The alerts of docker/monitoring/rules.yml have the same objectives; a test holds them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

FAILED_SHARE = 0.05
"""The most of the jobs that may fail: of those that complete or fail."""
TOTAL_SECONDS = 60.0
"""Seconds from submission to completion within which 19 of 20 jobs are to be completed."""
OLDEST_WAIT_SECONDS = 120.0
"""The longest that any job is to wait."""


class DayLevels(msgspec.Struct, frozen=True, kw_only=True):
    """What ended on one day, in UTC."""

    day: str
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    failures: dict[tuple[str, str], int] = {}
    """How many of the failed ones had this code and style."""
    waits: dict[float, int] = {}
    """Completed jobs by how long they waited until a worker began them: upper edge in seconds -> jobs between the edge
    before and this one. The last edge is infinite."""
    totals: dict[float, int] = {}
    """The same of the time from submission to completion."""


def quantile(counts: Mapping[float, int], share: float) -> float | None:
    """The seconds that ``share`` (0 … 1) of what is counted did not exceed, interpolated within its stretch as
    Prometheus does; the last finite edge where it lies beyond that. None of nothing."""
    edges = sorted(counts)
    total = sum(counts.values())
    if total == 0:
        return None
    rank, below, lower = share * total, 0, 0.0
    for edge in edges:
        if counts[edge] and below + counts[edge] >= rank:
            if math.isinf(edge):
                return lower
            return lower + (edge - lower) * (rank - below) / counts[edge]
        below += counts[edge]
        lower = edge
    return lower
