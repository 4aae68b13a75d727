"""Webhooks of a reroom service: check that an event is the service's own, and read it.

::

    event = reroom.webhooks.verify(request.headers, request.body, "whsec_…")
    if event.type == "job.completed":
        print(event.data["job_id"], event.data["result"]["transformed_url"])

Events follow Standard Webhooks (standardwebhooks.com). One may come twice, with the same ``id``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from reroom.errors import BadWebhook

TOLERANCE = 300.0
"""Seconds that the clocks of the service and its receiver may differ, the event's way included."""

_PREFIX = "whsec_"


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint is told."""

    id: str
    """The same for every delivery of this event: what was seen before need not be done again."""
    type: str
    """``job.completed``, ``job.failed``, ``job.cancelled``, ``job.started``, ``webhook.test``, or one of a newer
    service."""
    timestamp: datetime
    """When it happened."""
    data: dict[str, Any]


class _Body(msgspec.Struct):
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> WebhookEvent:
    """The event of a request to an endpoint. ``body`` is the request's as it came: JSON that was decoded and encoded
    again has another signature. ``secret``: the endpoint's ``whsec_…``, or several while they are being changed.

    ``now`` are UNIX seconds, the present time unless given. Raises BadWebhook when the service with that secret did not
    send it, or more than ``tolerance`` seconds ago, and ValueError for a text that is no secret.
    """
    keys = [_key(each) for each in ([secret] if isinstance(secret, str) else secret)]
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        event_id, stamp = sent["webhook-id"], sent["webhook-timestamp"]
        signatures = sent["webhook-signature"].split()
    except KeyError as missing:
        raise BadWebhook(f"the header {missing.args[0]} is missing") from None
    if not stamp.isdecimal() or abs((time.time() if now is None else now) - int(stamp[:15])) > tolerance:
        raise BadWebhook("the event is too old, or one of the clocks is wrong")
    raw = body.encode() if isinstance(body, str) else bytes(body)
    signed = f"{event_id}.{stamp}.".encode() + raw
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    given = [each.encode() for each in signatures]
    # Every pair is compared, so that the time says nothing about which one fits.
    if not sum(hmac.compare_digest(one, other) for one in given for other in expected):
        raise BadWebhook("the signature does not fit: another secret, or a body that was changed on its way")
    try:
        told = msgspec.json.decode(raw, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadWebhook(f"the body is not an event: {error}") from None
    return WebhookEvent(id=event_id, type=told.type, timestamp=told.timestamp, data=told.data)


def _key(secret: str) -> bytes:
    """Raises ValueError."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 24:
        raise ValueError("a secret is whsec_ and at least 24 bytes in base64, as POST /webhooks answered it")
    return key
