"""Makes the pictures of users' jobs again by both releases of a trial, when nobody else needs the models.

Both are made here, one after the other in an order that is left to chance, although the user's picture was made by one
of them: only then did both do the same work on an idle machine, so that their times can be compared. Nobody is charged,
and no event tells of it. What waits is kept in memory: it is lost with the process, as a sample may be.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

import msgspec

from orchestrator.domain.comparing import Made, Measured, made_of, measured, pair_sums, tried_sums
from orchestrator.domain.job import RESULTS, Job, JobState
from orchestrator.domain.releases import Canary, ReleaseVersion
from orchestrator.photos import pictures
from orchestrator.ports import (
    UNAVAILABLE,
    CanaryStore,
    Inference,
    InferenceError,
    JobNotFound,
    JobStore,
    Noted,
    Pair,
    Rollouts,
    Storage,
    Unavailable,
)
from orchestrator.services.releases.following import FollowedRollouts
from orchestrator.services.releases.judges import Judge, is_fault, outage_at
from reroom.triton import RestyleRequest

MOST = 4
"""Jobs that wait in one worker, of some 12 MB each. The newest stay."""
LIFE = 1800.0
"""Seconds after which one that waits is dropped."""
LOOK = 1.0
"""Seconds between two looks whether the models are idle."""
WATCH = 0.25
"""Seconds between two looks whether they still are. A picture stops within a step."""
LONGEST = 600.0
"""Seconds that a pair may take."""
INTERRUPTIONS = 3
"""How often users' jobs may interrupt a pair before it is dropped."""
SIDE = 512
"""Pixels of the pictures that are kept for the report."""
PHOTO, LIVE, CANARY = "photo", "live", "canary"

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Twin(NamedTuple):
    """A job whose picture is to be made again by both."""

    canary: Canary
    live: int
    job: Job
    asked: RestyleRequest
    """Without a release, with the seed of the user's picture."""


class _Interrupted(Exception):
    """Somebody needs the models."""


class Shadows:
    """Of one worker. ``name`` is the worker's."""

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        inference: Inference,
        rollouts: Rollouts,
        following: FollowedRollouts,
        canaries: CanaryStore,
        judge: Judge,
        *,
        name: str,
        look: float = LOOK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._storage, self._inference = store, storage, inference
        self._rollouts, self._following, self._canaries, self._judge = rollouts, following, canaries, judge
        self._name, self._look, self._clock = name, look, clock
        self._waiting: deque[tuple[float, int, Twin]] = deque(maxlen=MOST)
        """When it was offered, and how often it was interrupted."""
        self._offered = asyncio.Event()
        self._version: tuple[str, ReleaseVersion | None] = ("", None)

    def offer(self, twin: Twin) -> None:
        self._waiting.append((time.monotonic(), 0, twin))
        self._offered.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._offered.wait()
            try:
                await self._next()
            except Unavailable as error:
                _log.info("a pair waits: %s", error)
                await asyncio.sleep(self._look)
            except Exception:
                _log.exception("a pair was not made")
            if not self._waiting:
                self._offered.clear()

    async def _next(self) -> None:
        if not await self._idle() or not await self._served():
            await asyncio.sleep(self._look)
            return
        since, interrupted, twin = self._waiting[-1]
        if not await self._wanted(twin, since):
            self._drop(since)
        elif not await self._canaries.take_turn(twin.canary.id, self._name, LONGEST):
            await asyncio.sleep(self._look)
        else:
            self._drop(since)
            try:
                await self._while_idle(self._pair(twin))
            except _Interrupted:
                if interrupted + 1 < INTERRUPTIONS and len(self._waiting) < MOST:
                    self._waiting.appendleft((since, interrupted + 1, twin))
                    self._offered.set()
            finally:
                await self._canaries.end_turn(twin.canary.id, self._name)

    def _drop(self, since: float) -> None:
        self._waiting = deque((each for each in self._waiting if each[0] != since), maxlen=MOST)

    async def _idle(self) -> bool:
        stats = await self._store.stats()
        return stats.waiting == 0 and stats.running == 0

    async def _served(self) -> bool:
        """Whether the models can be asked: if they go away then, it is the release that they are asked for."""
        try:
            await self._inference.ping()
        except Unavailable:
            return False
        return True

    async def _wanted(self, twin: Twin, since: float) -> bool:
        """Whether the trial still runs, and the job was not erased."""
        now = await self._following.now()
        if time.monotonic() - since > LIFE or now.canary is None or now.canary.id != twin.canary.id:
            return False
        return await self._exists(twin.job)

    async def _exists(self, job: Job) -> bool:
        try:
            return (await self._store.get(job.id)).status is JobState.COMPLETED
        except JobNotFound:
            return False

    async def _while_idle(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises _Interrupted as soon as a user's job needs the models, and Unavailable when that cannot be told."""
        task = asyncio.create_task(work)
        try:
            async with asyncio.timeout(LONGEST):
                while True:
                    done, _ = await asyncio.wait([task], timeout=WATCH)
                    if done:
                        return task.result()
                    if not await self._idle():
                        raise _Interrupted
        except TimeoutError:
            raise _Interrupted from None
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _pair(self, twin: Twin) -> None:
        version = twin.canary.version
        canary = None if random.random() < 0.5 else await self._make(twin, version)
        live = await self._make(twin, twin.live)
        if isinstance(live, InferenceError):
            _log.info("job %s: no pair: %s", twin.job.id, live)
            if isinstance(canary, InferenceError) and is_fault(canary) and live.code == UNAVAILABLE:
                await self._note_outage(twin)
            return
        canary = canary or await self._make(twin, version)
        if isinstance(canary, InferenceError) and not is_fault(canary):
            _log.info("job %s: no pair: %s", twin.job.id, canary)
            return
        await self._note(twin, live, canary)

    async def _make(self, twin: Twin, version: int) -> Made | InferenceError:
        asked = msgspec.structs.replace(twin.asked, release=version)
        try:
            async with aclosing(self._inference.restyle(asked)) as stream:
                made = await made_of(stream)
        except InferenceError as error:
            return error
        return made or InferenceError("model_error", "The model ended without a result.", retryable=True)

    async def _note_outage(self, twin: Twin) -> None:
        """The models went away while the release on trial made its picture, and the live one cannot be had."""
        if twin.canary.mode == "shadow":
            outage = outage_at(self._clock())
            noted = Noted(id=f"{twin.job.id}:pair", sums=tried_sums(UNAVAILABLE), outage=outage)
            await self._judge.note(twin.canary, twin.live, noted)

    async def _note(self, twin: Twin, live: Made, canary: Made | InferenceError) -> None:
        one = measured(*live)
        other = Measured(failure=canary.code) if isinstance(canary, InferenceError) else measured(*canary)
        version = await self._version_of(twin.canary)
        budget = None
        if version is not None and other.failure is None:
            budget = version.budget(other.tier, self._inference.devices())
        sums, outage = pair_sums(one, other, budget), ""
        if twin.canary.mode == "shadow":
            # Those that users got count already.
            sums |= tried_sums(other.failure)
            if isinstance(canary, InferenceError) and canary.code == UNAVAILABLE:
                outage = outage_at(self._clock())
        pair = Pair(
            job_id=twin.job.id,
            at=self._clock(),
            style=twin.job.style,
            live=one,
            canary=other,
            pictures=await self._keep(twin, live, canary),
        )
        noted = Noted(id=f"{twin.job.id}:pair", sums=sums, pair=pair, outage=outage)
        await self._judge.note(twin.canary, twin.live, noted)

    async def _version_of(self, canary: Canary) -> ReleaseVersion | None:
        """What was published of the version on trial; read once for each trial."""
        if self._version[0] != canary.id:
            found = {each.version: each for each in await self._rollouts.versions()}
            self._version = (canary.id, found.get(canary.version))
        return self._version[1]

    async def _keep(self, twin: Twin, live: Made, canary: Made | InferenceError) -> dict[str, str]:
        """Store small pictures beside the job's own, with which they go; returns their keys."""
        images = {PHOTO: twin.asked.image, LIVE: live.result.image}
        if not isinstance(canary, InferenceError):
            images[CANARY] = canary.result.image
        folder = f"{RESULTS}{twin.job.id}/{twin.canary.id}/"
        keys = {}
        for name, image in images.items():
            keys[name] = f"{folder}{name}.jpg"
            await self._storage.put(
                keys[name], await asyncio.to_thread(pictures.small, image, SIDE), "image/jpeg"
            )
        if not await self._exists(twin.job):
            # It was erased meanwhile.
            await self._storage.delete_prefix(folder)
            return {}
        return keys
