"""Live events: one reading connection for all subscribers of a process.

A subscriber attaches to the hub, reads the job's stream up to now, then takes what the hub delivers and drops events
that it has yielded already. No event is lost between the two, because the hub delivers everything after a position that
was set before the subscriber read the stream. (Reading first and attaching afterwards loses events.)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio as redis

from orchestrator.adapters.redis.connection import MAX_BLOCK, redis_calls
from orchestrator.adapters.redis.keys import Keys
from orchestrator.adapters.redis.scripts import Scripts, pairs
from orchestrator.domain.events import EventRecord, Terminal, decode, seq_key
from orchestrator.domain.job import TERMINAL
from orchestrator.ports import Unavailable

QUEUE_LIMIT = 256
"""Events that wait for a slow subscriber at most; beyond that it reads them from the stream itself."""

CHECK_EVERY = 10.0
"""Seconds without an event after which a subscriber checks that its job still exists."""

_WAKE_TTL = 60
_log = logging.getLogger("reroom.hub")

Entry = tuple[str, dict[str, str]]


class _Subscriber:
    """The events that the hub has delivered to one watcher and the watcher has not consumed."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.overflowed = False
        self._news = asyncio.Event()

    def deliver(self, entries: list[Entry]) -> None:
        if len(self.entries) + len(entries) > QUEUE_LIMIT:
            self.overflowed = True
            self.entries.clear()
        elif not self.overflowed:
            self.entries.extend(entries)
        self._news.set()

    async def wait(self) -> bool:
        """True when entries have arrived, False after CHECK_EVERY seconds without any."""
        if self.overflowed:
            return True
        try:
            async with asyncio.timeout(CHECK_EVERY):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Hub:
    """Feeds any number of subscribers from one XREAD. Starts with the first, ends with :meth:`aclose`.

    ``wake_key`` names a stream of this process only: an entry in it ends a blocked XREAD, so that the next one
    includes a new subscriber's job at once.
    """

    def __init__(
        self, client: redis.Redis, blocking: redis.Redis, call: Scripts, keys: Keys, wake_key: str
    ) -> None:
        self._client, self._blocking, self._call = client, blocking, call
        self._keys = keys
        self._wake_key = wake_key
        self._subscribers: dict[str, set[_Subscriber]] = {}
        self._positions: dict[str, str] = {wake_key: "0-0"}
        self._reader: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def events(self, job_id: str, after: str) -> AsyncGenerator[EventRecord, None]:
        """As :meth:`orchestrator.ports.JobStore.events`."""
        key = self._keys.events + job_id
        seen = seq_key(after)
        with self._attached(key) as subscriber:
            fresh = await self._catch_up(job_id, after)
            while fresh is not None:
                for seq, fields in fresh:
                    event = decode(fields["event"])
                    if seq_key(seq) > seen:
                        after, seen = seq, seq_key(seq)
                        if event is not None:
                            yield EventRecord(seq=seq, event=event)
                    if isinstance(event, Terminal):
                        return
                fresh = await self._next(subscriber, job_id, after)

    async def _next(self, subscriber: _Subscriber, job_id: str, after: str) -> list[Entry] | None:
        """The next entries; None when there can be no more."""
        if await subscriber.wait() and not subscriber.overflowed:
            entries = list(subscriber.entries)
            subscriber.entries.clear()
            return entries
        try:
            subscriber.overflowed = False
            return await self._catch_up(job_id, after)
        except Unavailable:
            # The stream keeps the events of the outage: read it again after the next event or the next silence.
            subscriber.overflowed = True
            await asyncio.sleep(MAX_BLOCK)
            return []

    async def _catch_up(self, job_id: str, after: str) -> list[Entry] | None:
        """Every entry after ``after`` up to now; None when there is none and none can come any more."""
        await self._follow(job_id)
        status, entries = await self._call("catch_up", job=job_id, after=after)
        if status is None or (status in TERMINAL and not entries):
            return None
        return [(seq, pairs(flat)) for seq, flat in entries]

    async def _follow(self, job_id: str) -> None:
        """Make the hub read the job's stream. Called before a subscriber reads the stream, so that what it reads
        reaches at least to the hub's position."""
        key = self._keys.events + job_id
        if key in self._positions:
            return
        with redis_calls():
            last_seq: Any = await self._client.hget(self._keys.job + job_id, "last_seq")
        if last_seq is not None and key not in self._positions:
            self._positions[key] = last_seq
            await self._wake()

    @contextmanager
    def _attached(self, key: str) -> Iterator[_Subscriber]:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="event-hub")
        subscriber = _Subscriber()
        self._subscribers.setdefault(key, set()).add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers[key].discard(subscriber)
            if not self._subscribers[key]:
                del self._subscribers[key]
                self._positions.pop(key, None)

    async def _wake(self) -> None:
        await self._call("wake", key=self._wake_key, seconds=_WAKE_TTL)

    async def _read(self) -> None:
        down = False
        while True:
            try:
                await self._read_once()
                down = False
            except (Unavailable, redis.RedisError) as error:
                # All watchers of this process depend on this task, so no error from Redis may end it.
                if not down:
                    _log.warning("live events pause: %s", error)
                down = True
                await asyncio.sleep(0.2)

    async def _read_once(self) -> None:
        with redis_calls():
            positions: dict[Any, Any] = dict(self._positions)
            block = int(MAX_BLOCK * 1000)
            reply: Any = await self._blocking.xread(positions, count=QUEUE_LIMIT // 2, block=block)
        for key, entries in reply or []:
            if key in self._positions:
                self._positions[key] = entries[-1][0]
            for subscriber in self._subscribers.get(key, ()):
                subscriber.deliver(entries)
