"""The worker's own program, with a model in the place of Triton that draws: ``python drawing_worker.py``, settings as
usual. Its pictures are the photo in other colours, those of the reference if there is one, but for what is to be kept.
Its previews are real JPEGs, so that a browser can show them. What it sees in every photo is what is in the page's
sample room.

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
from reroom.triton import PhotoAnalysis, Preview, RestyleEvent, RestyleRequest, Result, Step
from tests.support.fakes import a_script, an_analysis
from tests.support.scripted_worker import ALWAYS_BREAKS, HANGS, IS_REFUSED, TRITON, ScriptedModel

STEPS, PAUSE, SLOW = 8, 0.04, 99
"""``SLOW`` is a seed whose steps take ten times as long as ``PAUSE`` seconds."""
TINT = np.array([0.55, 0.8, 1.0])
THINGS = {
    "couch#1": (0.63, 0.635, 1.0, 1.0), "coffee table#1": (0.31, 0.72, 0.56, 1.0),
    "shelf#1": (0.33, 0.365, 0.475, 0.665),
    "window#1": (0.15, 0.29, 0.255, 0.535), "potted plant#1": (0.51, 0.475, 0.625, 0.69),
    "picture#1": (0.675, 0.305, 0.785, 0.455), "picture#2": (0.895, 0.215, 1.0, 0.58),
    "cushion#1": (0.72, 0.63, 0.805, 0.8), "vase#1": (0.45, 0.705, 0.485, 0.785),
}  # fmt: skip
"""What it sees, and where."""


class DrawingModel(ScriptedModel):
    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        if request.seed in (IS_REFUSED, ALWAYS_BREAKS, HANGS):
            async for event in super().restyle(request):
                if not isinstance(event, Preview):
                    yield event
            return
        tint = TINT if request.reference is None else request.reference.mean((0, 1)) / 255
        target = np.where(kept(request)[..., None], request.image, (request.image * tint).astype(np.uint8))
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

    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        height, width = photo.shape[:2]
        objects = [
            {"label": name.partition("#")[0], "name": name, "score": 0.9, "box": list(box)}
            for name, box in THINGS.items()
        ]
        return msgspec.structs.replace(an_analysis(96, 96 * width // height), objects=objects)


def kept(request: RestyleRequest) -> NDArray[np.bool_]:
    """What stays as photographed, [H, W]: what is painted or named, and all but what is named to change."""
    height, width = request.image.shape[:2]
    stays = np.full((height, width), bool(request.change))
    for names, value in ((request.change, False), (request.keep, True)):
        for name in names:
            left, top, right, bottom = THINGS[name]
            rows = slice(round(top * height), round(bottom * height))
            stays[rows, round(left * width) : round(right * width)] = value
    return stays if request.keep_mask is None else stays | (request.keep_mask > 127)


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
