"""What the API says a job will cost."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.domain.cost import Kind, WorkTable
from orchestrator.domain.preferences import Preferences
from orchestrator.services.running.translation import KEEP_FURNITURE_STRENGTH
from orchestrator.services.submitting import costs as costs_module
from orchestrator.services.submitting.costs import USUAL, Costs
from tests.support.fakes import FakeInference

TABLE = WorkTable(buckets=[(64, 64)], side=64, kinds={"": Kind(steps=20, run=20, guided=20)})


class Telling(FakeInference):
    """Says what pictures cost once it was asked, after ``seconds``."""

    seconds, asked = 0.0, 0

    async def ping(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        await super().ping()
        self.table = TABLE


async def test_the_models_are_asked_once_and_preferences_count() -> None:
    inference = Telling()
    costs = Costs(inference)
    assert (await costs.estimate(Preferences(), 64, 64)).first == 1.0
    bounded = (await costs.estimate(Preferences(keep_furniture=True), 64, 64)).first
    assert bounded == pytest.approx(
        TABLE.work(64, 64, steps=20, strength=KEEP_FURNITURE_STRENGTH).cost, abs=1e-4
    )
    assert (await costs.estimate(Preferences(steps=40), 64, 64)).first > 1.8
    assert (await costs.estimate(Preferences(guidance_scale=1.0), 64, 64)).first < 0.6
    assert inference.asked == 1


async def test_as_long_as_nothing_is_known_a_job_is_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs_module, "PATIENCE_SECONDS", 0.05)
    slow, away = Telling(), Telling()
    slow.seconds, away.ready = 30.0, False
    for inference in (slow, away):
        costs = Costs(inference)
        for _ in range(3):
            assert (await costs.estimate(Preferences(steps=40), 64, 64)).first == USUAL
        assert inference.asked == 1, "not for every submission"
