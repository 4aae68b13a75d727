"""The service's budget for work that is no job: it is not counted, but ends when the budget does."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.domain.plans import Plan, month_of
from orchestrator.domain.usage import Pricing, cost_micros
from orchestrator.ports import JobStore, QuotaExceeded, Usage
from orchestrator.services.submitting.estimates import estimated_gpu_seconds
from orchestrator.services.submitting.quotas import over_limit


class MonthlyBudget:
    """Of all keys together. ``clock`` gives UNIX seconds."""

    def __init__(
        self, usage: Usage, store: JobStore, pricing: Pricing, clock: Callable[[], float] = time.time
    ) -> None:
        self._usage, self._store, self._pricing, self._clock = usage, store, pricing, clock

    async def check(self) -> None:
        """Raises OverLimit when the budget has no room for another job of the default quality, and Unavailable.

        What is spent never quite reaches the budget, since jobs that would exceed it are refused: so the question is
        whether one more would be."""
        budget = self._pricing.budget
        if budget is None:
            return
        now = self._clock()
        spent = await self._usage.spent(month_of(now))
        milliseconds = round(estimated_gpu_seconds(1.0, await self._store.stats()) * 1000)
        if spent + cost_micros(milliseconds, self._pricing.price) > budget.micros:
            raise over_limit(QuotaExceeded("monthly_budget", spent), Plan(), now, job_seconds=0.0)
