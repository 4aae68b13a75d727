"""The exceptions of this package::

ReroomError
├── ApiError              the service answered with an error (status, code, field, detail, retry_after)
│   ├── InvalidRequest    400, 413, 415, 422: the request is wrong; ``field`` says where
│   ├── Forbidden         401, 403: not allowed, or a link has expired
│   ├── NotFound          404: no such job, file or route
│   ├── Conflict          409: the job's state does not allow it
│   ├── RateLimited       402, 429: a limit is met, or the service's budget; ``retry_after`` says when to try again
│   └── ServerError       5xx: the service is broken or not available now
├── ConnectionFailed      the service cannot be reached, or the connection was lost and retries failed
├── Timeout               no answer, or no end of the job, in time
├── ProtocolError         an answer was not understood: not a reroom service, or a much newer one
├── JobFailed             the job failed (job_id, code, detail)
├── JobCancelled          the job was cancelled (job_id)
├── JobNotFinished        there is no result yet (job_id, status)
├── BadWebhook            a webhook's event was not sent by the service, or too long ago
└── RestyleError          of reroom.triton: the model or its server (code, detail, retryable)
"""

from __future__ import annotations


class ReroomError(Exception):
    """Base of all exceptions of this package. Local files raise OSError."""


class ApiError(ReroomError):
    """The service answered with an error: RFC 9457 problem details, as attributes.

    ``code`` is stable and meant for programs, ``detail`` is one sentence for people; ``field`` names the offending
    field of the request and ``retry_after`` is in seconds, where the service gave them.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{detail} [{status} {code}]")
        self.status, self.code, self.detail = status, code, detail
        self.field, self.retry_after = field, retry_after


class InvalidRequest(ApiError):
    """The request is wrong; sending it again does not help."""


class Forbidden(ApiError):
    """Not allowed, or a signed link is wrong or has expired."""


class NotFound(ApiError):
    """No job, file or route of that name."""


class Conflict(ApiError):
    """The job's state does not allow it: a job that has completed cannot be cancelled, for example."""


class RateLimited(ApiError):
    """Too many requests; ``retry_after`` says when to try again."""


class ServerError(ApiError):
    """The service is broken, or not available now."""


class ConnectionFailed(ReroomError):
    """The service cannot be reached, or the connection was lost and retries failed."""


class Timeout(ReroomError):
    """No answer, or no end of the job, in time. The job itself goes on."""


class ProtocolError(ReroomError):
    """An answer was not understood."""


class JobFailed(ReroomError):
    """The job failed; ``code`` and ``detail`` say why."""

    def __init__(self, job_id: str, code: str, detail: str) -> None:
        super().__init__(f"job {job_id} failed: {detail} [{code}]")
        self.job_id, self.code, self.detail = job_id, code, detail


class JobCancelled(ReroomError):
    """The job was cancelled."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was cancelled")
        self.job_id = job_id


class JobNotFinished(ReroomError):
    """There is no result yet."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} has no result yet: it is {status}")
        self.job_id, self.status = job_id, status


class BadWebhook(ReroomError):
    """A webhook's event was not sent by the service with this secret, or too long ago."""
