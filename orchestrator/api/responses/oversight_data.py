"""What administrators see of the service, as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.job import Job, JobState
from orchestrator.domain.levels import DayLevels, quantile
from orchestrator.domain.plans import Plan
from orchestrator.ports import ModelLoad, ModelServer, QueueStats, RunningJob, WaitingCount, WorkerState


class ShownJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as administrators see it: nothing of its photo or its words."""

    job_id: str
    key: str
    """The id of the API key that submitted it; "" without one."""
    style: str
    quality: str | None
    """As it was asked for."""
    priority: str
    status: JobState
    submitted_at: Time
    attempts: int


class RunningData(ShownJob, frozen=True, kw_only=True):
    progress: float
    """0 … 1."""
    begun_at: Time | None


class WorkerData(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Its host, its process, and a random part."""
    alive: bool
    """Whether it was heard of lately."""
    since: Time | None
    """Since when it has been heard of; null when that was forgotten, as it was silent for long."""
    heard_at: Time
    """When it last looked for a job or kept one."""
    jobs: list[RunningData]


class FloorData(msgspec.Struct, frozen=True, kw_only=True):
    stats: QueueStats
    counts: list[WaitingCount]
    """How many jobs wait by priority and quality; of the first 2,000."""
    waiting: list[ShownJob]
    """The first 50, as they were submitted."""
    workers: list[WorkerData]


class FloorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: FloorData


class TritonData(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    up: bool
    fault: str | None
    """Why it is down."""
    devices: list[str]
    """What its networks run on, cpu or cuda; empty where it does not say."""
    models: dict[str, int]
    """The models that serve pictures, with their versions; -1 = the latest."""
    requests: int
    """What the API's process that answers has sent to it and waits for; workers send most."""
    load: ModelLoad | None


class TritonsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[TritonData]


class PlansAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: dict[str, Plan]


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """What the alerts watch over."""

    failed_share: float
    total_p95: float
    """Seconds."""
    oldest_wait: float
    """Seconds."""


class DayData(msgspec.Struct, frozen=True, kw_only=True):
    day: str
    completed: int
    failed: int
    cancelled: int
    failed_share: float | None
    """Of those that completed or failed; null without any."""
    wait_p95: float | None
    """Seconds that 19 of 20 completed jobs did not wait longer than."""
    total_p50: float | None
    """Seconds from submission to completion."""
    total_p95: float | None


class LevelsData(msgspec.Struct, frozen=True, kw_only=True):
    objectives: Objectives
    days: list[DayData]
    """The oldest first."""


class LevelsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: LevelsData


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    """As in the jobs' errors."""
    style: str
    jobs: int


class DayFailures(msgspec.Struct, frozen=True, kw_only=True):
    day: str
    reasons: list[Reason]


class FailedJob(ShownJob, frozen=True, kw_only=True):
    code: str
    detail: str
    """The whole sentence, which may be more than the key's holder is told."""
    failed_at: Time

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(
            **_shown(job),
            code=job.error.code if job.error else "",
            detail=job.error.detail if job.error else "",
            failed_at=rfc3339(job.updated_at),
        )


class FailuresData(msgspec.Struct, frozen=True, kw_only=True):
    reasons: list[Reason]
    """Of all days together, the most frequent first."""
    days: list[DayFailures]
    """The oldest first."""
    latest: list[FailedJob]
    """The jobs that failed last and are still remembered, the newest first."""


class FailuresAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: FailuresData


def waiting_job(job: Job) -> ShownJob:
    return ShownJob(**_shown(job))


def worker_data(worker: WorkerState) -> WorkerData:
    return WorkerData(
        name=worker.name,
        alive=worker.alive,
        since=None if worker.since is None else rfc3339(worker.since),
        heard_at=rfc3339(worker.heard_at),
        jobs=[_running(each) for each in worker.jobs],
    )


def triton_data(server: ModelServer) -> TritonData:
    return TritonData(
        name=server.name,
        up=not server.fault,
        fault=server.fault or None,
        devices=sorted(server.devices),
        models=server.models,
        requests=server.requests,
        load=server.load,
    )


def day_levels(day: DayLevels) -> DayData:
    judged = day.completed + day.failed
    return DayData(
        day=day.day,
        completed=day.completed,
        failed=day.failed,
        cancelled=day.cancelled,
        failed_share=day.failed / judged if judged else None,
        wait_p95=quantile(day.waits, 0.95),
        total_p50=quantile(day.totals, 0.5),
        total_p95=quantile(day.totals, 0.95),
    )


def reasons(failures: Mapping[tuple[str, str], int]) -> list[Reason]:
    most_first = sorted(failures.items(), key=lambda each: (-each[1], each[0]))
    return [Reason(code=code, style=style, jobs=jobs) for (code, style), jobs in most_first]


def _running(running: RunningJob) -> RunningData:
    return RunningData(
        **_shown(running.job),
        progress=running.job.progress,
        begun_at=None if running.begun_at is None else rfc3339(running.begun_at),
    )


def _shown(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "key": job.owner,
        "style": job.style,
        "quality": job.preferences.quality,
        "priority": job.priority,
        "status": job.status,
        "submitted_at": rfc3339(job.created_at),
        "attempts": job.attempts,
    }
