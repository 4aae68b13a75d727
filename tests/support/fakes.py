"""Small real implementations of ports whose servers a test does not need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from orchestrator.adapters.storage.common import check_key, check_prefix
from orchestrator.domain.cost import WorkTable
from orchestrator.ports import (
    Inference,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageStats,
    Unavailable,
    UploadLink,
)
from reroom.triton import Analysis, PhotoAnalysis, Preview, RestyleEvent, RestyleRequest, Result, Stage, Step

Line = RestyleEvent | Exception | float
"""A line of a script: an event, an error, or a pause in seconds."""


def a_script(steps: int = 4, pause: float = 0.0) -> list[Line]:
    """A whole restyle, as the model reports it, with a pause before every step."""
    script: list[Line] = [
        Stage(name="analyzing", progress=0.0),
        Analysis(
            objects=[{"label": "bed", "score": 0.9, "box": [0, 0, 1, 1]}],
            room_type="bedroom",
            room_confidence=0.9,
            progress=0.1,
        ),
        Stage(name="generating", progress=0.1),
        Stage(name="transforming", progress=0.2),
    ]
    for step in range(1, steps + 1):
        progress = 0.2 + 0.7 * step / steps
        script += [pause, Step(step=step, of=steps, progress=progress)]
    script += [
        Preview(step=steps, jpeg=b"\xff\xd8jpeg", progress=0.9),
        Stage(name="finalizing", progress=0.9),
    ]
    return [*script, a_result()]


def a_result(seed: int = 7) -> Result:
    return Result(
        image=np.full((48, 64, 3), 90, np.uint8),
        seed=seed,
        quality={
            "edge_agreement": 0.8, "depth_agreement": 0.9, "sharpness": 1.0, "contrast": 0.8, "exposure": 0.5,
            "cleanliness": 1.0, "changed": 0.9, "score": 0.85,
        },
        attempts=1,
        prompt_truncated=False,
        timings={"denoise": 1.5},
        release="tiny-1",
    )  # fmt: skip


def an_analysis(height: int = 48, width: int = 64) -> PhotoAnalysis:
    ramp = np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)
    return PhotoAnalysis(
        depth=ramp,
        edges=((ramp % 2) * 255).astype(np.uint8),
        objects=[{"label": "bed", "score": 0.9, "box": [0.0, 0.25, 0.5, 1.0]}],
        room_type="bedroom",
        room_confidence=0.9,
        release="tiny-1",
    )


class FakeInference(Inference):
    """Plays its scripts, one a request, the last one again and again. Records its requests and events.

    A photo that it is to look at takes ``looking`` seconds, and then comes to ``analysed``, which may be an error.
    """

    def __init__(self, *scripts: Iterable[Line]) -> None:
        self._scripts = [list(script) for script in scripts]
        self.requests: list[RestyleRequest] = []
        self.sent: list[RestyleEvent] = []
        self.closed = 0
        self.ready = True
        self.run_on: frozenset[str] = frozenset()
        self.table: WorkTable | None = None
        self.has: frozenset[int] | None = None
        """The releases that a request may name."""
        self.looking = 0.0
        self.analysed: PhotoAnalysis | Exception = an_analysis()
        self.photos: list[NDArray[np.uint8]] = []
        self.looks_at_once = self.most_looks_at_once = self.looks_cancelled = 0

    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(request)
        try:
            for line in script:
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, float):
                    await asyncio.sleep(line)
                else:
                    self.sent.append(line)
                    yield line
        finally:
            self.closed += 1

    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        self.photos.append(photo)
        self.looks_at_once += 1
        self.most_looks_at_once = max(self.most_looks_at_once, self.looks_at_once)
        try:
            await asyncio.sleep(self.looking)
        except asyncio.CancelledError:
            self.looks_cancelled += 1
            raise
        finally:
            self.looks_at_once -= 1
        if isinstance(self.analysed, Exception):
            raise self.analysed
        return self.analysed

    async def ping(self) -> None:
        if not self.ready:
            raise Unavailable("the fake model is away")

    def devices(self) -> frozenset[str]:
        return self.run_on

    def releases(self) -> frozenset[int] | None:
        return self.has

    def work_table(self) -> WorkTable | None:
        return self.table


class MemoryStorage(Storage):
    """Objects in a dict, and when they were written. ``outages`` is how many of the next calls fail."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.written: dict[str, float] = {}
        self.outages = 0

    def _answer(self) -> None:
        if self.outages > 0:
            self.outages -= 1
            raise Unavailable("the fake storage is away")

    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        check_key(key)
        self._answer()
        if not overwrite and self.objects.get(key, data) != data:
            raise ObjectExists(key)
        self.objects[key] = data
        self.written[key] = time.time()

    async def get(
        self, key: str, *, limit: int | None = None, count_bytes: Callable[[int], None] | None = None
    ) -> bytes:
        check_key(key)
        self._answer()
        try:
            data = self.objects[key]
        except KeyError:
            raise ObjectNotFound(key) from None
        if limit is not None and len(data) > limit:
            raise ObjectTooLarge(key)
        if count_bytes is not None:
            count_bytes(len(data))
        return data

    async def delete_prefix(self, prefix: str) -> int:
        check_prefix(prefix)
        self._answer()
        keys = [key for key in self.objects if key.startswith(prefix)]
        for key in keys:
            del self.objects[key]
        return len(keys)

    async def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        check_prefix(prefix)
        self._answer()
        for key in [key for key in self.objects if key.startswith(prefix)]:
            if self.written[key] < time.time() - seconds:
                yield key

    async def url(self, key: str, expires_in: int) -> str:
        return f"http://memory/{check_key(key)}?expires_in={expires_in}"

    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        return UploadLink(
            url=f"http://memory/{check_key(key)}?size={size}", headers={"Content-Type": content_type}
        )

    async def stats(self) -> StorageStats:
        return StorageStats(objects=len(self.objects), bytes=sum(map(len, self.objects.values())))

    async def ping(self) -> None:
        self._answer()
