"""A photo is decoded once for all children that need it at about the same time, and soon forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from orchestrator.services.running.photos_at_hand import MOST, Photo, PhotosAtHand


class Reading:
    """Counts the reads; each waits until it is let go, and fails when it is told to."""

    def __init__(self) -> None:
        self.count, self.error = 0, ""
        self.go = asyncio.Event()
        self.go.set()

    def __call__(self) -> Awaitable[Photo]:
        return self._read()

    async def _read(self) -> Photo:
        self.count += 1
        await self.go.wait()
        if self.error:
            raise OSError(self.error)
        return b"file", np.zeros((2, 2, 3), np.uint8)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  (a timer has no event)
            await asyncio.sleep(0.005)


async def test_those_who_ask_together_or_soon_after_share_one_read() -> None:
    photos, read = PhotosAtHand(0.2), Reading()
    read.go.clear()
    asking = [asyncio.create_task(photos.get("a", read)) for _ in range(3)]
    await until(lambda: read.count == 1)
    read.go.set()
    one, *others = await asyncio.gather(*asking)
    assert all(other is one for other in [*others, await photos.get("a", read)])
    assert (read.count, one[1].flags.writeable) == (1, False)
    await until(lambda: len(photos) == 0)
    await photos.get("a", read)
    assert read.count == 2


async def test_who_waits_for_one_that_fails_or_is_cancelled_reads_itself() -> None:
    photos, read = PhotosAtHand(), Reading()
    read.go.clear()
    first = asyncio.create_task(photos.get("a", read))
    await until(lambda: read.count == 1)
    second = asyncio.create_task(photos.get("a", read))
    await asyncio.sleep(0)
    first.cancel()
    await until(lambda: read.count == 2)
    third = asyncio.create_task(photos.get("a", read))
    await asyncio.sleep(0)
    read.error = "gone"
    read.go.set()
    for asking in (second, third):
        with pytest.raises(OSError, match="gone"):
            await asking
    assert (read.count, len(photos)) == (3, 0)


async def test_few_photos_are_kept() -> None:
    photos, read = PhotosAtHand(), Reading()
    for number in range(MOST + 2):
        await photos.get(str(number), read)
    assert len(photos) == MOST
    await photos.get(str(MOST + 1), read)
    assert read.count == MOST + 2
    await photos.get("0", read)
    assert read.count == MOST + 3


async def test_a_photo_that_is_being_read_is_kept_beside_others() -> None:
    photos, slow, read = PhotosAtHand(), Reading(), Reading()
    slow.go.clear()
    asking = [asyncio.create_task(photos.get("slow", slow)) for _ in range(2)]
    await until(lambda: slow.count == 1)
    for number in range(MOST + 1):
        await photos.get(str(number), read)
    assert len(photos) == MOST + 1
    slow.go.set()
    one, other = await asyncio.gather(*asking)
    assert (one is other, slow.count, len(photos)) == (True, 1, MOST)
