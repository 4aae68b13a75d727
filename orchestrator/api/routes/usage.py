"""``GET /usage``: what keys have used, and what is left of their plans."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, get_args

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
MOST_SUMS = 10_000
"""Days of keys, that is how many keys were used on each day, summed up, that one answer of all keys may be about."""
MOST_LINES = 5_000
"""Lines of an answer."""


Part = Literal["day", "key", "style", "tier", "outcome"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)
"""What tells lines apart."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that have ended, and what they used together."""

    jobs: int
    gpu_seconds: float
    cost: float


class UsageLine(Used, frozen=True, kw_only=True):
    """Jobs of one day, key, style, tier and outcome; what ``by`` leaves out is "" and summed over."""

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
    """By day, the oldest first; without days, those of the most jobs first."""
    lines_left_out: int
    """How many more there are than one answer has: the oldest, or those of the fewest jobs. ``total`` has them too."""
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
        by: FromQuery[list[Part] | None] = None,
    ) -> UsageAnswer:
        """Without ``since`` and ``until``: this month until now; of a longer time the last 400 days. An administrator
        sees all keys, or one by ``key``; of all keys an answer is about as many of the last days as have 10,000 sums
        of a key and a day, at least one, and ``since`` says from which on. ``by``, which may be given several times:
        what the lines are apart by, all five without it. At most 5,000 lines are answered."""
        now = time.time()
        first, last = _days(since, until, now)
        owner, plan = await _owner(caller, key, keys)
        days = [(first + timedelta(days=each)).isoformat() for each in range((last - first).days + 1)]
        if owner is None:
            days = await _affordable(usage, days)
        rows = await usage.rows(days, owner)
        lines = _lines(rows, frozenset(by or ALL_PARTS))
        pricing = settings.pricing
        return UsageAnswer(
            data=UsageData(
                since=days[0] if days else first.isoformat(),
                until=last.isoformat(),
                currency=pricing.currency,
                gpu_hour_price=pricing.price / MICROS,
                total=Used(**_sums(rows)),
                lines=lines[-MOST_LINES:] if by is None or "day" in by else lines[:MOST_LINES],
                lines_left_out=max(0, len(lines) - MOST_LINES),
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


async def _affordable(usage: Usage, days: list[str]) -> list[str]:
    """The last of these days whose sums are at most MOST_SUMS together, at least one."""
    sums, first = 0, len(days)
    for owners in reversed(await usage.owners_on(days)):
        sums += owners
        if sums > MOST_SUMS and first < len(days):
            break
        first -= 1
    return days[first:]


def _lines(rows: Sequence[UsageRow], by: frozenset[Part]) -> list[UsageLine]:
    """The rows, summed over what is not in ``by``."""
    together: dict[tuple[str, ...], list[UsageRow]] = defaultdict(list)
    for row in rows:
        told = (row.day, row.owner, row.style, row.tier, row.outcome)
        kept = (each if part in by else "" for part, each in zip(ALL_PARTS, told, strict=True))
        together[tuple(kept)].append(row)
    lines = [
        UsageLine(day=day, key=key, style=style, tier=tier, outcome=outcome, **_sums(of))
        for (day, key, style, tier, outcome), of in together.items()
    ]
    if "day" not in by:
        lines.sort(key=lambda line: (-line.jobs, line.key, line.style, line.tier, line.outcome))
    return lines


def _sums(rows: Sequence[UsageRow]) -> dict[str, Any]:
    return {
        "jobs": sum(row.jobs for row in rows),
        "gpu_seconds": sum(row.gpu_ms for row in rows) / 1000,
        "cost": sum(row.micros for row in rows) / MICROS,
    }
