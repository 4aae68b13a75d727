"""Jobs that run while releases come and go, and what the pictures say of them.

All are of the same photo and seed, so a version makes one picture: a picture tells which version made it, and one that
is neither's was mixed.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from reroom import AsyncClient, ReroomError
from stack.triton import ROOT

EVERY_SECONDS = 0.6
"""A job is submitted that often, whatever became of those before: about half of what two cores can do."""
PATIENCE = 180.0
"""Seconds that a job, or a change, may take."""


@dataclass(frozen=True)
class Ran:
    """A job."""

    submitted: float
    """By ``time.monotonic``."""
    seconds: float
    release: str
    picture: str
    attempts: int = 1
    error: str = ""


@dataclass
class Load:
    """Jobs so far."""

    ran: list[Ran] = field(default_factory=list)
    resting: bool = False
    """Whether none is submitted now."""

    def between(self, begin: float, end: float) -> list[float]:
        """Seconds of the jobs that ran at some time between the two moments."""
        return [
            each.seconds
            for each in self.ran
            if not each.error and each.submitted <= end and each.submitted + each.seconds >= begin
        ]


def small_photo() -> bytes:
    """A JPEG of 160 × 120: what takes time is all but the picture."""
    image = Image.open(ROOT / "stack" / "room.jpg")
    image.thumbnail((160, 120))
    photo = io.BytesIO()
    image.save(photo, "JPEG", quality=90)
    return photo.getvalue()


async def one_job(client: AsyncClient, photo: bytes) -> Ran:
    """Submit a job, and wait for its picture. What fails is said in ``error``."""
    began, release, picture, attempts, error = time.monotonic(), "", "", 1, ""
    try:
        job = await client.submit(photo, "modern", {"seed": 7, "steps": 2})
        done = await client.wait(job, timeout=PATIENCE)
        assert done.result is not None
        release, attempts = str(done.result.metadata.get("release")), done.attempts
        took = time.monotonic() - began
        with Image.open(io.BytesIO(await client.picture(done))) as opened:
            picture = hashlib.sha256(np.asarray(opened.convert("RGB")).tobytes()).hexdigest()[:12]
    except (ReroomError, AssertionError) as failed:
        took, error = time.monotonic() - began, repr(failed)
    return Ran(began, took, release, picture, attempts, error)


@asynccontextmanager
async def jobs_running(url: str, photo: bytes, every: float = EVERY_SECONDS) -> AsyncIterator[Load]:
    """Within the block a job is submitted every so many seconds, unless they rest; at its end all have ended."""
    load, done = Load(), asyncio.Event()

    async def submit_on(client: AsyncClient) -> None:
        async def run() -> None:
            load.ran.append(await one_job(client, photo))

        async with asyncio.TaskGroup() as jobs:
            while not done.is_set():
                if not load.resting:
                    jobs.create_task(run())
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), every)

    async with AsyncClient(url) as client:
        submitting = asyncio.create_task(submit_on(client))
        try:
            yield load
        finally:
            done.set()
            await submitting


async def until(condition: Callable[[], bool], what: Callable[[], object]) -> float:
    """When it became true. Raises TimeoutError, which says ``what``."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(str(what()))
        await asyncio.sleep(0.01)
    return time.monotonic()


def pictures_of(ran: Sequence[Ran]) -> dict[str, set[str]]:
    """The different pictures of each release."""
    found: dict[str, set[str]] = {}
    for each in ran:
        if not each.error:
            found.setdefault(each.release, set()).add(each.picture)
    return found


def mixed(pictures: dict[str, set[str]]) -> int:
    """How many pictures are too many: with one for each release, and different ones, none was mixed."""
    whole = {name: next(iter(found)) for name, found in pictures.items() if len(found) == 1}
    more = sum(len(found) - 1 for found in pictures.values())
    return more + len(whole) - len(set(whole.values()))
