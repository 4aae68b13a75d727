"""Translates a job into a request to the model, and the model's events into the job's events."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from orchestrator.domain import events
from orchestrator.domain.job import MESSAGES, TERMINAL, Job, JobState
from orchestrator.domain.preferences import Area, Preferences
from orchestrator.domain.releases import version_of
from orchestrator.domain.result import Quality, ResultMetadata, ResultWarning, SeenObject, Selection
from orchestrator.domain.styles import OWN, StyleWords, counted_as
from orchestrator.domain.usage import MICROS, cost_micros
from reroom import triton

KEEP_FURNITURE_STRENGTH = 0.65
"""The strength with keep_furniture when the user gave none, unless the release's own strength is lower."""

MODEL_SHARE = 0.95
"""The model's share of a job's progress; the rest is storing the picture."""

_STAGES = {state.value: state for state in JobState if state not in TERMINAL | {JobState.QUEUED}}


def request(
    job: Job,
    style: StyleWords,
    photo: NDArray[np.uint8],
    keep_mask: NDArray[np.uint8] | None = None,
    photo_id: str | None = None,
    reference: NDArray[np.uint8] | None = None,
) -> triton.RestyleRequest:
    """The request to the model. ``keep_mask`` is uint8 [H, W] of the photo's size, ``photo_id`` the lease's,
    ``reference`` a picture of any size.

    The user's words come before the style's; each part keeps a share of the tokens that a text encoder reads.
    """
    preferences = job.preferences
    return triton.RestyleRequest(
        image=photo,
        prompt=_parts(preferences.prompt, preferences.room_type, style.prompt),
        negative_prompt=_parts(preferences.negative_prompt, style.negative_prompt),
        palette=tuple(preferences.color_palette) or None,
        palette_strength=preferences.palette_strength,
        reference=reference,
        reference_strength=preferences.reference_strength,
        quality=preferences.quality,
        style=None if counted_as(job.style) == OWN else job.style,
        seed=preferences.seed,
        steps=preferences.steps,
        solver=preferences.solver,
        guidance_scale=preferences.guidance_scale,
        structure=preferences.structure,
        strength=preferences.strength,
        max_strength=max_strength(preferences),
        attempts=preferences.attempts,
        min_quality=preferences.min_quality,
        min_openings=preferences.min_openings,
        min_lines=preferences.min_lines,
        min_camera=preferences.min_camera,
        min_planes=preferences.min_planes,
        detail=preferences.detail,
        size=_size(preferences),
        keep_mask=keep_mask,
        keep=_names(preferences.keep),
        keep_boxes=_boxes(preferences.keep),
        change=_names(preferences.change),
        change_boxes=_boxes(preferences.change),
        preview_every=preferences.preview_every,
        photo_id=photo_id,
    )


def max_strength(preferences: Preferences) -> float | None:
    """The limit on the release's own strength; None = no limit."""
    return KEEP_FURNITURE_STRENGTH if _is_bounded(preferences) else None


def _is_bounded(preferences: Preferences) -> bool:
    """Whether keep_furniture limits the strength: the user set it and gave no strength."""
    return preferences.keep_furniture and preferences.strength is None


def _size(preferences: Preferences) -> str | None:
    """The photo's, so that nobody gets a large photo back small; but who says that there is to be no detail gets the
    network's own pixels, as ever."""
    if preferences.size is None and preferences.detail == 0:
        return None
    return preferences.size or "photo"


def _names(areas: list[Area]) -> tuple[str, ...]:
    return tuple(area for area in areas if isinstance(area, str))


def _boxes(areas: list[Area]) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((area[0], area[1], area[2], area[3]) for area in areas if not isinstance(area, str))


def _parts(*parts: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in parts if part.strip())


def _warnings(preferences: Preferences, result: triton.Result) -> list[ResultWarning]:
    """The preferences that had no effect, or another one than expected: a stable code and a sentence each."""
    found = [
        ResultWarning(code=warning.code, detail=warning.detail)
        for warning in result.warnings
        # Every style has a negative prompt: the warning concerns only users who gave one of their own.
        if warning.code != "negative_prompt_unused" or preferences.negative_prompt.strip()
    ]
    if preferences.keep_furniture and preferences.strength is not None:
        detail = f"keep_furniture has no effect beside strength, which is {preferences.strength:g}"
        found.append(ResultWarning(code="keep_furniture_unused", detail=detail))
    if _is_bounded(preferences) and (result.strength or 1.0) < KEEP_FURNITURE_STRENGTH:
        start = f"{result.release} starts from the photo anyway, at strength {result.strength:g}"
        found.append(
            ResultWarning(code="keep_furniture_unused", detail=f"keep_furniture has no effect: {start}")
        )
    return found


class ProgressTranslator:
    """Translates one attempt's events for the watchers of its job. Progress never falls."""

    def __init__(self) -> None:
        self._status = JobState.ANALYZING
        """Every attempt begins in this state; the store has published it already."""
        self._progress = 0.0
        self.release: int | None = None
        """The version that makes the picture, as soon as the model has said so."""
        self.published = 0
        """How many events there were for the watchers, of all tries."""
        self.objects: list[dict[str, Any]] = []
        self.room_type = ""
        self.room_confidence: float | None = None

    def translate(self, event: triton.RestyleEvent) -> events.Progress | None:
        """The job's event for the model's event; None when nothing changes for watchers."""
        if isinstance(event, triton.Stage | triton.Analysis):
            self.release = version_of(event.release) or self.release
        translated = self._translate(event)
        self.published += translated is not None
        return translated

    def _translate(self, event: triton.RestyleEvent) -> events.Progress | None:
        match event:
            case triton.Stage(name=name, progress=progress):
                status = _STAGES.get(name, self._status)
                return self._enter(status, progress) if status != self._status else None
            case triton.Analysis():
                self.objects, self.room_type = event.objects, event.room_type
                self.room_confidence = event.room_confidence
                return events.Analysis(
                    objects=event.objects,
                    room_type=event.room_type,
                    room_confidence=event.room_confidence,
                    progress=self._advance(event.progress),
                )
            case triton.Step():
                return events.Step(step=event.step, of=event.of, progress=self._advance(event.progress))
            case triton.Preview():
                jpeg = base64.b64encode(event.jpeg).decode()
                return events.Preview(step=event.step, jpeg=jpeg, progress=self._advance(event.progress))
            case triton.Result():
                finalizing = self._status == JobState.FINALIZING
                return None if finalizing else self._enter(JobState.FINALIZING, 1.0)

    def _enter(self, status: JobState, progress: float) -> events.StatusChanged:
        self._status = status
        return events.StatusChanged(status=status, progress=self._advance(progress), message=MESSAGES[status])

    def _advance(self, progress: float) -> float:
        """The job's progress for the model's progress, both 0..1."""
        self._progress = max(self._progress, round(min(progress, 1.0) * MODEL_SHARE, 4))
        return self._progress


def _cost(job: Job, timings: dict[str, float]) -> dict[str, Any]:
    """What the job is charged: the seconds of the models' stages, at the price of its submission."""
    gpu_ms = round(sum(timings.values()) * 1000)
    if not job.price:
        return {"gpu_seconds": gpu_ms / 1000}
    cost = cost_micros(gpu_ms, job.price) / MICROS
    return {"gpu_seconds": gpu_ms / 1000, "cost": cost, "currency": job.currency}


def metadata(
    job: Job,
    result: triton.Result,
    progress: ProgressTranslator,
    processing_time: float,
    kept: float | None = None,
) -> ResultMetadata:
    """What a finished job's user reads of how its picture was made.

    ``processing_time`` are the seconds of this attempt, without the wait in the queue; ``kept`` is the share of the
    picture that a mask kept.
    """
    height, width = result.image.shape[:2]
    measures = Quality.__struct_fields__
    return ResultMetadata(
        style=job.style,
        processing_time=round(processing_time, 3),
        quality_score=result.quality.get("score"),
        quality=Quality(**{name: result.quality[name] for name in measures if name in result.quality}),
        # Who says what room it is knows.
        room_type=job.preferences.room_type.strip() or progress.room_type,
        room_confidence=1.0 if job.preferences.room_type.strip() else progress.room_confidence,
        objects=[
            SeenObject(label=o["label"], name=o.get("name", UNSET), score=o["score"], box=o["box"])
            for o in progress.objects
        ],
        selection=UNSET if result.selection is None else msgspec.convert(result.selection, Selection),
        seed=result.seed,
        palette=result.palette,
        palette_distance=UNSET if result.palette_distance is None else result.palette_distance,
        reference_distance=UNSET if result.reference_distance is None else result.reference_distance,
        strength=result.strength,
        tier=UNSET if result.tier is None else result.tier,
        attempts=result.attempts,
        prompt_truncated=result.prompt_truncated,
        warnings=_warnings(job.preferences, result),
        timings=result.timings,
        **_cost(job, result.timings),
        enlarged_by=UNSET if result.enlarged_by is None else result.enlarged_by,
        reused=result.reused,
        kept=UNSET if kept is None else round(kept, 4),
        release=result.release,
        width=width,
        height=height,
    )
