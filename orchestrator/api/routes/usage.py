"""``GET /usage``: what keys have used, and what is left of their plans."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.errors import problems
from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.keys import Caller
from orchestrator.domain.plans import Plan, Plans, day_of, month_of, next_month
from orchestrator.domain.usage import MICROS, UsageRow
from orchestrator.ports import KeyNotFound, Usage
from orchestrator.services.keys import KeyService
from orchestrator.settings import Settings

MOST_DAYS = 400
"""How many days one answer may be about; usage is kept for as long."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that have ended, and what they used together."""

    jobs: int
    gpu_seconds: float
    cost: float


class UsageLine(Used, frozen=True, kw_only=True):
    """Jobs of one day, key, style, tier and outcome."""

    day: str
    """When they were submitted, in UTC."""
    key: str
    """The id of their API key; "" for jobs without one."""
    style: str
    tier: str
    """The quality by which they were made; ``default`` where neither the job nor the models have named one."""
    outcome: str
    """``completed``, ``failed`` or ``cancelled``; only completed jobs are charged."""


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one key has in use now, and what its plan allows."""

    plan: str
    limits: Plan
    unfinished_jobs: int
    gpu_seconds_today: float
    """Used, and reserved by jobs that have not ended."""
    gpu_seconds_this_month: float
    stored_bytes: int
    stored_objects: int


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """The service's budget for this month, for administrators."""

    amount: float
    spent: float
    """By jobs that have ended, and reserved by others."""
    next_month_at: Time


class UsageData(msgspec.Struct, frozen=True, kw_only=True):
    since: str
    until: str
    """Both days are included."""
    currency: str
    gpu_hour_price: float
    """Of jobs that are submitted now; 0 = costs are not counted."""
    total: Used
    lines: list[UsageLine]
    in_use: InUse | None
    """None when the answer is about all keys."""
    budget: BudgetState | None
    """None where there is none, and for callers who are no administrators."""


class UsageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: UsageData


class UsageController(Controller):
    path = "/usage"
    tags = ("usage",)

    @get(
        "/",
        opt=access(Rule.READ),
        operation_id="get_usage",
        summary="Jobs, GPU seconds and cost, by day, style, quality and outcome",
        responses=problems(400, 404, 503),
    )
    async def usage(
        self,
        caller: NamedDependency[Caller],
        usage: NamedDependency[Usage],
        keys: NamedDependency[KeyService],
        plans: NamedDependency[Plans],
        settings: NamedDependency[Settings],
        since: FromQuery[date | None] = None,
        until: FromQuery[date | None] = None,
        key: FromQuery[str | None] = None,
    ) -> UsageAnswer:
        """Without ``since`` and ``until``: this month until now; of a longer time the last 400 days. An administrator
        sees all keys, or one by ``key``."""
        now = time.time()
        first, last = _days(since, until, now)
        owner, plan = await _owner(caller, key, keys)
        days = [(first + timedelta(days=each)).isoformat() for each in range((last - first).days + 1)]
        rows = await usage.rows(days, owner)
        pricing = settings.pricing
        return UsageAnswer(
            data=UsageData(
                since=first.isoformat(),
                until=last.isoformat(),
                currency=pricing.currency,
                gpu_hour_price=pricing.price / MICROS,
                total=Used(**_sums(rows)),
                lines=[_line(row) for row in rows],
                in_use=None if owner is None else await _in_use(usage, owner, plan, plans, now),
                budget=await _budget(usage, settings, now) if caller.is_admin else None,
            )
        )


def _days(since: date | None, until: date | None, now: float) -> tuple[date, date]:
    """The first and the last day: at most MOST_DAYS, the last ones. None are left when ``since`` is later."""
    today = datetime.fromtimestamp(now, UTC).date()
    last = until or max(today, since or today)
    earliest = date.fromordinal(max(1, last.toordinal() - MOST_DAYS + 1))
    return max(since or last.replace(day=1), earliest), last


async def _owner(caller: Caller, key: str | None, keys: KeyService) -> tuple[str | None, str]:
    """Whose usage is asked for, None = everyone's, and the name of their plan. Raises KeyNotFound."""
    if key is None or key == caller.owner:
        return (None if caller.is_admin and key is None else caller.owner), caller.plan
    if not caller.is_admin:
        raise KeyNotFound(key)
    return key, (await keys.get(key)).plan


async def _in_use(usage: Usage, owner: str, plan: str, plans: Plans, now: float) -> InUse:
    account = await usage.account(owner, day_of(now))
    return InUse(
        plan=plan,
        limits=plans.of(plan),
        unfinished_jobs=account.unfinished_jobs,
        gpu_seconds_today=account.gpu_ms_today / 1000,
        gpu_seconds_this_month=account.gpu_ms_this_month / 1000,
        stored_bytes=account.stored_bytes,
        stored_objects=account.stored_objects,
    )


async def _budget(usage: Usage, settings: Settings, now: float) -> BudgetState | None:
    budget = settings.pricing.budget
    if budget is None:
        return None
    spent = await usage.spent(month_of(now))
    return BudgetState(
        amount=budget.micros / MICROS, spent=spent / MICROS, next_month_at=rfc3339(next_month(now))
    )


def _line(row: UsageRow) -> UsageLine:
    return UsageLine(
        day=row.day, key=row.owner, style=row.style, tier=row.tier, outcome=row.outcome, **_sums([row])
    )


def _sums(rows: list[UsageRow]) -> dict[str, Any]:
    return {
        "jobs": sum(row.jobs for row in rows),
        "gpu_seconds": sum(row.gpu_ms for row in rows) / 1000,
        "cost": sum(row.micros for row in rows) / MICROS,
    }
