"""The contract of CanaryStore, over every Redis that it must run on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from orchestrator.adapters.redis import RedisCanaryStore, RedisOutbox
from orchestrator.adapters.redis.canary_store import PAIRS
from orchestrator.domain.comparing import Measured
from orchestrator.domain.releases import Canary
from orchestrator.ports import Judged, Noted, Pair
from stack.redis import RedisServer
from tests.contract.conftest import prefixes

CANARY = Canary(version=5, mode="share", share=0.5, since="2026-11-27T03:00:00Z", id="c-1")


@pytest.fixture
def prefix() -> str:
    return next(prefixes)


@pytest.fixture
async def canaries(server: RedisServer, prefix: str) -> AsyncIterator[RedisCanaryStore]:
    opened = RedisCanaryStore(server.url, prefix=prefix)
    yield opened
    await opened.aclose()


def a_pair(number: int, gain: float = 0.0) -> Pair:
    return Pair(
        job_id=f"job-{number}",
        at=float(number),
        style="modern",
        live=Measured(values={"score": 0.5}),
        canary=Measured(values={"score": 0.5 + gain}),
        pictures={"live": f"results/job-{number}/c-1/live.jpg"},
    )


async def test_sums_grow_and_each_note_counts_once(canaries: RedisCanaryStore) -> None:
    assert (await canaries.trial(CANARY, 4), await canaries.last()) == (None, None)
    for number in (1, 2, 2, 3):
        sums = {"pair:score:n": 1.0, "pair:score:s": -0.125 * number}
        await canaries.note(CANARY, 4, Noted(id=str(number), sums=sums, unit=f"key-{number % 2}"))
    trial = await canaries.trial(CANARY, 4)
    assert trial is not None
    assert (trial.canary, trial.live, trial.units, trial.judged) == (CANARY, 4, 2, None)
    assert trial.sums == {"pair:score:n": 3.0, "pair:score:s": -0.75}
    assert await canaries.last() == trial
    assert await canaries.trial(CANARY, 3) is None, "beside another live version it is another trial"


async def test_the_newest_and_the_worst_pairs_are_kept(canaries: RedisCanaryStore) -> None:
    gains = [0.01 * ((7 * number) % 40 - 20) for number in range(40)]
    for number, gain in enumerate(gains):
        await canaries.note(CANARY, 4, Noted(id=str(number), sums={"a": 1.0}, pair=a_pair(number, gain)))
    trial = await canaries.trial(CANARY, 4)
    assert trial is not None
    assert [pair.job_id for pair in trial.newest] == [f"job-{number}" for number in range(39, 39 - PAIRS, -1)]
    assert [pair.gain for pair in trial.worst] == pytest.approx(sorted(gains)[:PAIRS])


async def test_each_decision_is_told_once(
    canaries: RedisCanaryStore, server: RedisServer, prefix: str
) -> None:
    undecided = Judged(decision="undecided", reason="who knows", at=1.0)
    end = Judged(decision="roll_back", reason="it is slower", at=2.0)
    told = [await canaries.judged(CANARY, 4, each) for each in (undecided, undecided, end, end, undecided)]
    assert told == [True, False, True, False, False]
    trial = await canaries.last()
    assert trial is not None
    assert trial.judged == end
    outbox = RedisOutbox(server.url, prefix=prefix)
    events = sorted([json.loads(each.fields["event"]) for each in await outbox.take(10, 10)], key=str)
    await outbox.aclose()
    assert events == [
        {"decision": "roll_back", "reason": "it is slower", "version": 5, "live": 4},
        {"decision": "undecided", "reason": "who knows", "version": 5, "live": 4},
    ]


async def test_one_worker_has_its_turn(canaries: RedisCanaryStore) -> None:
    assert await canaries.take_turn("c-1", "a", 60)
    assert await canaries.take_turn("c-1", "a", 60)
    assert not await canaries.take_turn("c-1", "b", 60)
    assert await canaries.take_turn("c-2", "b", 60)
    await canaries.end_turn("c-1", "b")
    assert not await canaries.take_turn("c-1", "b", 60)
    await canaries.end_turn("c-1", "a")
    assert await canaries.take_turn("c-1", "b", 60)
