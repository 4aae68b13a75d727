"""What jobs use: GPU time, money and storage, and what a job may use when it is submitted.

Money is counted in whole micros, millionths of a unit of the currency, and GPU time in whole milliseconds, so that sums
are exact. Everything of a job is counted on the day, in UTC, on which it was submitted.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from orchestrator.domain.plans import Plan

MICROS = 1_000_000
HOUR_MS = 3_600_000

LimitName = Literal[
    "waiting_jobs", "concurrent_jobs", "gpu_seconds_per_day", "gpu_seconds_per_month", "stored_bytes", "stored_objects",
    "monthly_budget",
]  # fmt: skip
"""The limits that a submission may meet: those of the plan, and the service's budget."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of a month may cost together."""

    micros: int
    alerts: list[float] = []
    """Shares of it at which its owner is told, rising."""


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """How usage becomes money. The same in all processes."""

    price: int = 0
    """Micros for an hour of the models' time; 0 = costs are not counted."""
    currency: str = "USD"
    budget: Budget | None = None
    billed: bool = False
    """Whether the usage of each job goes to a billing system."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission asks for. The store grants all of it or nothing."""

    plan: Plan
    estimated_seconds: float
    """The GPU time that is reserved until the job ends."""
    stored_bytes: int
    """Of its photo, and of the mask."""
    stored_objects: int


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that have ended and have all of these in common. ``micros`` and ``gpu_ms`` are theirs together."""

    day: str
    owner: str
    style: str
    tier: str
    outcome: str
    jobs: int
    gpu_ms: int
    micros: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a key has in use now."""

    unfinished_jobs: int
    gpu_ms_today: int
    """Used and reserved, as for the month."""
    gpu_ms_this_month: int
    stored_bytes: int
    stored_objects: int


def cost_micros(gpu_ms: int, price: int) -> int:
    """What GPU time costs at a price in micros an hour, rounded to whole micros as the scripts do."""
    return (gpu_ms * price + HOUR_MS // 2) // HOUR_MS
