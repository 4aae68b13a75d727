"""What a job will cost the models, as the API estimates it when it is submitted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec

from orchestrator.domain.preferences import Preferences
from orchestrator.ports import Inference, Unavailable
from orchestrator.services.running.translation import max_strength

PATIENCE_SECONDS = 0.5
"""How long the first submission waits for the models to say what pictures cost."""

PAUSE_SECONDS = 10.0
"""Seconds until they are asked again when they did not say."""

USUAL = 1.0
"""The cost of a picture of the default quality, and of every job as long as nothing is known."""


NEARLY_FREE = 1.1
"""How much longer the steps of a batch may take than those of one picture for all to begin at once."""


class Estimate(msgspec.Struct, frozen=True):
    """What pictures of one photo that are submitted together cost."""

    first: float = USUAL
    later: float = USUAL
    """Each further one, which is spared what the models find in the photo."""
    hold: bool = True
    """Whether the later ones wait for the first: where a batch takes longer than a single picture, the first would come
    later beside them."""


class Costs:
    """Costs by what the models say; ``/health`` asks them, and so does a submission that nothing is known for."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._ask_at = 0.0

    async def estimate(
        self, preferences: Preferences, height: int, width: int, pictures: int = 1
    ) -> Estimate:
        """Of so many pictures of a photo of that size; 1 = one of the default quality, also where the models do not
        say."""
        if self._inference.work_table() is None and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + PAUSE_SECONDS
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._inference.ping()
        table = self._inference.work_table()
        if table is None:
            return Estimate()
        work = table.work(
            height,
            width,
            quality=preferences.quality,
            steps=preferences.steps,
            strength=preferences.strength,
            max_strength=max_strength(preferences),
            guidance_scale=preferences.guidance_scale,
        )
        batch = 1.0 + (min(pictures, work.most) - 1) * (1.0 - work.shared)
        return Estimate(
            first=round(work.cost, 4),
            later=round(work.cost - work.seen, 4),
            hold=batch > NEARLY_FREE or pictures > work.most,
        )
