"""A reader of server-sent events, as a browser's EventSource is one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from reroom._sse import Parser, ServerEvent
from tests.support.api_schema import check


class Source:
    """An open stream. ``lines`` has all that came."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer, self.parser, self.lines = answer, Parser(), list[str]()
        self._lines = answer.aiter_lines()

    async def read(self, count: int | None = None) -> list[ServerEvent]:
        """``count`` events, or all until the end of the stream; each is checked against the description."""
        events: list[ServerEvent] = []
        async with asyncio.timeout(15):
            while count is None or len(events) < count:
                line = await anext(self._lines, None)
                if line is None:
                    break
                self.lines.append(line)
                event = self.parser.feed(line)
                events += [] if event is None else [event]
        for event in events:
            message = json.loads(event.data)
            check("Message", message)
            assert message["type"] == event.event
        return events


@contextlib.asynccontextmanager
async def reading(
    http: httpx2.AsyncClient, job_id: str, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[Source]:
    async with http.stream("GET", f"/transform/{job_id}/events{query}", headers=headers) as answer:
        yield Source(answer)


def messages(events: list[ServerEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in events]
