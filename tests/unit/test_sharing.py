from __future__ import annotations

import asyncio

import pytest

from orchestrator.api.single_flight import SingleFlightCache


class Question:
    """Counts how often it is asked; the answer takes ``seconds``."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.asked, self.seconds, self.broken = 0, seconds, False

    async def __call__(self) -> int:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.broken:
            raise ValueError("broken")
        return self.asked


async def test_many_share_one_answer_for_a_while() -> None:
    now = 0.0
    shared, question = SingleFlightCache[int](1.0, lambda: now), Question()
    assert await asyncio.gather(*(shared(question) for _ in range(20))) == [1] * 20
    now = 0.9
    assert await shared(question) == 1
    now = 1.0
    assert await asyncio.gather(*(shared(question) for _ in range(20))) == [2] * 20


async def test_an_answer_that_takes_long_is_waited_for_by_all() -> None:
    now = 0.0
    shared, question = SingleFlightCache[int](1.0, lambda: now), Question()
    first = asyncio.create_task(shared(question))
    await asyncio.sleep(0.01)
    now = 5.0
    assert await shared(question) == await first == 1


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    shared, question = SingleFlightCache[int](1.0), Question()
    leaving = asyncio.create_task(shared(question))
    staying = asyncio.create_task(shared(question))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert await staying == 1


async def test_errors_are_shared_too_and_not_for_ever() -> None:
    now = 0.0
    shared, question = SingleFlightCache[int](1.0, lambda: now), Question()
    question.broken = True
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await shared(question)
    assert question.asked == 1
    now, question.broken = 2.0, False
    assert await shared(question) == 2
