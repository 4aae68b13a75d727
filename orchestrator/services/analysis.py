"""Analysing a photo without restyling it. There is no job, and nothing is stored."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
from msgspec import Meta

from orchestrator.domain.result import SeenObject
from orchestrator.photos import pictures
from orchestrator.ports import Inference
from reroom.triton import PhotoAnalysis

WAIT_SECONDS = 5.0
"""Seconds that an analysis may wait for others to end."""

MODEL_SECONDS = 15.0
"""Seconds that the model may take. Together with the wait they are less than REROOM_ANSWER_SECONDS."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a photo, as the API shows them. In JSON, bytes are base64."""

    width: int
    height: Annotated[
        int, Meta(description="width and height are those of the pictures; the aspect is the photo's")
    ]
    objects: list[SeenObject]
    room_type: Annotated[str, Meta(description='"unknown" when too little speaks for a kind of room')]
    room_confidence: Annotated[
        float, Meta(ge=0, le=1, description='How sure room_type is; 0 when it is "unknown"')
    ]
    depth_png: Annotated[bytes, Meta(description="A PNG in base64, 8-bit grey, white = near")]
    edges_png: Annotated[bytes, Meta(description="A PNG in base64, 8-bit grey, white on black")]
    release: Annotated[str, Meta(description="The release whose models looked")]
    processing_time: Annotated[float, Meta(description="Seconds, without the wait for other analyses")]


class TooBusy(Exception):
    """Other photos are being analysed, and none of them ended within WAIT_SECONDS."""


class TooSlow(Exception):
    """The model did not answer within its time."""


class AnalysisService:
    """Analyses photos, at most ``at_once`` at a time, so that the models keep most of their time for jobs.

    An analysis that has begun goes on to its end, or for ``seconds``, even when its client has gone, and counts for
    that time. Each of its networks runs only once, so stopping it would save little, and Triton 2.51 crashes when short
    requests are cancelled just as they end (some hundreds were enough).

    ``wait`` and ``seconds`` are WAIT_SECONDS and MODEL_SECONDS.
    """

    def __init__(
        self,
        inference: Inference,
        at_once: int,
        *,
        wait: float = WAIT_SECONDS,
        seconds: float = MODEL_SECONDS,
    ) -> None:
        self._inference = inference
        self._slots = asyncio.Semaphore(at_once)
        self._wait, self._seconds = wait, seconds
        self._running: set[asyncio.Task[Analysis]] = set()

    async def analyse(self, jpeg: bytes) -> Analysis:
        """The contents of a photo that has passed the gate. Raises TooBusy, TooSlow and InferenceError."""
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            raise TooBusy(f"other photos were being analysed for {self._wait:g} s") from None
        task = asyncio.create_task(self._analyse(jpeg))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Analysis]) -> None:
        self._running.discard(task)
        self._slots.release()
        if not task.cancelled():
            task.exception()  # retrieved here, since the caller may have stopped waiting

    async def _analyse(self, jpeg: bytes) -> Analysis:
        began = time.monotonic()
        photo = await asyncio.to_thread(pictures.decode, jpeg)
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._inference.analyse(photo)
        except TimeoutError:
            raise TooSlow(f"the model did not answer within {self._seconds:g} s") from None
        depth, edges = await asyncio.to_thread(_pngs, found)
        height, width = found.depth.shape
        return Analysis(
            width=width,
            height=height,
            objects=msgspec.convert(found.objects, list[SeenObject]),
            room_type=found.room_type,
            room_confidence=found.room_confidence,
            depth_png=depth,
            edges_png=edges,
            release=found.release,
            processing_time=round(time.monotonic() - began, 3),
        )


def _pngs(found: PhotoAnalysis) -> tuple[bytes, bytes]:
    return pictures.png(found.depth), pictures.png(found.edges)
