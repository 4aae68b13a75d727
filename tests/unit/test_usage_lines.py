"""What one answer of ``GET /usage`` may be about, and how its lines are summed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.api.routes import usage
from orchestrator.domain.usage import UsageRow
from tests.unit.test_budget_metric import Spent

DAYS = ["2026-11-25", "2026-11-26", "2026-11-27"]


class Busy(Spent):
    def __init__(self, owners: list[int]) -> None:
        super().__init__(0)
        self._owners = owners

    async def owners_on(self, days: Sequence[str]) -> list[int]:
        return self._owners


@pytest.mark.parametrize(
    ("owners", "left"),
    [([0, 0, 0], 3), ([5, 3, 4], 2), ([6, 3, 4], 2), ([2, 3, 4], 3), ([1, 9, 4], 1), ([1, 1, 99], 1)],
)
async def test_as_many_of_the_last_days_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, owners: list[int], left: int
) -> None:
    monkeypatch.setattr(usage, "MOST_SUMS", 9)
    assert await usage._affordable(Busy(owners), DAYS) == DAYS[-left:]


async def test_of_no_days_there_are_none() -> None:
    assert await usage._affordable(Busy([]), []) == []


def row(day: str, owner: str, jobs: int, style: str = "boho") -> UsageRow:
    return UsageRow(
        day=day,
        owner=owner,
        style=style,
        tier="best",
        outcome="completed",
        jobs=jobs,
        gpu_ms=jobs * 1500,
        micros=jobs * 500_000,
    )


ROWS = [row(DAYS[0], "a", 1), row(DAYS[0], "b", 2), row(DAYS[1], "a", 4, "modern"), row(DAYS[1], "a", 8)]


def test_lines_are_summed_over_what_is_not_named() -> None:
    everything = usage._lines(ROWS, frozenset(usage.ALL_PARTS))
    assert [(line.day, line.key, line.style, line.jobs) for line in everything] == [
        (each.day, each.owner, each.style, each.jobs) for each in ROWS
    ]
    by_day = usage._lines(ROWS, frozenset({"day"}))
    assert [(line.day, line.key, line.jobs, line.gpu_seconds) for line in by_day] == [
        (DAYS[0], "", 3, 4.5),
        (DAYS[1], "", 12, 18.0),
    ]
    by_key = usage._lines(ROWS, frozenset({"key"}))
    assert [(line.key, line.jobs, line.cost) for line in by_key] == [("a", 13, 6.5), ("b", 2, 1.0)]
