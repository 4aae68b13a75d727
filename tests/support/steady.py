"""Steady requests to `restyle`, and what became of each."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from reroom.triton import RestyleError, RestyleRequest, Result, Stage, TritonClient


@dataclass(frozen=True)
class Made:
    """One request."""

    began: float
    """By ``time.monotonic``."""
    seconds: float
    first: str
    """The release that its first event named."""
    release: str
    """That of its result; "" = it failed."""
    picture: str
    """A digest of the picture."""
    error: str = ""


@dataclass
class Steady:
    """The requests so far."""

    made: list[Made] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        return [each.error for each in self.made if each.error]

    def mixed(self, pictures: dict[str, str]) -> list[Made]:
        """Those whose picture is not the one of the release that they name, by ``pictures``."""
        return [
            each
            for each in self.made
            if not each.error and (each.first != each.release or pictures.get(each.release) != each.picture)
        ]

    def since(self, moment: float) -> list[Made]:
        """Those that began at ``moment`` or later."""
        return [each for each in self.made if each.began >= moment]


async def ask(client: TritonClient, request: RestyleRequest) -> Made:
    """Make one request."""
    began, first, found, error = time.monotonic(), "", None, ""
    try:
        async with aclosing(client.restyle(request, deadline=60)) as events:
            async for event in events:
                if isinstance(event, Stage) and event.release:
                    first = event.release
                if isinstance(event, Result):
                    found = event
    except RestyleError as failed:
        error = str(failed)
    digest = hashlib.sha256(found.image.tobytes()).hexdigest()[:16] if found else ""
    return Made(began, time.monotonic() - began, first, found.release if found else "", digest, error)


async def picture_of(client: TritonClient, request: RestyleRequest, release: int) -> str:
    """The digest of the picture that a version makes."""
    made = await ask(client, msgspec.structs.replace(request, release=release))
    assert not made.error, made.error
    return made.picture


@asynccontextmanager
async def steady(
    clients: Sequence[TritonClient], request: RestyleRequest, each: int = 2
) -> AsyncIterator[Steady]:
    """Within the block, ``each`` requests at a time to each of ``clients``, without a pause."""
    record, done = Steady(), asyncio.Event()

    async def go_on(client: TritonClient) -> None:
        while not done.is_set():
            record.made.append(await ask(client, request))

    tasks = [asyncio.create_task(go_on(client)) for client in clients for _ in range(each)]
    try:
        yield record
    finally:
        done.set()
        await asyncio.gather(*tasks)
