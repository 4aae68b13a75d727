"""What the client can do with endpoints for webhooks, without I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from reroom._effects import ConnectFailed, Failure, Operation, Send
from reroom._http import RetryPolicy, decode, if_repeatable, if_transient, request
from reroom._operations import delete
from reroom.errors import ApiError
from reroom.models import Delivery, Webhook, WebhookMade

_JSON = {"content-type": "application/json"}


class _Webhook(msgspec.Struct):
    data: Webhook


class _Webhooks(msgspec.Struct):
    data: list[Webhook]


class _Deliveries(msgspec.Struct):
    data: list[Delivery]


class _Tested(msgspec.Struct):
    event_id: str


def webhooks(policy: RetryPolicy) -> Operation[list[Webhook]]:
    return decode((yield from request(Send("GET", "webhooks"), policy, if_transient)), _Webhooks).data


def webhook(webhook_id: str, policy: RetryPolicy) -> Operation[Webhook]:
    reply = yield from request(Send("GET", _path(webhook_id)), policy, if_transient)
    return decode(reply, _Webhook).data


def create_webhook(
    url: str, events: Sequence[str], description: str, policy: RetryPolicy
) -> Operation[WebhookMade]:
    body: dict[str, Any] = {"url": url, "description": description}
    if events:
        body["events"] = list(events)
    # The service does it once, however often it is sent.
    headers = _JSON | {"idempotency-key": uuid.uuid4().hex}
    effect = Send("POST", "webhooks", msgspec.json.encode(body), headers)
    return decode((yield from request(effect, policy, if_repeatable)), WebhookMade)


def change_webhook(webhook_id: str, members: Mapping[str, Any], policy: RetryPolicy) -> Operation[Webhook]:
    body = {name: value for name, value in members.items() if value is not None}
    effect = Send("PATCH", _path(webhook_id), msgspec.json.encode(body), _JSON)
    return decode((yield from request(effect, policy, if_transient)), _Webhook).data


def delete_webhook(webhook_id: str, policy: RetryPolicy) -> Operation[None]:
    return delete(_path(webhook_id), policy)


def rotate_webhook(webhook_id: str, grace: int | None, policy: RetryPolicy) -> Operation[WebhookMade]:
    body = {} if grace is None else {"grace": grace}
    effect = Send("POST", f"{_path(webhook_id)}/rotate", msgspec.json.encode(body), _JSON)
    return decode((yield from request(effect, policy, _if_not_done)), WebhookMade)


def test_webhook(webhook_id: str, policy: RetryPolicy) -> Operation[str]:
    # A second test does no harm.
    reply = yield from request(Send("POST", f"{_path(webhook_id)}/test"), policy, if_transient)
    return decode(reply, _Tested).event_id


def deliveries(webhook_id: str, limit: int, policy: RetryPolicy) -> Operation[list[Delivery]]:
    effect = Send("GET", f"{_path(webhook_id)}/deliveries?limit={limit}")
    return decode((yield from request(effect, policy, if_transient)), _Deliveries).data


def _if_not_done(cause: Failure | ApiError) -> bool:
    """Only what certainly did not arrive: a second new secret would take the place of the one that receivers know."""
    return isinstance(cause, ConnectFailed)


def _path(webhook_id: str) -> str:
    return f"webhooks/{quote(webhook_id, safe='')}"
