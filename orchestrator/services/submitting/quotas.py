"""The limits of plans, and the service's budget, at a submission: what is asked for, and what a refusal says."""

from __future__ import annotations

import math

import msgspec

from orchestrator.domain.plans import Plan, next_day, next_month
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.usage import Admission, LimitName
from orchestrator.ports import QuotaExceeded

ERASE_SECONDS = 3600
"""Seconds until another try of a client whose pictures fill its plan: only it knows when it erases some."""


class NotInPlan(Exception):
    """The caller's plan does not include the style or the quality. ``field``: which part of the request."""

    def __init__(self, detail: str, field: str) -> None:
        super().__init__(detail)
        self.detail, self.field = detail, field


class OverLimit(Exception):
    """A limit refuses the job. ``retry_after``: whole seconds until there may be room."""

    def __init__(self, limit: LimitName, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.limit, self.detail, self.retry_after = limit, detail, retry_after


def check_plan(plan: Plan, style: str, preferences: Preferences) -> None:
    """Raises NotInPlan."""
    if not plan.allows_style(style):
        raise NotInPlan(f"your plan has these styles: {', '.join(plan.styles or ())}", "style")
    if not plan.allows_quality(preferences.quality):
        raise NotInPlan(
            f"your plan has these qualities: {', '.join(plan.qualities or ())}", "preferences.quality"
        )


def within_plan(plan: Plan, preferences: Preferences) -> Preferences:
    """With the plan's first quality where none was named and the plan does not have all."""
    if preferences.quality is None and plan.qualities is not None:
        return msgspec.structs.replace(preferences, quality=plan.qualities[0])
    return preferences


def admission(plan: Plan, estimated_seconds: float, *pictures: bytes | None) -> Admission:
    """What a job asks for. ``pictures``: its photo, and those that go with it, None where it has none."""
    return Admission(
        plan=plan,
        estimated_seconds=estimated_seconds,
        stored_bytes=sum(len(each or b"") for each in pictures),
        stored_objects=sum(each is not None for each in pictures),
    )


def over_limit(refused: QuotaExceeded, plan: Plan, now: float, job_seconds: float) -> OverLimit:
    """The refusal in words. ``now``: UNIX seconds; ``job_seconds``: how long a job takes."""
    seconds = max(1, math.ceil(_opens(refused.limit, now, job_seconds)))
    match refused.limit:
        case "waiting_jobs":
            said = f"your plan lets {plan.waiting_jobs} jobs wait at once; when one begins, there is room"
        case "concurrent_jobs":
            said = f"your plan has room for {plan.concurrent_jobs} jobs at once; when one ends, there is room"
        case "gpu_seconds_per_day":
            said = f"your plan has {plan.gpu_seconds_per_day:g} GPU seconds a day; the next begins in {seconds} s"
        case "gpu_seconds_per_month":
            said = f"your plan has {plan.gpu_seconds_per_month:g} GPU seconds a month; the next begins in {seconds} s"
        case "stored_bytes":
            said = f"your plan stores {plan.stored_bytes} bytes; erase finished jobs to make room"
        case "stored_objects":
            said = f"your plan stores {plan.stored_objects} photos and pictures; erase finished jobs to make room"
        case "monthly_budget":
            said = f"the service's budget for this month is used up; the next month begins in {seconds} s"
    return OverLimit(refused.limit, said, seconds)


def _opens(limit: LimitName, now: float, job_seconds: float) -> float:
    """Seconds until the limit may have room."""
    match limit:
        case "waiting_jobs" | "concurrent_jobs":
            return job_seconds
        case "gpu_seconds_per_day":
            return next_day(now) - now
        case "gpu_seconds_per_month" | "monthly_budget":
            return next_month(now) - now
        case "stored_bytes" | "stored_objects":
            return ERASE_SECONDS
