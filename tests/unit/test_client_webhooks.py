"""`reroom.webhooks.verify`, beside another implementation of Standard Webhooks, and the receiver of the docs."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

import reroom
from orchestrator.domain.webhooks import new_secret, secret_bytes, signed
from tests.conftest import ROOT

SECRET, OTHER = new_secret(), new_secret()
BODY = json.dumps(
    {"type": "job.completed", "timestamp": "2026-11-26T20:00:00.000Z", "data": {"job_id": "ab", "ü": 1}}
).encode()
NOW = 1_764_200_000


def headers(secret: str = SECRET, body: bytes = BODY, now: float = NOW) -> dict[str, str]:
    return signed("evt_1", now, body, [secret_bytes(secret)])


def test_an_event_of_the_service() -> None:
    event = reroom.webhooks.verify(headers(), BODY, SECRET, now=NOW + 299)
    assert (event.id, event.type, event.data) == ("evt_1", "job.completed", {"job_id": "ab", "ü": 1})
    assert event.timestamp == datetime(2026, 11, 26, 20, tzinfo=UTC)
    shouted = {name.upper(): value for name, value in headers().items()}
    assert reroom.webhooks.verify(shouted, BODY.decode(), [OTHER, SECRET], now=NOW - 299) == event


def test_two_signatures_while_a_secret_is_replaced() -> None:
    both = signed("evt_1", NOW, BODY, [secret_bytes(OTHER), secret_bytes(SECRET)])
    for secret in (SECRET, OTHER):
        assert reroom.webhooks.verify(both, BODY, secret, now=NOW).id == "evt_1"


def test_another_implementation_agrees() -> None:
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("evt_2", now, BODY.decode())
    theirs = {
        "webhook-id": "evt_2",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1a,other {signature}",
    }
    assert reroom.webhooks.verify(theirs, BODY, SECRET).id == "evt_2"
    Webhook(SECRET).verify(BODY.decode(), headers(now=time.time()))


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "evt_2"}, {"webhook-timestamp": str(NOW + 1)}, {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "9" * 400}, {"webhook-timestamp": "-1"}, {"webhook-signature": ""},
        {"webhook-signature": "garbage"}, {"webhook-signature": "v1,"}, {"webhook-signature": "v1,ü"},
        {"webhook-signature": headers(OTHER)["webhook-signature"]}, {"webhook-id": None},
        {"webhook-timestamp": None}, {"webhook-signature": None},
        {"webhook-signature": headers()["webhook-signature"].replace("v1,", "v2,")},
    ],
)  # fmt: skip
def test_what_others_send_is_refused(changes: dict[str, str | None]) -> None:
    sent = {name: value for name, value in (headers() | changes).items() if value is not None}
    with pytest.raises(reroom.BadWebhook):
        reroom.webhooks.verify(sent, BODY, SECRET, now=NOW)


def test_old_changed_and_odd_ones_are_refused() -> None:
    for now in (NOW + 301, NOW - 301):
        with pytest.raises(reroom.BadWebhook, match="too old"):
            reroom.webhooks.verify(headers(), BODY, SECRET, now=now)
    reroom.webhooks.verify(headers(), BODY, SECRET, now=NOW + 900, tolerance=1000)
    with pytest.raises(reroom.BadWebhook, match="signature"):
        reroom.webhooks.verify(headers(), BODY + b" ", SECRET, now=NOW)
    for body in (b"[]", b"{}", b"\xff", b'{"type": "\xff"}'):
        with pytest.raises(reroom.BadWebhook, match="not an event"):
            reroom.webhooks.verify(headers(body=body), body, SECRET, now=NOW)
    for bad in ("", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!"):
        with pytest.raises(ValueError, match="a secret is whsec_"):
            reroom.webhooks.verify(headers(), BODY, bad, now=NOW)


def test_the_receiver_of_the_docs() -> None:
    """It prints each event once, and answers 204; a stranger gets no answer."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "WEBHOOK_SECRET": SECRET,
        "PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        try:
            assert [post(port, SECRET) for _ in range(2)] == [204, 204]
            with pytest.raises(OSError, match=r"."):
                post(port, OTHER)
        finally:
            running.terminate()
        assert running.stdout is not None
        assert running.stdout.read() == b"job.completed ab\n"


def post(port: int, secret: str) -> int:
    """The status of its answer, once it listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", BODY, headers(secret, now=time.time()), method="POST"
    )
    for _ in range(300):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except OSError as error:
            if "refused" not in str(error):
                raise
            time.sleep(0.1)
    raise AssertionError("it does not listen")
