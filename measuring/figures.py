"""Figures of samples."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles


def percentile(values: Sequence[float], rank: int) -> float:
    """The percentile ``rank``, 1 … 99, of at least one value, interpolated between neighbours."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[rank - 1]
