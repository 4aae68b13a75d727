"""What the ports raise, the same from every adapter::

PortError
├── Unavailable        the service behind the port cannot be reached now; a later try may succeed
├── JobNotFound        no job has that id
├── JobFinished        the job is in a terminal state already
├── NothingToKeep      the job has no picture that a favourite could keep
├── QueueFull          the queue holds as many waiting jobs as it may
├── QuotaExceeded      the job would go beyond a limit of its owner's plan, or beyond the service's budget
├── ReservationLost    another submission has reserved the upload, or used it
├── KeyNotFound        no API key has that id
├── EndpointNotFound   the owner has no endpoint with that id
├── EndpointDisabled   the endpoint gets nothing now
├── TooManyEndpoints   the owner has as many endpoints as allowed
├── StyleNotFound      the owner has no style of that name
├── TooManyStyles      the owner has as many styles as it may
├── InFlight           another request with this idempotency key is being done
├── AnotherRequest     the idempotency key was used for another request
├── DeadLetterNotFound no job that was given up has that id
├── NotReplayed        the job that was given up cannot be made to wait again; the message is the reason
├── AnotherWriter      somebody else has changed the rollout meanwhile; the message says how it is now
├── LeaseLost          another worker owns the job now (or it was finished): stop, commit nothing
├── ObjectNotFound     no object has that key
├── ObjectExists       another object has that key already
├── ObjectTooLarge     the object has more bytes than its reader accepts
├── BadSignature       the link to an object was not made by this service, or was changed
├── LinkExpired        the link to an object is this service's, but has expired
└── InferenceError     the model refused the request or failed (code, detail, retryable)
"""

from __future__ import annotations

from orchestrator.domain.codes import FailureCode
from orchestrator.domain.usage import LimitName


class PortError(Exception):
    """Base of everything a port raises."""


class Unavailable(PortError):
    """The service behind the port cannot be reached now."""


class JobNotFound(PortError):
    """No job has that id."""


class JobFinished(PortError):
    """The job is in a terminal state already."""


class NothingToKeep(PortError):
    """The job has failed or was cancelled: it has no picture that a favourite could keep."""


class QueueFull(PortError):
    """The queue holds as many waiting jobs as it may; ``waiting`` is their number."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} jobs wait")
        self.waiting = waiting


class QuotaExceeded(PortError):
    """A job would go beyond a limit. ``taken``: how much of it is used and reserved, in the unit of the store: jobs,
    milliseconds, bytes, objects, or micros of money."""

    def __init__(self, limit: LimitName, taken: int) -> None:
        super().__init__(f"{limit}: {taken}")
        self.limit, self.taken = limit, taken


class ReservationLost(PortError):
    """Another submission has reserved the upload, or used it."""


class StyleNotFound(PortError):
    """The owner has no style of that name."""


class TooManyStyles(PortError):
    """The owner has ``most`` styles already, which is as many as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} styles")
        self.most = most


class KeyNotFound(PortError):
    """No API key has that id."""


class EndpointNotFound(PortError):
    """The owner has no endpoint with that id."""


class EndpointDisabled(PortError):
    """The endpoint gets nothing now."""


class TooManyEndpoints(PortError):
    """The owner has as many endpoints as allowed."""


class InFlight(PortError):
    """Another request with this idempotency key is being done."""


class AnotherRequest(PortError):
    """The idempotency key was used for another request."""


class DeadLetterNotFound(PortError):
    """No job that was given up has that id."""


class NotReplayed(PortError):
    """The job that was given up cannot be made to wait again; the message is the reason."""


class AnotherWriter(PortError):
    """Somebody else has changed the rollout meanwhile; the message says how it is now, and what to do."""


class LeaseLost(PortError):
    """Another worker owns the job now, or it was finished."""


class ObjectNotFound(PortError):
    """No object has that key."""


class ObjectExists(PortError):
    """Another object has that key already."""


class ObjectTooLarge(PortError):
    """The object has more bytes than its reader accepts."""


class BadSignature(PortError):
    """The link to an object was not made by this service, or was changed."""


class LinkExpired(PortError):
    """The link to an object is this service's, but has expired."""


UNAVAILABLE = FailureCode.UNAVAILABLE
"""The code of an InferenceError when the server, or one of its models, could not be reached or went away."""


class InferenceError(PortError):
    """The model refused the request or failed. ``retryable``: whether another try may succeed; ``server``: the name of
    the one that was asked, "" where none could be."""

    def __init__(self, code: str, detail: str, *, retryable: bool, server: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.retryable, self.server = code, detail, retryable, server
