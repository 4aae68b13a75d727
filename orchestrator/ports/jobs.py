"""The contract of the job store: jobs, their queue, their events, and the leases of workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence

import msgspec

from orchestrator.domain.events import EventRecord, Progress, Terminal
from orchestrator.domain.job import Job, JobError, JobState, StoredFile
from orchestrator.domain.usage import Admission

PHOTO_ID_SECONDS = 3600
"""How long the id of a photo lasts after the last lease; models keep nothing for longer by default."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to run one attempt of a job, as long as it keeps renewing it."""

    job: Job
    entry_id: str
    worker: str
    attempt: int
    """The number of this run of the job, from 1. It is never used twice, not even after ``release``, because results
    are stored under it. ``job.attempts`` leaves out the runs that were released, declined or postponed."""
    kind: str = ""
    """The kind of worker that was passed to :meth:`JobStore.claim`."""
    photo_id: str | None = None
    """A random name that leases have in common while their jobs have the same ``photo_digest``: models keep under it
    what they find in the photo. It lasts for PHOTO_ID_SECONDS after the last lease. :meth:`JobStore.erase` of a job
    with that photo drops it, so that no lease after that finds what was kept. None without a digest."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A submission's exclusive right to something that one job may use, such as an upload. Each submission is an
    ``owner`` of its own."""

    name: str
    owner: str
    seconds: float
    """How long the store remembers that it was used."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """That a job was given up, and why."""

    id: str
    job_id: str
    code: str
    detail: str
    attempts: int
    at: float
    """When it was given up, UNIX seconds."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    queued: int
    """Jobs that a worker could begin now."""
    running: int
    delayed: int
    """Jobs that were given back and begin again after a delay."""
    declined: int
    """Waiting jobs that some kind of worker declined (:meth:`JobStore.decline`)."""
    dead_letters: int
    workers: int
    mean_seconds: float | None
    """Mean processing time of recent jobs, for estimates; None before the first."""
    rate: float | None
    """Jobs that end per second while others wait, as a slowly moving mean; None before that was measured."""
    oldest_wait: float = 0.0
    """Seconds since the submission of the job that waits first; 0 when none waits."""
    mean_cost: float = 1.0
    """Mean cost (``Job.cost``) of the jobs whose mean time ``mean_seconds`` is."""
    cost_rate: float | None = None
    """The cost of the jobs that end per second, measured like ``rate``."""
    waiting_cost: float = 0.0
    """The cost of all jobs that wait."""

    @property
    def waiting(self) -> int:
        """Jobs that no worker runs."""
        return self.queued + self.delayed + self.declined


class JobCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a style and tier had an outcome; ``outcome`` is None for those that were submitted."""

    outcome: str | None
    style: str
    tier: str
    jobs: int


class Place(msgspec.Struct, frozen=True):
    """Where a job waits."""

    position: int
    """The number of jobs that probably begin before it (0 = next). Jobs of other owners that are submitted later may
    still begin before it."""
    cost_before: float
    """Their cost, which may take the mean of recent jobs for each."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are to be listed; None = whichever."""

    states: frozenset[JobState] | None = None
    style: str | None = None
    favourite: bool | None = None
    created_from: float | None = None
    """UNIX seconds, included."""
    created_until: float | None = None
    """UNIX seconds, not included."""


class ListPlace(msgspec.Struct, frozen=True, array_like=True):
    """The last job of a page, after which the next page goes on, whatever was submitted or erased meanwhile."""

    made: int
    """Microseconds since 1970."""
    job_id: str


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs of an owner. There may be fewer than asked for, even none, although ``next`` says that there are
    more."""

    jobs: list[Job]
    next: ListPlace | None


class JobStore(ABC):
    """Jobs. Each has exactly one committed outcome, whichever processes die meanwhile.

    Every write is idempotent, because the client library may repeat it after a lost reply. All methods raise
    :class:`Unavailable` when the store cannot be reached within the adapter's timeouts.
    """

    @abstractmethod
    async def submit(
        self,
        job: Job,
        *,
        children: Sequence[Job] = (),
        hold: bool = False,
        max_waiting: int | None = None,
        reservation: Reservation | None = None,
        admission: Admission | None = None,
    ) -> int | None:
        """Store a new job and queue it. Submitting the same id again changes nothing. Returns its position in the queue
        (see :class:`Place`).

        In the same atomic step it raises QueueFull when ``max_waiting`` jobs wait already, ReservationLost unless
        the owner holds ``reservation``, which it then marks as used, and QuotaExceeded when the job would go beyond a
        limit of ``admission``. What is admitted stays reserved for the job's owner until the job ends, in the same
        atomic step as its end: then a completed job has used the GPU time that its result says, and others none.
        Without an admission the usage of the job is not counted.

        With ``children``, the job is their parent: they are queued in its place, all or none, and the limits are those
        of all of them together. With ``hold``, those after the first wait until it has ended or was given back; they
        keep their places in the order of submissions.
        """

    @abstractmethod
    async def reserve(self, reservation: Reservation, seconds: float) -> bool:
        """Reserve the name for its owner, for ``seconds``. Returns whether the owner has it now: of several owners only
        one does. The owner may repeat the call."""

    @abstractmethod
    async def free(self, reservation: Reservation) -> None:
        """End a reservation so that others can have the name; without effect if it was used (see :meth:`cancel`) or has
        another owner."""

    @abstractmethod
    async def get(self, job_id: str) -> Job:
        """The job as of now; raises JobNotFound."""

    @abstractmethod
    async def get_all(self, job_ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that there are, in that order, each as of now."""

    @abstractmethod
    async def add_file(self, job: Job, name: str, file: StoredFile) -> bool:
        """Record a picture that was made of the pictures of a job that has ended; one of the same name is replaced. It
        counts for the job's owner as what else is stored for the job does. Returns False, and records nothing, when
        the job is gone or its children are not those of ``job`` any more: then the picture must not be kept."""

    @abstractmethod
    async def cancel(self, job_id: str, undone: Reservation | None = None) -> Job:
        """Cancel a job: a queued one becomes cancelled at once; a running one is flagged, and its worker stops it. A
        parent is cancelled with all of its children that have not ended. In the same atomic step the reservation is
        free again that its submission used, if that is ``undone``.

        Returns the job after the call. Raises JobNotFound, and JobFinished (also for a job that is cancelled already).
        """

    @abstractmethod
    async def erase(self, job_id: str) -> None:
        """Delete a *finished* job, its events and the id of its photo (:attr:`Lease.photo_id`), which later leases of
        other jobs do not get any more. A parent is erased with its children. A child is erased from its parent, which
        goes with the last one; files of the parent are forgotten, since they show it. The objects of all that were
        erased are :meth:`to_clean`. Raises JobNotFound, and ValueError while it is not finished."""

    @abstractmethod
    async def place(self, job_id: str) -> Place | None:
        """Where the job waits; None when it does not."""

    @abstractmethod
    async def list_jobs(
        self, owner: str, wanted: Wanted, *, after: ListPlace | None = None, limit: int
    ) -> JobPage:
        """Up to ``limit`` of the owner's jobs, the newest first. Jobs are listed until they are erased or their records
        expire. The cost does not grow with the number of jobs that the owner has."""

    @abstractmethod
    async def set_favourite(self, job_id: str, favourite: bool) -> Job:
        """Mark a job, or unmark it; returns it. The record of a completed favourite does not expire; one that is
        unmarked expires as if it had just ended. A job that fails or is cancelled is no favourite any more.

        Raises JobNotFound, and NothingToKeep for a job that has failed or was cancelled."""

    @abstractmethod
    async def claim(self, worker: str, wait: float, kind: str = "") -> Lease | None:
        """Begin the next job, or one whose worker has died; None after ``wait`` seconds (≤ 2) without one.

        Jobs that were given back go first. Then owners take turns: those who have jobs waiting share the workers by
        ``job.weight``, counted in ``job.cost``. An owner's jobs begin in the order of submission. High priority brings
        a job forward in that order and before other owners, by a limited amount.

        ``kind`` is the same for workers that understand the same jobs. A job whose record this version does not
        understand is declined. A job that was delivered MAX_DELIVERIES times already is not delivered again: it becomes
        failed (code ``too_many_attempts``) and a dead letter. A job that was cancelled meanwhile is not delivered
        either.
        """

    @abstractmethod
    async def renew(self, lease: Lease) -> bool:
        """Keep the lease for another lease length. Returns whether a cancel was requested. Raises LeaseLost."""

    @abstractmethod
    async def publish(self, lease: Lease, number: int, event: Progress, release: int | None = None) -> None:
        """Append an event and update the job's record with it. ``number`` counts the events of this attempt from 1, so
        that a repeated call is recognised. ``release`` becomes that of the job, for its next attempts; None = it stays.
        Raises LeaseLost."""

    @abstractmethod
    async def finish(self, lease: Lease, outcome: Terminal) -> None:
        """Commit the outcome, exactly once over all attempts. Raises LeaseLost if this attempt may no longer commit;
        an attempt may repeat its own commit. When a cancel was requested before, the job becomes cancelled whatever the
        outcome, so that a client whose cancel was accepted never sees the job completed."""

    @abstractmethod
    async def retry(self, lease: Lease, error: JobError, delay: float) -> bool:
        """Give the job back; it begins again after ``delay`` seconds. Returns False when its attempts are used up: then
        it fails with ``error`` and becomes a dead letter. Raises LeaseLost."""

    @abstractmethod
    async def postpone(self, lease: Lease, error: JobError, delay: float) -> bool:
        """Like ``retry``, for an attempt that an outage cut short: it counts as one of ``job.outages``, not as an
        attempt. Returns False when those are MAX_OUTAGES now: then the job fails with ``error`` and becomes a dead
        letter.
        """

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give the job back at once without counting the attempt (a worker that shuts down). Raises LeaseLost."""

    @abstractmethod
    async def decline(self, lease: Lease, unknown: list[str]) -> None:
        """Give the job back to workers of another kind than the lease's, because this kind does not understand
        ``unknown``; the attempt is not counted. If no worker claims it within DECLINE_SECONDS, it fails with
        ``not_understood``. Raises LeaseLost."""

    @abstractmethod
    async def sweep(self, worker: str) -> int:
        """Housekeeping, which every worker calls each quarter of a lease. It records that the worker is alive, and ends
        jobs of dead workers that were cancelled or have used up their attempts, even while no worker is free to claim
        one. Returns how many jobs it ended."""

    @abstractmethod
    def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        """Every event with seq > ``after`` ("0-0" = all), once and in order, then live ones, until the terminal event.
        Those of a parent include what happens to its children.

        It leaves out previews that a later preview replaced, and events of types that this version does not know. It
        survives a restart of the store. It ends without a terminal event when the job is erased.
        """

    @abstractmethod
    async def to_clean(self) -> list[str]:
        """Ids of up to 100 failed, cancelled or erased jobs whose objects are to be deleted now (see :meth:`cleaned`).
        Those of dead letters are kept for a while."""

    @abstractmethod
    async def cleaned(self, job_ids: list[str]) -> None:
        """Record that the objects of these jobs have been deleted."""

    @abstractmethod
    async def unstore_forgotten(self) -> int:
        """Stop counting the stored pictures of jobs whose records have expired, for their owners' limits; returns how
        many jobs. Those of erased jobs, and of ended jobs that are :meth:`cleaned`, are not counted anyway."""

    @abstractmethod
    async def dead_letters(self, limit: int | None = None) -> list[DeadLetter]:
        """Jobs that were given up, the newest first; ``limit``: at most so many. Of more than 10,000 the oldest are
        forgotten, and those of erased jobs."""

    @abstractmethod
    async def replay(self, letter: DeadLetter) -> None:
        """Make the job wait again, as if it were new, and forget the letter. Raises NotReplayed, with the reason."""

    @abstractmethod
    async def drop(self, letter: DeadLetter) -> None:
        """Forget the letter. The job stays failed, and its objects are to be deleted now."""

    @abstractmethod
    async def stats(self) -> QueueStats:
        """Counts over all jobs."""

    @abstractmethod
    async def counts(self) -> list[JobCount]:
        """How many jobs were submitted and ended since the store exists, each counted in the atomic step that did it.
        The tier of a job is its quality as asked for, once it is completed the one that made it; DEFAULT_TIER
        without."""

    @abstractmethod
    async def releases_in_use(self) -> list[int]:
        """The versions that jobs which wait or run are pinned to, in order: those must not be removed."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer."""

    @abstractmethod
    async def probe(self) -> None:
        """Raises Unavailable when the store could not store a job now, because it is full or a replica. It writes."""
