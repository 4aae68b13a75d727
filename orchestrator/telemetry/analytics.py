"""Events for product analytics, to a sink of the owner's: a file of JSON lines, or a URL that takes them by POST.

An event says what happened, to which style and tier, and how long it took: nothing about who, and nothing about the
photo. It never delays or fails a job: a thread delivers, the queue before it is bounded, and what does not fit or is
not taken is dropped and counted (``reroom_analytics_events_total``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from orchestrator.telemetry import metrics

CAPACITY = 1000
BATCH = 100
DELIVERY_SECONDS = 5.0
TRIES = 3
CLOSE_SECONDS = 3.0
"""How long a process that ends waits for its last events to be delivered."""

Name = Literal["submitted", "completed", "failed", "cancelled"]
_log = logging.getLogger("reroom.analytics")


class ProductEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``seconds`` is the time since the submission, 0 for ``submitted``; ``code`` is why it failed. ``id`` is the
    event's own: a sink recognises by it what was sent twice."""

    event: Name
    id: str
    at: str
    style: str
    tier: str
    seconds: float
    code: str | None = None


class Analytics:
    """Takes events for the sink ``target``: an http(s) URL or the path of a file; "" drops them all."""

    def __init__(self, target: str = "", *, capacity: int = CAPACITY, pause: float = 1.0) -> None:
        self._deliver: Callable[[list[ProductEvent]], None] | None = None
        if target.startswith(("http://", "https://")):
            self._deliver = _Webhook(target).post
        elif target:
            self._deliver = _LinesFile(Path(target)).append
        self._pause = pause
        self._events: queue.Queue[ProductEvent | None] = queue.Queue(capacity)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def emit(
        self, event: Name, *, style: str, tier: str, seconds: float = 0.0, code: str | None = None
    ) -> None:
        """Queue an event; returns at once."""
        if self._deliver is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="analytics", daemon=True)
            self._thread.start()
        made = ProductEvent(
            event=event,
            id=uuid.uuid4().hex,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            style=style,
            tier=tier,
            seconds=round(seconds, 3),
            code=code,
        )
        try:
            self._events.put_nowait(made)
        except queue.Full:
            metrics.ANALYTICS_EVENTS.labels("dropped").inc()

    def close(self) -> None:
        """Deliver what waits, for CLOSE_SECONDS at most."""
        if self._thread is None:
            return
        self._ending.set()
        # When it is full, the thread looks at _ending after its batch.
        with suppress(queue.Full):
            self._events.put_nowait(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            events = [event for event in batch if event is not None]
            if events:
                taken = self._try(events)
                metrics.ANALYTICS_EVENTS.labels("sent" if taken else "dropped").inc(len(events))
            if self._ending.is_set() and self._events.empty():
                return

    def _next_batch(self) -> list[ProductEvent | None]:
        batch = [self._events.get()]
        while len(batch) < BATCH:
            try:
                batch.append(self._events.get_nowait())
            except queue.Empty:
                break
        return batch

    def _try(self, events: list[ProductEvent]) -> bool:
        assert self._deliver is not None
        for left in reversed(range(TRIES)):
            try:
                self._deliver(events)
            except OSError as error:  # urllib's errors are OSErrors
                if not self._failing:
                    _log.warning("the sink of product analytics does not take events: %s", error)
                self._failing = True
                if left and self._ending.wait(self._pause):
                    return False
            else:
                self._failing = False
                return True
        return False


class _LinesFile:
    """Several processes may append to it: each batch is one write, which the system does not mix with others."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, events: list[ProductEvent]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, msgspec.json.Encoder().encode_lines(events))
        finally:
            os.close(file)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow none: the events go where the owner said, or nowhere."""


class _Webhook:
    """Each batch is one POST of JSON lines (application/x-ndjson); any status from 200 to 299 takes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = urllib.request.build_opener(_NoRedirects).open

    def post(self, events: list[ProductEvent]) -> None:
        body = msgspec.json.Encoder().encode_lines(events)
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "reroom"}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        with self._open(request, timeout=DELIVERY_SECONDS):
            pass


NO_ANALYTICS = Analytics()


@asynccontextmanager
async def open_analytics(target: str) -> AsyncIterator[Analytics]:
    """Analytics for the time of the block, closed at its end."""
    analytics = Analytics(target)
    try:
        yield analytics
    finally:
        await asyncio.to_thread(analytics.close)


def since(created_at: float) -> float:
    """Seconds since a UNIX time by the clock of another machine, at least 0."""
    return max(0.0, time.time() - created_at)
