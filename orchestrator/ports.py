"""The ports: what jobs need from the outside. Adapters implement them; only ``adapters.py`` chooses.

Exceptions::

    PortError
    ├── Unavailable        the thing behind the port cannot be reached now; trying again later is right
    ├── JobNotFound        no job has that id
    ├── JobFinished        the job is in a terminal state already
    ├── QueueFull          as many jobs wait as may
    ├── ClaimLost          a submission's upload has been claimed by another, or used
    ├── LeaseLost          another worker owns the job now (or it was finished): stop, commit nothing
    ├── ObjectNotFound     no object has that key
    ├── ObjectExists       another object has that key already
    ├── ObjectTooLarge     the object has more bytes than its reader takes
    ├── BadSignature       a link to an object was not made by us, or was changed
    ├── LinkExpired        a link to an object was ours, but its time is over
    └── InferenceError     the model refused or broke (code, detail, retryable)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.jobs.events import EventRecord, Progress, Terminal
from orchestrator.jobs.models import Job, JobError
from reroom.triton import Analysed, RestyleEvent, RestyleRequest


class PortError(Exception):
    """Base of everything a port raises."""


class Unavailable(PortError):
    """The service behind the port cannot be reached now."""


class JobNotFound(PortError):
    """No job has that id."""


class JobFinished(PortError):
    """The job is in a terminal state already."""


class QueueFull(PortError):
    """As many jobs wait as may: ``waiting``."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} jobs wait")
        self.waiting = waiting


class ClaimLost(PortError):
    """The upload of a submission has been claimed by another, or used."""


class LeaseLost(PortError):
    """Another worker owns the job now, or it was finished."""


class ObjectNotFound(PortError):
    """No object has that key."""


class ObjectExists(PortError):
    """Another object has that key already."""


class ObjectTooLarge(PortError):
    """The object has more bytes than its reader takes."""


class BadSignature(PortError):
    """A link to an object was not made by us, or was changed."""


class LinkExpired(PortError):
    """A link to an object was ours, but its time is over."""


UNAVAILABLE = "unavailable"
"""The code of an InferenceError that says that the server, or a model of it, went away or could not be reached."""


class InferenceError(PortError):
    """The model refused or broke. ``retryable`` says whether another try may succeed."""

    def __init__(self, code: str, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retryable = code, detail, retryable


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to run one attempt of a job, as long as it keeps renewing it."""

    job: Job
    entry_id: str
    worker: str
    attempt: int
    """Number of this run of the job, from 1. Never used twice, not even after ``release``: results are stored under
    it. ``job.attempts`` counts only the runs that were not released."""
    kind: str = ""
    """As it was given to :meth:`JobStore.take`."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
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
    async def submit(self, job: Job, *, max_waiting: int | None = None, claim: Claim | None = None) -> None:
        """Store a new job and queue it. Submitting the same id again changes nothing.

        All in one moment with what may stand in its way: QueueFull when ``max_waiting`` jobs wait already, ClaimLost
        unless ``claim`` is held, which is used up otherwise.
        """

    @abstractmethod
    async def claim(self, claim: Claim, seconds: float) -> bool:
        """Whether its owner has it now, for ``seconds``: of several owners one does. Its owner may repeat it."""

    @abstractmethod
    async def unclaim(self, claim: Claim) -> None:
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
    async def take(self, worker: str, wait: float, kind: str = "") -> Lease | None:
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


class StorageStats(msgspec.Struct, frozen=True, kw_only=True):
    objects: int
    bytes: int


CACHE_CONTROL = "private, max-age=60"
"""What a link gives. It is a secret: shared caches may not keep it, nor browsers for long what may be erased."""


class UploadLink(msgspec.Struct, frozen=True, kw_only=True):
    """How whoever has it may store one object: ``PUT url`` with exactly these headers and ``Content-Length``."""

    url: str
    headers: dict[str, str]


class Storage(ABC):
    """Private objects under keys such as ``uploads/{job}/original.jpg``; read and written by others through signed,
    expiring URLs.

    Keys are made by this project only: segments of [A-Za-z0-9._-] joined by "/", none of them "." or "..";
    anything else raises ValueError. All methods raise Unavailable when the store cannot be reached.
    """

    @abstractmethod
    async def put(self, key: str, data: bytes, content_type: str, *, overwrite: bool = True) -> None:
        """Store an object, atomically: a reader sees the old one, the new one or none, never half.

        Without ``overwrite`` it raises ObjectExists when other bytes are there already, which then stay; the same bytes
        are no error, since a write whose answer was lost is repeated. When cancelled, it ends only after the write did:
        one that went on could bring back what is deleted next.
        """

    @abstractmethod
    async def get(
        self, key: str, *, limit: int | None = None, take: Callable[[int], None] | None = None
    ) -> bytes:
        """The object's bytes; raises ObjectNotFound, and ObjectTooLarge when there are more than ``limit``.

        ``take`` is called with their number before they are read; what it raises ends the call.
        """

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete everything under ``prefix`` (ends with "/"); returns how many objects. None there is not an error."""

    @abstractmethod
    def older(self, prefix: str, seconds: float) -> AsyncGenerator[str, None]:
        """The keys under ``prefix`` (ends with "/") whose objects were last written more than ``seconds`` ago."""

    @abstractmethod
    async def url(self, key: str, expires_in: int) -> str:
        """An absolute URL that gives the object by GET. Does not check that it exists.

        It works for ``expires_in`` seconds at most and for half of them at least, and is the same for half of them from
        every process, so that pages which ask again need not load the object again.
        """

    @abstractmethod
    async def upload_link(self, key: str, *, content_type: str, size: int, expires_in: int) -> UploadLink:
        """Lets others store one object of exactly ``size`` bytes and ``content_type``, for ``expires_in`` seconds,
        while there is none under the key: where one is, a PUT of other bytes is refused (409 or 412)."""

    @abstractmethod
    async def stats(self) -> StorageStats:
        """How much is stored."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer or refuses us."""


class SignedFiles(ABC):
    """What a storage adapter adds when its URLs lead to this API's ``/files``: the URLs' parts, as they came."""

    @abstractmethod
    async def open(self, key: str, expires: str, signature: str) -> bytes:
        """The object that a URL of :meth:`Storage.url` gives.

        Raises BadSignature, LinkExpired, ObjectNotFound, Unavailable.
        """

    @abstractmethod
    def check_upload(self, key: str, content_type: str, size: int, expires: str, signature: str) -> None:
        """Raises BadSignature or LinkExpired unless :meth:`Storage.upload_link` allows to put just this there now."""


class Inference(ABC):
    """The model server."""

    @abstractmethod
    def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        """Run a request; yields events, the last being ``Result``. Closing the iterator (or cancelling the task) stops
        the work on the server within one step. Raises InferenceError."""

    @abstractmethod
    async def analyse(self, photo: NDArray[np.uint8]) -> Analysed:
        """What the models see in a photo, RGB uint8 [H, W, 3]. It changes nothing, and may be repeated.

        Raises InferenceError.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable unless the ``restyle`` model, and every model that it calls, can serve.

        Cheap enough to be called by everybody once a second.
        """

    def trouble(self) -> str:
        """What is amiss, as far as the last ``ping`` saw, although the model is served: "1 of 2 down: HOST:PORT".

        For operators; empty when all is well.
        """
        return ""
