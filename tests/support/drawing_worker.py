"""The worker's own program, with a model in the place of Triton that draws: ``python drawing_worker.py``, settings as
usual. Its pictures are the photo in other colours, and its previews real JPEGs, so that a browser can show them.

What becomes of a job is chosen by its seed, one of :mod:`tests.support.scripted_worker`'s, or ``SLOW``."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orchestrator import worker
from orchestrator.adapters.opening import Adapters, open_adapters
from orchestrator.adapters.triton import InferencePool
from orchestrator.settings import Settings
from reroom.triton import Preview, RestyleEvent, RestyleRequest, Result, Step
from tests.support.fakes import a_script
from tests.support.scripted_worker import ALWAYS_BREAKS, HANGS, IS_REFUSED, TRITON, ScriptedModel

STEPS, PAUSE, SLOW = 8, 0.04, 99
"""``SLOW`` is a seed whose steps take ten times as long as ``PAUSE`` seconds."""
TINT = np.array([0.55, 0.8, 1.0])


class DrawingModel(ScriptedModel):
    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        if request.seed in (IS_REFUSED, ALWAYS_BREAKS, HANGS):
            async for event in super().restyle(request):
                if not isinstance(event, Preview):
                    yield event
            return
        target = (request.image * TINT).astype(np.uint8)
        pause = PAUSE * (10 if request.seed == SLOW else 1)
        for line in a_script(STEPS):
            match line:
                case Step(step=step, progress=progress):
                    await asyncio.sleep(pause)
                    yield line
                    share = step / STEPS
                    mixed = (request.image * (1 - share) + target * share).astype(np.uint8)
                    yield Preview(step=step, jpeg=small_jpeg(mixed), progress=progress)
                case Preview() | Exception() | float():
                    pass
                case Result():
                    yield _showing(line, target, request.seed)
                case _:
                    yield line


def _showing(result: Result, image: NDArray[np.uint8], seed: int | None) -> Result:
    return msgspec.structs.replace(result, image=image, seed=7 if seed is None else seed)


def small_jpeg(image: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(image)
    picture.thumbnail((256, 256))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=70)
    return out.getvalue()


@asynccontextmanager
async def drawing(settings: Settings) -> AsyncIterator[Adapters]:
    pool = InferencePool({TRITON: DrawingModel()})
    async with open_adapters(settings) as adapters:
        yield dataclasses.replace(adapters, inference=pool)
    await pool.aclose()


if __name__ == "__main__":
    worker.__dict__["open_adapters"] = drawing
    sys.exit(worker.main())
