"""The worker's own program, with a scripted model in the place of Triton: ``python scripted_worker.py``, settings as
usual. What becomes of a job is chosen by its seed, one of this file's constants."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from orchestrator import worker
from orchestrator.adapters.opening import Adapters, open_adapters
from orchestrator.adapters.triton import InferencePool
from orchestrator.ports import InferenceError
from orchestrator.settings import Settings
from reroom.triton import RestyleEvent, RestyleRequest, Step
from tests.support.fakes import FakeInference, a_script

COMPLETES, IS_REFUSED, ALWAYS_BREAKS, BREAKS_ONCE, HANGS, SURPRISES = range(6)
STEPS, PREVIEWS, MODEL_SECONDS = 4, 1, 1.5
"""What a completed attempt reports."""
SECRET = "a message that a library might have put a path into: /home/anna/bedroom.jpg"
TRITON = "fake:8001"


class ScriptedModel(FakeInference):
    def __init__(self) -> None:
        super().__init__(a_script(STEPS))
        self._seen: Counter[int | None] = Counter()

    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        self._seen[request.seed] += 1
        broken = request.seed == BREAKS_ONCE and self._seen[BREAKS_ONCE] == 1
        if request.seed == IS_REFUSED:
            raise InferenceError("invalid_request", "no such solver", retryable=False)
        if request.seed == ALWAYS_BREAKS or broken:
            raise InferenceError("model_error", "it broke", retryable=True)
        if request.seed == SURPRISES:
            raise RuntimeError(SECRET)
        async for event in super().restyle(request):
            yield event
            if request.seed == HANGS and isinstance(event, Step):
                await asyncio.Event().wait()


@asynccontextmanager
async def scripted(settings: Settings) -> AsyncIterator[Adapters]:
    pool = InferencePool({TRITON: ScriptedModel()})
    async with open_adapters(settings) as adapters:
        yield dataclasses.replace(adapters, inference=pool)
    await pool.aclose()


if __name__ == "__main__":
    worker.__dict__["open_adapters"] = scripted
    sys.exit(worker.main())
