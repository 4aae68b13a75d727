"""What the ports raise, the same from every adapter::

PortError
├── Unavailable        the thing behind the port cannot be reached now; trying again later is right
├── JobNotFound        no job has that id
├── JobFinished        the job is in a terminal state already
├── QueueFull          as many jobs wait as may
├── ReservationLost          a submission's upload has been reserved by another, or used
├── LeaseLost          another worker owns the job now (or it was finished): stop, commit nothing
├── ObjectNotFound     no object has that key
├── ObjectExists       another object has that key already
├── ObjectTooLarge     the object has more bytes than its reader takes
├── BadSignature       a link to an object was not made by us, or was changed
├── LinkExpired        a link to an object was ours, but its time is over
└── InferenceError     the model refused or broke (code, detail, retryable)
"""

from __future__ import annotations

from orchestrator.domain.codes import FailureCode


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


class ReservationLost(PortError):
    """The upload of a submission has been reserved by another, or used."""


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


UNAVAILABLE = FailureCode.UNAVAILABLE
"""The code of an InferenceError that says that the server, or a model of it, went away or could not be reached."""


class InferenceError(PortError):
    """The model refused or broke. ``retryable`` says whether another try may succeed."""

    def __init__(self, code: str, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retryable = code, detail, retryable
