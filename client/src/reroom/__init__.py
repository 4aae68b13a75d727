"""The client of a reroom service: the same room, restyled.

::

    with reroom.Client("http://localhost:8000") as client:
        job = client.submit("room.jpg", "industrial")
        client.wait(job)
        client.download(job, "result.jpg")

:class:`AsyncClient` is the same for asyncio. :mod:`reroom.events` has a job's events, :mod:`reroom.errors` the
exceptions; :mod:`reroom.webhooks` checks the events of webhooks. :mod:`reroom.triton` (extra ``triton``) calls the
model server directly.
"""

from reroom import errors, events, webhooks
from reroom._async import AsyncClient
from reroom._http import RetryPolicy
from reroom._sync import Client
from reroom.errors import (
    ApiError,
    BadWebhook,
    Conflict,
    ConnectionFailed,
    Forbidden,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobNotFinished,
    NotFound,
    ProtocolError,
    RateLimited,
    ReroomError,
    ServerError,
    Timeout,
)
from reroom.models import (
    Analysis,
    BatchItem,
    ChildStatus,
    Delivery,
    Disabled,
    Health,
    JobError,
    JobResult,
    JobStatus,
    PhotoUrl,
    Planned,
    Preferences,
    ResultWarning,
    SeenObject,
    Style,
    StylePicture,
    Submitted,
    Uploaded,
    Webhook,
    WebhookMade,
)

__all__ = [
    "Analysis",
    "ApiError",
    "AsyncClient",
    "BadWebhook",
    "BatchItem",
    "ChildStatus",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Delivery",
    "Disabled",
    "Forbidden",
    "Health",
    "InvalidRequest",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobNotFinished",
    "JobResult",
    "JobStatus",
    "NotFound",
    "PhotoUrl",
    "Planned",
    "Preferences",
    "ProtocolError",
    "RateLimited",
    "ReroomError",
    "ResultWarning",
    "RetryPolicy",
    "SeenObject",
    "ServerError",
    "Style",
    "StylePicture",
    "Submitted",
    "Timeout",
    "Uploaded",
    "Webhook",
    "WebhookMade",
    "errors",
    "events",
    "webhooks",
]
