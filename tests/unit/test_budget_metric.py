"""The metric of the monthly budget: read when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from orchestrator.domain.usage import Account, UsageRow
from orchestrator.ports import Unavailable, Usage
from orchestrator.server.exporting import BudgetCollector


class Spent(Usage):
    """Has spent so many micros, or cannot be reached."""

    def __init__(self, micros: int | None) -> None:
        self._micros = micros
        self.months: list[str] = []

    async def spent(self, month: str) -> int:
        self.months.append(month)
        if self._micros is None:
            raise Unavailable("no Redis")
        return self._micros

    async def rows(self, days: Sequence[str], owner: str | None) -> list[UsageRow]:
        raise NotImplementedError

    async def owners_on(self, days: Sequence[str]) -> list[int]:
        raise NotImplementedError

    async def account(self, owner: str, day: str) -> Account:
        raise NotImplementedError


def collected(usage: Spent) -> list[float]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Usage]:
        yield usage

    metrics = BudgetCollector(opened, 10_000_000).collect()
    return [sample.value for metric in metrics for sample in metric.samples]


def test_it_is_the_share_of_this_months_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.server.exporting.time.time", lambda: 1_795_651_200.0)
    usage = Spent(2_500_000)
    assert collected(usage) == [0.25]
    assert usage.months == ["2026-11"]


def test_it_is_absent_rather_than_wrong() -> None:
    assert collected(Spent(None)) == []
