"""A receiver of the service's events: a real HTTP server, which checks signatures by the words of Standard Webhooks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, Request, Response, post
from litestar.params import FromPath

from tests.support.api_server import serving

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
PATIENCE = 20.0


class BillingSystem:
    """``answers``: the statuses of its next answers; 200 after these."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.ids: list[str] = []
        self.hanging: set[str] = set()
        """Topics that are not answered until ``go_on``."""
        self.go_on = asyncio.Event()
        self.at_once = 0
        """The most requests that hung at the same time."""
        self._hanging_now = 0
        self._came = asyncio.Condition()

    async def events_about(self, topic: str, count: int = 1) -> list[dict[str, Any]]:
        """All events of the topic, once there are so many and no more come for a moment."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.events[topic]) >= count)
        return self.events[topic]

    async def hung(self, count: int) -> None:
        """Returns once so many requests hang."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: self._hanging_now >= count)

    async def _hang(self) -> None:
        async with self._came:
            self._hanging_now += 1
            self.at_once = max(self.at_once, self._hanging_now)
            self._came.notify_all()
        await self.go_on.wait()
        self._hanging_now -= 1

    async def take(self, request: Request[Any, Any, Any], topic: str) -> int:
        body, headers = await request.body(), request.headers
        signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
        self.ids.append(headers["webhook-id"])
        if topic in self.hanging:
            await self._hang()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            async with self._came:
                self.events[topic].append(json.loads(body))
                self._came.notify_all()
        return status


@contextlib.asynccontextmanager
async def billing_system() -> AsyncIterator[BillingSystem]:
    receiver = BillingSystem()

    @post("/{topic:str}")
    async def take(request: Request[Any, Any, Any], topic: FromPath[str]) -> Response[None]:
        return Response(None, status_code=await receiver.take(request, topic))

    async with serving(Litestar([take], openapi_config=None, logging_config=None)) as http:
        receiver.url = str(http.base_url).rstrip("/")
        yield receiver
