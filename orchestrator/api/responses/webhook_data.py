"""Users' endpoints as they see them."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.api.responses.presenters import Time, rfc3339
from orchestrator.domain.webhooks import DisableReason, Endpoint, HookEvent
from orchestrator.egress.urls import MAX_URL
from orchestrator.ports import Delivery

Url = Annotated[str, Meta(max_length=MAX_URL, extra_json_schema={"format": "uri"})]
Events = Annotated[list[HookEvent], Meta(min_length=1, max_length=10)]
Description = Annotated[str, Meta(max_length=200)]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /webhooks``."""

    url: Url
    events: Events | UnsetType = UNSET
    """The three ends of a job, unless others are named."""
    description: Description = ""


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PATCH /webhooks/{id}``; what is left out stays."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class SecretRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /webhooks/{id}/rotate``."""

    grace: Annotated[int, Meta(ge=0, le=7 * 86400)] = 86400
    """Seconds that the secret before goes on signing beside the new one."""


class DisabledData(msgspec.Struct, frozen=True, kw_only=True):
    reason: DisableReason
    at: Time


class WebhookData(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint without its secrets."""

    id: str
    url: str
    events: list[HookEvent]
    description: str
    created_at: Time
    secrets: int
    """How many secrets sign now: 2 while a replaced one goes on."""
    disabled: DisabledData | None
    """Why it gets nothing; null while it does. PATCH with ``enabled`` true enables it again."""


class WebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: WebhookData


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[WebhookData]


class WebhookMade(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    secret: str
    """``whsec_…``, with which events are signed. It is shown this once."""
    data: WebhookData


class WebhookDeleted(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    id: str


class WebhookTested(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    event_id: str
    """The header ``webhook-id`` of the event, which is on its way."""


class DeliveryData(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event."""

    id: str
    """The header ``webhook-id``."""
    type: str
    job_id: str | None
    status: Literal["waiting", "delivered", "given_up"]
    tries: int
    last_answer: str | None
    """The status of the last answer, or why there was none; null before the first try."""
    created_at: Time
    next_try_at: Time | None
    ended_at: Time | None


class DeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    data: list[DeliveryData]


def webhook_data(endpoint: Endpoint) -> WebhookData:
    disabled = endpoint.disabled
    return WebhookData(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        description=endpoint.description,
        created_at=rfc3339(endpoint.created),
        secrets=len(endpoint.keys(time.time())),
        disabled=None if disabled is None else DisabledData(reason=disabled.reason, at=rfc3339(disabled.at)),
    )


def webhook_made(endpoint: Endpoint) -> WebhookMade:
    """With the endpoint's newest secret."""
    return WebhookMade(secret=endpoint.secrets[0].text, data=webhook_data(endpoint))


def delivery_data(delivery: Delivery) -> DeliveryData:
    return DeliveryData(
        id=delivery.id,
        type=delivery.kind,
        job_id=delivery.job,
        status=delivery.outcome,
        tries=delivery.tries,
        last_answer=delivery.answer,
        created_at=rfc3339(delivery.written),
        next_try_at=None if delivery.next_try is None else rfc3339(delivery.next_try),
        ended_at=None if delivery.ended is None else rfc3339(delivery.ended),
    )
