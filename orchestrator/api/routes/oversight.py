"""What administrators see of the service: what waits, who works on what, the Tritons, plans, failures and levels."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from orchestrator.api.middleware.access import Rule, access
from orchestrator.api.responses.errors import problems
from orchestrator.api.responses.oversight_data import (
    DayFailures,
    FailedJob,
    FailuresAnswer,
    FailuresData,
    FloorAnswer,
    FloorData,
    LevelsAnswer,
    LevelsData,
    Objectives,
    PlansAnswer,
    TritonsAnswer,
    day_levels,
    reasons,
    triton_data,
    waiting_job,
    worker_data,
)
from orchestrator.domain import levels
from orchestrator.domain.plans import Plans
from orchestrator.ports import Inference, JobStore, Oversight

MOST_DAYS = 90
"""How many days one answer may be about, the last ones of those that are asked for."""
DAYS = 14
"""How many days an answer is about unless asked otherwise."""


class OversightController(Controller):
    path = "/admin"
    tags = ("admin",)
    opt = access(Rule.ADMIN)

    @get(
        "/floor",
        operation_id="show_floor",
        summary="What waits by priority and quality, which jobs wait first, and who works on what",
        responses=problems(503),
    )
    async def floor(
        self, oversight: NamedDependency[Oversight], store: NamedDependency[JobStore]
    ) -> FloorAnswer:
        now, stats = await asyncio.gather(oversight.floor(), store.stats())
        return FloorAnswer(
            data=FloorData(
                stats=stats,
                waiting=[waiting_job(job) for job in now.waiting],
                counts=now.counts,
                workers=[worker_data(worker) for worker in now.workers],
            )
        )

    @get(
        "/tritons",
        operation_id="list_tritons",
        summary="Each Triton: whether it is up, what it runs on, its models' versions, and what it has done",
    )
    async def tritons(self, inference: NamedDependency[Inference]) -> TritonsAnswer:
        return TritonsAnswer(data=[triton_data(each) for each in await inference.servers()])

    @get("/plans", operation_id="list_plans", summary="The plans that keys may have, by name")
    async def plans(self, plans: NamedDependency[Plans]) -> PlansAnswer:
        return PlansAnswer(data=plans.by_name)

    @get(
        "/levels",
        operation_id="get_levels",
        summary="How many jobs ended how, and how long they took, by day, beside the objectives",
        responses=problems(400, 503),
    )
    async def service_levels(
        self,
        oversight: NamedDependency[Oversight],
        since: FromQuery[date | None] = None,
        until: FromQuery[date | None] = None,
    ) -> LevelsAnswer:
        """Without ``since`` and ``until``: the last 14 days; of a longer time the last 90."""
        days = days_of(since, until, time.time())
        found = await oversight.levels(days)
        objectives = Objectives(
            failed_share=levels.FAILED_SHARE,
            total_p95=levels.TOTAL_SECONDS,
            oldest_wait=levels.OLDEST_WAIT_SECONDS,
        )
        return LevelsAnswer(data=LevelsData(objectives=objectives, days=[day_levels(day) for day in found]))

    @get(
        "/failures",
        operation_id="get_failures",
        summary="Why jobs failed, by day, and which failed last",
        responses=problems(400, 503),
    )
    async def failures(
        self,
        oversight: NamedDependency[Oversight],
        since: FromQuery[date | None] = None,
        until: FromQuery[date | None] = None,
    ) -> FailuresAnswer:
        """Without ``since`` and ``until``: the last 14 days; of a longer time the last 90. The jobs are those of any
        day, up to 200; their number does not say how many failed."""
        found = await oversight.levels(days_of(since, until, time.time()))
        total: Counter[tuple[str, str]] = Counter()
        for day in found:
            total.update(day.failures)
        return FailuresAnswer(
            data=FailuresData(
                reasons=reasons(total),
                days=[DayFailures(day=day.day, reasons=reasons(day.failures)) for day in found],
                latest=[FailedJob.of(job) for job in await oversight.lately_failed()],
            )
        )


def days_of(since: date | None, until: date | None, now: float) -> list[str]:
    """The days from ``since`` to ``until``, both included: the last MOST_DAYS of them, none when they are the wrong way
    round; by default the last DAYS until today."""
    today = datetime.fromtimestamp(now, UTC).date()
    last = until or max(today, since or today)
    earliest = last.toordinal() - MOST_DAYS + 1
    first = since.toordinal() if since else last.toordinal() - DAYS + 1
    count = last.toordinal() - max(1, first, earliest) + 1
    return [(last - timedelta(days=ago)).isoformat() for ago in reversed(range(count))]
