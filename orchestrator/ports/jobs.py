"""The contract of the job store: jobs, their queue, their events, and the leases of workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator

import msgspec

from orchestrator.domain.events import EventRecord, Progress, Terminal
from orchestrator.domain.job import Job, JobError


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to run one attempt of a job, as long as it keeps renewing it."""

    job: Job
    entry_id: str
    worker: str
    attempt: int
    """Number of this run of the job, from 1. Never used twice, not even after ``release``: results are stored under
    it. ``job.attempts`` counts only the runs that were not released."""
    kind: str = ""
    """As it was given to :meth:`JobStore.claim`."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A submission's right to use something that is good for one job. Each submission is an ``owner`` of its own."""

    name: str
    owner: str
    seconds: float
    """How long it is remembered that it was used."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    queued: int
    """Jobs that a worker could begin now."""
    running: int
    delayed: int
    """Jobs that were given back, to be begun again a little later."""
    declined: int
    """Waiting jobs that some worker did not understand (:meth:`JobStore.decline`)."""
    dead_letters: int
    workers: int
    mean_seconds: float | None
    """Mean processing time of recent jobs, for estimates; None before the first."""
    rate: float | None
    """Jobs that end in a second while others wait, a slowly moving mean; None before any ended while others waited."""

    @property
    def waiting(self) -> int:
        """Jobs that no worker runs."""
        return self.queued + self.delayed + self.declined


class JobStore(ABC):
    """Jobs with exactly one committed outcome each, whatever dies meanwhile.

    Every write is idempotent: the client library may repeat it silently after a lost reply. All methods raise
    :class:`Unavailable` when the store cannot be reached within the adapter's timeouts.
    """

    @abstractmethod
    async def submit(
        self, job: Job, *, max_waiting: int | None = None, reservation: Reservation | None = None
    ) -> None:
        """Store a new job and queue it. Submitting the same id again changes nothing.

        Atomic with its conditions: raises QueueFull when ``max_waiting`` jobs wait already, and ReservationLost unless
        ``reservation`` is held. The reservation is used up.
        """

    @abstractmethod
    async def reserve(self, reservation: Reservation, seconds: float) -> bool:
        """Whether its owner has it now, for ``seconds``: of several owners one does. Its owner may repeat it."""

    @abstractmethod
    async def free(self, reservation: Reservation) -> None:
        """Let others have it, unless it was used or is not its owner's."""

    @abstractmethod
    async def get(self, job_id: str) -> Job:
        """The job as of now; raises JobNotFound."""

    @abstractmethod
    async def cancel(self, job_id: str) -> Job:
        """Cancel: a queued job becomes cancelled at once, a running one is flagged and its worker stops it.

        Returns the job after the call; raises JobNotFound, JobFinished (also for one that is cancelled already).
        """

    @abstractmethod
    async def erase(self, job_id: str) -> None:
        """Forget a *finished* job and its events; raises JobNotFound, or ValueError while it is not finished."""

    @abstractmethod
    async def queue_position(self, job_id: str) -> int | None:
        """How many jobs are before it in the queue (0 = next); None when it is not waiting."""

    @abstractmethod
    async def claim(self, worker: str, wait: float, kind: str = "") -> Lease | None:
        """Begin the next job, or one whose worker has died; None after ``wait`` seconds (≤ 2) without one.

        ``kind`` is the same for workers that understand the same jobs. What this version does not understand of a
        record is declined. A job delivered more than MAX_DELIVERIES times is not given out: it becomes failed (code
        ``too_many_attempts``) and its entry goes to the dead letters. One cancelled meanwhile is not given out either.
        """

    @abstractmethod
    async def renew(self, lease: Lease) -> bool:
        """Keep the lease for another lease length; True when a cancel was requested; raises LeaseLost."""

    @abstractmethod
    async def publish(self, lease: Lease, number: int, event: Progress) -> None:
        """Append an event and reflect it in the job record. ``number`` counts the events of this attempt from 1, so
        that a repeated call is recognised. Raises LeaseLost."""

    @abstractmethod
    async def finish(self, lease: Lease, outcome: Terminal) -> None:
        """Commit the outcome, exactly once over all attempts. Raises LeaseLost if this attempt may no longer do so;
        repeating one's own commit is not an error. When a cancel was requested before, the job becomes cancelled
        whatever the outcome: who was told that a job is being cancelled never sees it completed."""

    @abstractmethod
    async def retry(self, lease: Lease, error: JobError, delay: float) -> bool:
        """Give the job back, to be begun again after ``delay`` seconds; False when its attempts are used up and it was
        failed with ``error`` (and dead-lettered) instead. Raises LeaseLost."""

    @abstractmethod
    async def postpone(self, lease: Lease, error: JobError, delay: float) -> bool:
        """Like ``retry`` for an attempt that an outage cut short: it is not counted among the attempts, but as one of
        ``job.outages``. False when those are MAX_OUTAGES now and the job was failed with ``error`` (and dead-lettered).
        """

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give the job back at once without counting the attempt (a worker that shuts down). Raises LeaseLost."""

    @abstractmethod
    async def decline(self, lease: Lease, unknown: list[str]) -> None:
        """Give the job back, without counting the attempt, to workers of another kind than the lease's: this kind does
        not understand ``unknown``. After DECLINE_SECONDS without one that does, it becomes failed (``not_understood``).
        Raises LeaseLost."""

    @abstractmethod
    async def sweep(self, worker: str) -> int:
        """Housekeeping, to be called by every worker each quarter of a lease: notes that it lives, and ends jobs
        of dead workers that are cancelled or used up also while no worker is free to take; returns how many."""

    @abstractmethod
    def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        """Every event with seq > ``after`` ("0-0" = all), once and in order, then live ones, until the terminal event.

        Of previews those that had been followed by another one are left out, and events of types that this version does
        not know. Survives a restart of the store. Ends (without a terminal event) when the job is erased.
        """

    @abstractmethod
    async def to_clean(self) -> list[str]:
        """Ids of jobs, up to 100, that ended without a picture, failed or cancelled, and are not :meth:`cleaned`."""

    @abstractmethod
    async def cleaned(self, job_ids: list[str]) -> None:
        """Their objects have been deleted."""

    @abstractmethod
    async def stats(self) -> QueueStats:
        """Counts over all jobs."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer."""

    @abstractmethod
    async def probe(self) -> None:
        """Raises Unavailable when the store would not take a job now, as one that is full or a replica. It writes."""
