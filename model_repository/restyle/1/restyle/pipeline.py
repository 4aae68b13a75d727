"""A request → the stages in order, as a generator of what happened.

It knows neither Triton nor who listens: models are called through ``Models``, and a caller that stops iterating stops
the work.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np

from restyle.clock import Clock
from restyle.events import Event, Preview, Result, Stage, Step
from restyle.kept import Kept
from restyle.models import Models
from restyle.pictures.images import Floats
from restyle.prompt import Prompts
from restyle.release import Release
from restyle.request import MAX_CONTROL, Request
from restyle.result_warnings import result_warnings
from restyle.reuse import Reusing
from restyle.solver import Table
from restyle.stages.condition import Conditioning, condition
from restyle.stages.decode import decode
from restyle.stages.denoise import denoise
from restyle.stages.finish import deliver, finish
from restyle.stages.measure import MeasuredPicture, measure
from restyle.stages.preview import preview
from restyle.stages.see import SeenPhoto, analysis_of, see

STRONGER = 1.4
"""Factor on the control scales of a second attempt."""

# Where the stages lie on the way from 0 to 1; the steps take nearly all of the time.
GENERATING, TRANSFORMING, FINALIZING = 0.08, 0.12, 0.92


class Restyler:
    """Restyles photos with a release's models. ``kept`` has what they found in photos, for later jobs of them."""

    def __init__(self, release: Release, prompts: Prompts, models: Models, kept: Kept | None = None) -> None:
        self.release, self.prompts, self.models, self.kept = release, prompts, models, kept

    async def restyle(self, request: Request) -> AsyncGenerator[Event, None]:
        """Everything that happens, ending with one Result. Raises ModelFailed."""
        clock = Clock()
        clock.enter("analyzing")
        yield Stage("analyzing", 0.0)
        sparing = Reusing(self.models, self.kept, request.photo_id, self.release.name)
        seen = await see(request.image, self.release, sparing)
        yield await analysis_of(seen, self.release, GENERATING)
        clock.enter("generating")
        yield Stage("generating", GENERATING)
        conditioning = await condition(request, seen, self.release, self.prompts, sparing)
        table = self.release.table(request.solver, request.steps, request.strength, request.tier)
        best: MeasuredPicture | None = None
        for attempt in range(1, request.attempts + 1):
            async for event in self._attempt(request, seen, conditioning, table, attempt, clock):
                if not isinstance(event, MeasuredPicture):
                    yield event
                elif best is None or event.score > best.score:
                    best = event
            if best and best.score >= self.release.quality_threshold:
                break
            if (_control_scale(request, attempt + 1) == _control_scale(request, attempt)).all():
                break  # the same picture again
        assert best is not None
        clock.enter("finishing")
        pixels = await asyncio.to_thread(deliver, request, seen, best.picture)
        clock.enter("")
        yield self._result(request, conditioning, table, pixels, best.quality, attempt, sparing.reused, clock)

    async def _attempt(
        self,
        request: Request,
        seen: SeenPhoto,
        conditioning: Conditioning,
        table: Table,
        attempt: int,
        clock: Clock,
    ) -> AsyncIterator[Event | MeasuredPicture]:
        """From the first step to the measured picture, which is the last item."""
        first, last = _span(attempt, request.attempts)
        clock.enter("transforming")
        yield Stage("transforming", first)
        latents = conditioning.photo_latents
        scale = _control_scale(request, attempt)
        async for done in denoise(request, conditioning, table, scale, self.models):
            progress = round(first + (last - first) * done.step / done.of, 4)
            yield Step(done.step, done.of, progress)
            if request.preview_every and done.step % request.preview_every == 0 and done.step < done.of:
                jpeg = await preview(done.x0, seen.fit, self.release, self.models)
                yield Preview(done.step, jpeg, progress)
            latents = done.latents
        clock.enter("finalizing")
        yield Stage("finalizing", last)
        pixels = await decode(latents, request.tier.decoder, self.models)
        clock.enter("finishing")
        picture = await finish(request, seen, pixels)
        clock.enter("finalizing")
        yield await measure(seen, picture, self.release.labels, self.models)

    def _result(
        self,
        request: Request,
        conditioning: Conditioning,
        table: Table,
        pixels: Floats,
        quality: dict[str, float],
        attempts: int,
        reused: list[str],
        clock: Clock,
    ) -> Result:
        cuts, negative_cuts = conditioning.prompt_cuts, conditioning.negative_prompt_cuts
        return Result(
            pixels=pixels,
            seed=request.seed,
            quality=quality,
            attempts=attempts,
            prompt_truncated=bool(cuts or negative_cuts),
            warnings=result_warnings(request, cuts, negative_cuts, table),
            timings=clock.timings,
            release=self.release.name,
            solver=request.solver,
            steps=request.steps,
            strength=round(request.strength, 6),
            palette=request.palette,
            tier=request.tier.quality,
            reused=reused,
        )


def _span(attempt: int, attempts: int) -> tuple[float, float]:
    """Where an attempt's steps lie in the progress, which must never fall."""
    share = (FINALIZING - TRANSFORMING) / attempts
    return round(TRANSFORMING + share * (attempt - 1), 4), round(TRANSFORMING + share * attempt, 4)


def _control_scale(request: Request, attempt: int) -> Floats:
    """FP32 [2]; stronger with every attempt, up to MAX_CONTROL."""
    scale = np.array(request.control_scale) * STRONGER ** (attempt - 1)
    return np.minimum(scale, MAX_CONTROL).astype(np.float32)
