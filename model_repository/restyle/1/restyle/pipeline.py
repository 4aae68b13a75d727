"""A request → the stages in order, as a generator of what happened.

It knows neither Triton nor who listens: models are called through ``Models``, and a caller that stops iterating stops
the work.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from restyle.clock import Clock
from restyle.demands import TRIES, StructureLost, lost_sentence, shortfall
from restyle.events import Event, Preview, Result, Stage, Step
from restyle.kept import Kept
from restyle.models import Models
from restyle.pictures.images import Floats
from restyle.prompt import Prompts
from restyle.release import Release
from restyle.request import MAX_CONTROL, Request
from restyle.result_warnings import result_warnings
from restyle.reuse import Reusing
from restyle.solver import Column, Table
from restyle.stages.condition import Conditioning, condition
from restyle.stages.decode import decode
from restyle.stages.denoise import denoise
from restyle.stages.finish import deliver, finish
from restyle.stages.measure import MeasuredPicture, measure
from restyle.stages.preview import preview
from restyle.stages.see import SeenPhoto, analysis_of, see
from restyle.stages.select import Selection, select

STRONGER = 1.4
"""Factor on the control scales of a second attempt."""

SEED_STEP = 27_720 * 100_003 + 1
"""Between the seeds of attempts. 27,720 is a multiple of every number up to 12, so that of so many palettes each
attempt takes the next."""

# Where the stages lie on the way from 0 to 1; the steps take nearly all of the time.
GENERATING, TRANSFORMING, FINALIZING = 0.08, 0.12, 0.92


class Restyler:
    """Restyles photos with a release's models. ``kept`` has what they found in photos, for later jobs of them."""

    def __init__(self, release: Release, prompts: Prompts, models: Models, kept: Kept | None = None) -> None:
        self.release, self.prompts, self.models, self.kept = release, prompts, models, kept

    async def restyle(self, request: Request) -> AsyncGenerator[Event, None]:
        """Everything that happens, ending with one Result. Raises ModelFailed, and StructureLost where no picture meets
        the request's demands."""
        clock = Clock()
        clock.enter("analyzing")
        yield Stage("analyzing", 0.0)
        sparing = Reusing(self.models, self.kept, request.photo_id, self.release.name)
        seen = await see(request.image, self.release, sparing)
        yield await analysis_of(seen, self.release, GENERATING)
        selection = await select(request, seen, self.release, sparing)
        request = replace(request, keep_mask=selection.keep_mask)
        clock.enter("generating")
        yield Stage("generating", GENERATING)
        conditioning = await condition(request, seen, self.release, self.prompts, sparing)
        table = self.release.table(request.solver, request.steps, request.strength, request.tier)
        tries = max(request.attempts, TRIES if request.demands else 1)
        best, asked = None, request
        for attempt in range(1, tries + 1):
            span = _span(attempt, tries)
            async for event in self._attempt(asked, seen, conditioning, table, attempt, span, clock):
                if isinstance(event, MeasuredPicture):
                    made = _Made(asked, conditioning, event)
                    best = made if best is None or made.rank > best.rank else best
                else:
                    yield event
            assert best is not None
            if best.short <= 0 and (
                best.measured.score >= self.release.quality_threshold or attempt >= request.attempts
            ):
                break
            again = request.with_seed(next_seed(request.seed, attempt)) if request.demands else request
            if _same_picture(asked, again, attempt, table):
                break
            if again.prompt != asked.prompt:
                clock.enter("generating")
                conditioning = await condition(again, seen, self.release, self.prompts, sparing)
            asked = again
        assert best is not None
        if best.short > 0:
            raise StructureLost(lost_sentence(best.measured.quality, request.demands, attempt))
        clock.enter("finishing")
        pixels, enlarged_by = await deliver(request, seen, best.measured.picture, self.release, self.models)
        clock.enter("")
        # The seed of the request, by which all of this happens again.
        yield self._result(
            best, request.seed, selection, table, pixels, enlarged_by, attempt, sparing.reused, clock
        )

    async def _attempt(
        self,
        request: Request,
        seen: SeenPhoto,
        conditioning: Conditioning,
        table: Table,
        attempt: int,
        span: tuple[float, float],
        clock: Clock,
    ) -> AsyncIterator[Event | MeasuredPicture]:
        """From the first step to the measured picture, which is the last item. ``span``: where its steps lie in the
        progress."""
        first, last = span
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
        best: "_Made",
        seed: int,
        selection: Selection,
        table: Table,
        pixels: Floats,
        enlarged_by: str | None,
        attempts: int,
        reused: list[str],
        clock: Clock,
    ) -> Result:
        request = best.request
        cuts, negative_cuts = best.conditioning.prompt_cuts, best.conditioning.negative_prompt_cuts
        return Result(
            pixels=pixels,
            seed=seed,
            quality=best.measured.quality,
            attempts=attempts,
            prompt_truncated=bool(cuts or negative_cuts),
            warnings=result_warnings(request, cuts, negative_cuts, table, selection.unseen),
            timings=clock.timings,
            release=self.release.name,
            solver=request.solver,
            steps=request.steps,
            strength=round(request.strength, 6),
            palette=request.palette,
            palette_distance=best.measured.picture.palette_distance,
            reference_distance=best.measured.picture.reference_distance,
            tier=request.tier.quality,
            selection=_described(selection),
            enlarged_by=enlarged_by,
            reused=reused,
        )


def _described(selection: Selection) -> dict[str, Any] | None:
    """For the result; see :class:`restyle.events.Result`."""
    if selection.keep_mask is None:
        return None
    kept, changed = ([asdict(each) for each in objects] for objects in (selection.kept, selection.changed))
    return {"share": selection.share, "kept": kept, "changed": changed}


@dataclass(frozen=True)
class _Made:
    """A picture, and what it was made by."""

    request: Request
    conditioning: Conditioning
    measured: MeasuredPicture

    @property
    def short(self) -> float:
        """What the request's demands miss in it; at most 0 = nothing."""
        return shortfall(self.measured.quality, self.request.demands)

    @property
    def rank(self) -> tuple[float, float]:
        """The higher, the better: first what meets the demands, then what looks best."""
        return -max(0.0, self.short), self.measured.score


def next_seed(seed: int, attempt: int) -> int:
    """That of the attempt after ``attempt``, of a request with demands: the same each time, and far from the seeds next
    to the request's, which its sibling variations have."""
    return (seed + attempt * SEED_STEP) % 2**63


def _same_picture(before: Request, after: Request, attempt: int, table: Table) -> bool:
    """Whether the attempt after ``attempt`` would only repeat it."""
    noise = (table.start[1] and before.latents is None) or table.rows[:, Column.NOISE].any()
    return bool(
        (_control_scale(after, attempt + 1) == _control_scale(before, attempt)).all()
        and after.prompt == before.prompt
        and (after.seed == before.seed or not noise)
    )


def _span(attempt: int, attempts: int) -> tuple[float, float]:
    """Where an attempt's steps lie in the progress, which must never fall."""
    share = (FINALIZING - TRANSFORMING) / attempts
    return round(TRANSFORMING + share * (attempt - 1), 4), round(TRANSFORMING + share * attempt, 4)


def _control_scale(request: Request, attempt: int) -> Floats:
    """FP32 [2]; stronger with every attempt, up to MAX_CONTROL."""
    scale = np.array(request.control_scale) * STRONGER ** (attempt - 1)
    return np.minimum(scale, MAX_CONTROL).astype(np.float32)
