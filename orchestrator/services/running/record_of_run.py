"""What a worker reports about an attempt: metrics, spans of the model's stages and steps, and product events."""

from __future__ import annotations

import time

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.events import Cancelled, Completed, Failed, Terminal
from orchestrator.domain.job import DEFAULT_TIER, TERMINAL, JobState
from orchestrator.domain.styles import counted_as
from orchestrator.ports import Lease
from orchestrator.telemetry import metrics, tracing
from orchestrator.telemetry.analytics import Analytics, since
from reroom import triton

_STAGES = {*(state.value for state in JobState if state not in TERMINAL), "finishing"}
"""The names of stages that are counted; those of a newer model count as ``other``."""


class RecordOfRun:
    """Of one attempt, from its beginning to ``ended`` or ``returned``."""

    def __init__(self, lease: Lease, analytics: Analytics) -> None:
        self._job, self._analytics = lease.job, analytics
        self._style = counted_as(lease.job.style)
        self._began = time.monotonic()
        self._stage: tracing.Part | None = None
        self._step: tracing.Part | None = None
        metrics.JOB_ATTEMPTS.inc()
        if lease.attempt == 1:
            metrics.JOB_WAIT.observe(since(lease.job.created_at))
            tracing.begin("wait in the queue", since=lease.job.created_at).end()

    @property
    def asked_tier(self) -> str:
        return self._job.preferences.quality or DEFAULT_TIER

    def saw(self, event: triton.RestyleEvent) -> None:
        """An event of the model. A step's span lasts from the event before it to its own."""
        match event:
            case triton.Stage(name=name):
                self.stages_ended()
                self._stage = tracing.begin(_known(name))
            case triton.Step(step=step, of=of):
                metrics.DENOISE_STEPS.inc()
                if self._step is not None:
                    self._step.note(step=step, of=of)
                    self._step.end()
            case triton.Preview():
                metrics.PREVIEWS.inc()
            case _:
                pass
        if isinstance(event, triton.Stage | triton.Step) and self._stage is not None:
            more = isinstance(event, triton.Step) and event.step < event.of
            begins = isinstance(event, triton.Stage) and event.name == JobState.TRANSFORMING
            self._step = tracing.begin("denoise step", under=self._stage) if more or begins else None

    def stages_ended(self) -> None:
        """The model has ended, or was stopped."""
        for part in (self._step, self._stage):
            if part is not None:
                part.end()
        self._step = self._stage = None

    def ended(self, outcome: Terminal) -> None:
        """The outcome is committed."""
        total, style = since(self._job.created_at), self._style
        match outcome:
            case Completed(result=result):
                assert result is not None, "a parent does not run"
                tier = str(result.metadata.get("tier") or self.asked_tier)
                timings = result.metadata.get("timings") or {}
                metrics.PICTURES.labels(
                    metrics.release_label(str(result.metadata.get("release") or ""))
                ).inc()
                metrics.JOB_RUN.labels(tier).observe(time.monotonic() - self._began)
                metrics.JOB_SECONDS_IN_ALL.labels(tier).observe(total)
                metrics.GPU_SECONDS.labels(style, tier).inc(sum(timings.values()))
                for name, seconds in timings.items():
                    metrics.STAGE_SECONDS.labels(_known(name)).inc(seconds)
                self._analytics.emit("completed", style=style, tier=tier, seconds=total)
            case Failed(error=error):
                self.failed(error.code)
            case Cancelled():
                self._analytics.emit("cancelled", style=style, tier=self.asked_tier, seconds=total)

    def returned(self, reason: str) -> None:
        """The attempt ended without an outcome; the job is begun again."""
        metrics.JOB_RETURNS.labels(reason).inc()

    def failed(self, code: str) -> None:
        known = FailureCode.of(code)
        metrics.JOB_FAILURES.labels(known).inc()
        total = since(self._job.created_at)
        self._analytics.emit("failed", style=self._style, tier=self.asked_tier, seconds=total, code=known)


def _known(stage: str) -> str:
    return stage if stage in _STAGES else "other"
