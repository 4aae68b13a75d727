"""Quotas: what a key reserves and uses, whatever happens to its jobs and to those who run them."""

from __future__ import annotations

import logging
from typing import get_args

import pytest

from benchmarks.quota_schedules import run_schedules
from orchestrator.domain.usage import LimitName
from stack.redis import RedisServer

SCHEDULES = 500
"""On each Redis, and others on each."""


async def test_sums_follow_from_the_jobs_in_random_schedules(
    server: RedisServer, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "reroom.store")
    seed = SCHEDULES if "6.2" in request.node.name else 0
    differences, refused = await run_schedules(f"{server.url.rpartition('/')[0]}/9", SCHEDULES, seed=seed)
    assert differences == []
    assert set(refused) == {*get_args(LimitName)}
