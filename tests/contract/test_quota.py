"""Quotas: what a key reserves and uses, whatever happens to its jobs and to those who run them."""

from __future__ import annotations

import logging
from typing import get_args

import pytest

from benchmarks.quota_schedules import run_schedules
from orchestrator.domain.usage import LimitName
from stack.redis import RedisServer


@pytest.mark.parametrize("schedules", [150, pytest.param(1000, marks=pytest.mark.slow)])
async def test_sums_follow_from_the_jobs_in_random_schedules(
    server: RedisServer, schedules: int, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "reroom.store")
    seed = schedules if "6.2" in request.node.name else 0
    differences, happened = await run_schedules(f"{server.url.rpartition('/')[0]}/9", schedules, seed=seed)
    assert differences == []
    assert set(happened) == {*get_args(LimitName), "replay"}
