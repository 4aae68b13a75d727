"""How long the models will work for a job, before it runs: what its key's quota and the budget reserve."""

from __future__ import annotations

from orchestrator.ports import QueueStats

DEFAULT_SECONDS = 5.0
"""Of a picture of the default quality, until jobs were measured: Stable Diffusion 1.5 on a T4, as calculated."""


def estimated_gpu_seconds(cost: float, stats: QueueStats) -> float:
    """Seconds of the models' time. ``cost`` is what a job costs at most, all of its tries together, in the unit of
    :mod:`orchestrator.domain.cost`; what a unit takes is measured by recent jobs."""
    each = DEFAULT_SECONDS if stats.mean_seconds is None else stats.mean_seconds / max(stats.mean_cost, 0.001)
    return cost * each
