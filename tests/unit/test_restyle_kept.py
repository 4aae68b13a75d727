"""What is computed once in a photo: the store of parts, and who may have them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from restyle.kept import MEGABYTES, SECONDS, Kept, Limits, limits_from_environment
from restyle.models import ModelFailed
from restyle.reuse import Reusing
from tests.support.clock import Clock


class Counted:
    """A computation of ``size`` bytes that counts how often it began and ended, and waits until it may go on."""

    def __init__(self, size: int = 8, *, waits: bool = False, error: Exception | None = None) -> None:
        self.size, self.error = size, error
        self.begun = self.ended = self.cancelled = 0
        self.go = asyncio.Event()
        if not waits:
            self.go.set()

    async def __call__(self) -> list[NDArray[np.uint8]]:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.ended += 1
        return [np.full(self.size, self.begun, np.uint8)]


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


async def spared(kept: Kept, key: str, compute: Counted) -> bool:
    return (await kept.get(key, compute))[1]


async def waiting(kept: Kept, key: str, compute: Counted) -> asyncio.Task[bool]:
    """A call that has begun."""
    task = asyncio.create_task(spared(kept, key, compute))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


# --- bounds and age ---------------------------------------------------------------------------------------------------


async def test_what_was_used_longest_ago_makes_room(clock: Clock) -> None:
    kept = Kept(Limits(bytes=24), clock)
    for key in "abc":
        assert not await spared(kept, key, Counted())
    assert (len(kept), kept.bytes) == (3, 24)
    assert await spared(kept, "a", Counted())
    assert not await spared(kept, "d", Counted(16))
    assert kept.bytes == 24
    assert [await spared(kept, key, Counted(0)) for key in "adbc"] == [True, True, False, False]


async def test_what_is_larger_than_the_bound_is_not_kept_and_displaces_nothing(clock: Clock) -> None:
    kept = Kept(Limits(bytes=24), clock)
    await kept.get("a", Counted())
    assert not await spared(kept, "large", Counted(25))
    assert not await spared(kept, "large", Counted(25))
    assert await spared(kept, "a", Counted())
    assert kept.bytes == 8


@pytest.mark.parametrize("limits", [Limits(bytes=0), Limits(unused=0.0)])
async def test_nothing_is_kept_where_that_is_asked_for(limits: Limits, clock: Clock) -> None:
    kept = Kept(limits, clock)
    for _ in range(2):
        assert not await spared(kept, "a", Counted())
    assert (len(kept), kept.bytes) == (0, 0)


async def test_age_counts_from_the_last_use_and_ends_in_any_case(clock: Clock) -> None:
    kept = Kept(Limits(unused=10.0), clock)
    await kept.get("a", Counted())
    await kept.get("idle", Counted())
    for _ in range(6):
        clock.now += 9.9
        assert await spared(kept, "a", Counted())
    assert not await spared(kept, "idle", Counted())
    clock.now += 0.61  # 60 s after it was made
    assert not await spared(kept, "a", Counted())
    assert (len(kept), kept.bytes) == (2, 16), "it took the place of the old one"


async def test_an_idle_process_forgets_by_itself() -> None:
    kept = Kept(Limits(unused=0.05))
    await kept.get("a", Counted())
    await asyncio.sleep(0.03)
    await kept.get("b", Counted())
    assert len(kept) == 2
    await asyncio.sleep(0.2)
    assert (len(kept), kept.bytes) == (0, 0)


# --- computed once ----------------------------------------------------------------------------------------------------


async def test_those_who_ask_at_once_share_one_computation(clock: Clock) -> None:
    kept, compute = Kept(Limits(), clock), Counted(waits=True)
    tasks = [await waiting(kept, "a", compute) for _ in range(5)]
    other = await waiting(kept, "b", Counted())
    assert await other is False
    compute.go.set()
    assert await asyncio.gather(*tasks) == [False, True, True, True, True]
    assert (compute.begun, compute.ended) == (1, 1)


async def test_when_the_one_that_began_is_cancelled_the_others_still_get_it(clock: Clock) -> None:
    kept, compute = Kept(Limits(), clock), Counted(waits=True)
    first, second = [await waiting(kept, "a", compute) for _ in range(2)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    compute.go.set()
    assert await second is True
    assert (compute.begun, compute.ended, compute.cancelled) == (1, 1, 0)
    assert await spared(kept, "a", Counted())


async def test_when_all_are_cancelled_the_computation_ends_and_the_next_begins_anew(clock: Clock) -> None:
    kept, compute = Kept(Limits(), clock), Counted(waits=True)
    tasks = [await waiting(kept, "a", compute) for _ in range(2)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    # Before the cancelled computation has had its turn.
    again = Counted()
    assert await spared(kept, "a", again) is False
    await asyncio.sleep(0)
    assert (compute.cancelled, compute.ended, again.ended) == (1, 0, 1)
    assert await spared(kept, "a", Counted()), "the cancelled one took nothing of the new one away"


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(clock: Clock) -> None:
    kept, compute = Kept(Limits(), clock), Counted(waits=True, error=ModelFailed("depth: broke"))
    tasks = [await waiting(kept, "a", compute) for _ in range(3)]
    compute.go.set()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(failure) for failure in failures] == ["depth: broke"] * 3
    assert compute.begun == 1
    assert (len(kept), await spared(kept, "a", Counted())) == (0, False)


async def test_what_is_handed_out_cannot_be_changed_and_is_no_view_of_a_models_memory(clock: Clock) -> None:
    memory = np.arange(6, dtype=np.float32).reshape(2, 3)

    async def compute() -> list[NDArray[np.float32]]:
        return [memory.T]

    kept = Kept(Limits(), clock)
    (first,), _ = await kept.get("a", compute)
    memory[:] = -1.0
    (second,), again = await kept.get("a", compute)
    assert again
    np.testing.assert_array_equal(second, np.arange(6).reshape(2, 3).T)
    for array in (first, second):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


# --- who may have it --------------------------------------------------------------------------------------------------

PHOTO = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class CountingModels:
    """Answers every call with its number."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def __call__(self, model: str, outputs: tuple[str, ...], **tensors: np.ndarray) -> list[np.ndarray]:
        self.calls.append(model)
        return [np.array([len(self.calls)]) for _ in outputs]


Ask = Callable[..., Awaitable[bool]]


@pytest.fixture
def ask() -> Ask:
    """Whether a job of a photo gets its depth for nothing. All jobs are of one process."""
    kept, models = Kept(Limits()), CountingModels()

    async def depth_is_spared(
        photo: np.ndarray = PHOTO, photo_id: str = "p", release: str = "tiny-1"
    ) -> bool:
        before = len(models.calls)
        job = Reusing(models, kept, photo_id, release)
        await job("depth", ("depth",), image=photo)
        assert job.reused == (["depth"] if len(models.calls) == before else [])
        return bool(job.reused)

    return depth_is_spared


async def test_a_second_job_of_a_photo_is_spared(ask: Ask) -> None:
    assert [await ask(), await ask(PHOTO.copy())] == [False, True]


async def test_a_new_version_of_a_release_never_gets_what_an_old_one_found(ask: Ask) -> None:
    assert [await ask(), await ask(release="tiny-2"), await ask(release="tiny-2")] == [False, False, True]


async def test_a_photo_whose_id_was_forgotten_is_looked_at_anew(ask: Ask) -> None:
    assert [await ask(), await ask(photo_id="q"), await ask(photo_id="q")] == [False, False, True]


async def test_nothing_is_kept_without_an_id(ask: Ask) -> None:
    assert [await ask(photo_id=""), await ask(photo_id=""), await ask()] == [False, False, False]


@pytest.mark.parametrize(
    "other",
    [PHOTO + 1, PHOTO.reshape(2, 8, 3), PHOTO.view(np.int8), PHOTO.transpose(1, 0, 2)],
    ids=["content", "shape", "type", "order"],
)
async def test_an_id_does_not_make_photos_equal(ask: Ask, other: np.ndarray) -> None:
    assert [await ask(), await ask(other)] == [False, False]


async def test_parts_have_names_for_people() -> None:
    kept, models = Kept(Limits()), CountingModels()
    for expected in ([], ["edges", "lines", "objects", "photo_latents", "text"]):
        job = Reusing(models, kept, "p", "tiny-1")
        await job("edges", ("edges",), image=PHOTO)
        await job("edges", ("lines",), image=PHOTO)
        await job("detector", ("boxes", "scores", "labels"), image=PHOTO)
        await job("text_encoder", ("hidden_states",), input_ids=PHOTO)
        await job("vae_encoder", ("latents",), image=PHOTO)
        assert job.reused == expected
    assert len(models.calls) == 5


# --- settings ---------------------------------------------------------------------------------------------------------


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MEGABYTES, SECONDS):
        monkeypatch.delenv(name, raising=False)
    assert limits_from_environment() == Limits()
    monkeypatch.setenv(MEGABYTES, "0")
    monkeypatch.setenv(SECONDS, "60")
    assert limits_from_environment() == Limits(bytes=0, unused=60.0)
    monkeypatch.setenv(SECONDS, "")
    assert limits_from_environment().unused == Limits().unused


@pytest.mark.parametrize("text", ["-1", "many", "1.5"])
def test_a_wrong_limit_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(MEGABYTES, text)
    with pytest.raises(ValueError, match=f"{MEGABYTES} must be a whole number, 0 or more, not '{text}'"):
        limits_from_environment()
