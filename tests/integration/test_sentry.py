"""An error in the API reaches a server of Sentry's protocol, and nothing of the request that caused it does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from litestar import Litestar, Request, post

from orchestrator.api.middleware.observing import Observed
from orchestrator.api.responses.errors import handle_error
from orchestrator.telemetry import sentry
from tests.support.api_server import serving
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        sentry.start(running.dsn, "api", "1.2.3")
        yield running
        sentry.stop()
    sentry_sdk.init()  # to nowhere


@post("/transform/submit")
async def breaks(request: Request[Any, Any, Any]) -> None:
    words = b"".join([piece async for piece in request.stream()])
    logging.getLogger("reroom.x").info("a line before it: %s", words)
    raise RuntimeError(f"{len(words)} bytes were too many")


async def test_an_error_arrives_without_body_headers_and_variables(receiver: Receiver) -> None:
    app = Litestar(
        [breaks], exception_handlers={Exception: handle_error}, openapi_config=None, logging_config=None
    )
    app.asgi_handler = Observed(app.asgi_handler)
    async with serving(app) as http:
        answer = await http.post(
            "/transform/submit?signature=private-query",
            data={"prompt": "private-prompt"},
            files={"file": ("private-name.jpg", b"private-photo" * 1000)},
            headers={
                "X-Api-Key": "private-key",
                "Cookie": "session=private-cookie",
                "X-Request-Id": "of-a-proxy",
            },
        )
    assert answer.status_code == 500, "the handler got the whole body"
    assert "too many" not in answer.text
    sentry.stop()
    (error,) = receiver.errors()
    assert error["exception"]["values"][0]["type"] == "RuntimeError"
    assert error["logentry"]["message"] == "POST /transform/submit"
    assert error["release"] == "reroom-server@1.2.3"
    assert (error["tags"]["service"], error["tags"]["request_id"]) == ("api", "of-a-proxy")
    sent = b"".join(body for _, body in receiver.posts)
    assert b"private" not in sent
