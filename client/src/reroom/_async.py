"""The asyncio shell."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from reroom import _operations as operations
from reroom import _transport as transport
from reroom._effects import (
    Connect,
    Done,
    Effect,
    Emit,
    Expired,
    Failure,
    Fetch,
    Put,
    Receive,
    Reply,
    Send,
    Sleep,
    Steps,
    T,
    advance,
)
from reroom._files import Photo, atomic, read_photo
from reroom._http import RetryPolicy
from reroom.events import Event
from reroom.models import Analysis, Health, JobRef, JobStatus, PreferencesLike, Submitted, Uploaded


class AsyncClient:
    """A reroom service, for asyncio. Use it as an async context manager, or call :meth:`close`.

    ``url`` is the service's (default http://localhost:8000), ``timeout`` the seconds that one answer may take.
    Every method raises :class:`reroom.ReroomError`; which, see :mod:`reroom.errors`. Tasks may share a client.
    """

    def __init__(
        self, url: str = "http://localhost:8000", *, timeout: float = 30.0, retry: RetryPolicy | None = None
    ) -> None:
        self._url = transport.base_url(url)
        self._retry = retry or RetryPolicy()
        self._http = httpx2.AsyncClient(**transport.http_options(timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self,
        photo: Photo | Uploaded,
        style: str = "modern",
        preferences: PreferencesLike | None = None,
    ) -> Submitted:
        """Send a photo (path, bytes or open file) to be restyled, or one that was uploaded; the job's receipt.

        An upload is good for one job. Sent again only when the service cannot have taken it. Raises also OSError when
        the photo cannot be read.
        """
        source = photo if isinstance(photo, Uploaded) else await asyncio.to_thread(read_photo, photo)
        return await self._call(operations.submit(source, style, preferences, self._retry))

    async def analyze(self, photo: Photo) -> Analysis:
        """What is in a photo (path, bytes or open file): depth, edges, objects and the kind of room.

        The service keeps nothing of it, so it is sent again after most failures. Raises also OSError when the photo
        cannot be read.
        """
        return await self._call(operations.analyze(await asyncio.to_thread(read_photo, photo), self._retry))

    async def upload(self, photo: Photo) -> Uploaded:
        """Put a photo (path, bytes or open file) straight into the service's storage, past its API, to submit it then.

        Raises also OSError when the photo cannot be read.
        """
        return await self._call(operations.upload(await asyncio.to_thread(read_photo, photo), self._retry))

    async def status(self, job: JobRef) -> JobStatus:
        """The job as of now, with freshly signed URLs when it is completed."""
        return await self._call(operations.status(job, self._retry))

    async def events(
        self, job: JobRef, *, after: str | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """The job's events as they happen, each once and in order; ends after the terminal one.

        A dropped connection is made again and resumed. ``after`` None: a :class:`reroom.events.Snapshot` first, then
        what comes after it ("0": everything since the beginning; a ``seq``: everything after that event; no snapshot
        then). Raises Timeout when the job has not ended within ``timeout`` seconds.
        """
        line = _Line(self._http, self._url)
        steps = operations.follow(job, after, timeout, self._retry)
        try:
            effect = advance(steps, None)
            while not isinstance(effect, Done):
                if isinstance(effect, Emit):
                    yield effect.event
                effect = advance(steps, await line.perform(effect))
        finally:
            await line.close()

    async def wait(self, job: JobRef, *, timeout: float | None = None) -> JobStatus:
        """Wait until the job is completed. Raises JobFailed, JobCancelled, or Timeout after ``timeout`` seconds."""
        return await self._call(operations.wait(job, timeout, self._retry))

    async def cancel(self, job: JobRef) -> JobStatus:
        """Cancel the job, work on the GPU included; no error when it is cancelled already.

        A running job is told to stop; it is ``cancelled`` shortly after. Raises Conflict when it has ended otherwise.
        """
        return await self._call(operations.cancel(job, self._retry))

    async def download(self, source: JobRef, file: str | os.PathLike[str]) -> Path:
        """Save a job's picture, or what a URL of its result gives, as ``file``, which appears whole or not at all.

        Raises JobNotFinished, JobFailed, JobCancelled, and OSError when the file cannot be written.
        """
        return await self._call(operations.download(source, Path(file), self._retry))

    async def styles(self) -> list[str]:
        """The names of the styles that the service knows."""
        return await self._call(operations.styles(self._retry))

    async def health(self) -> Health:
        """How the service and its parts are; no error when it is degraded."""
        return await self._call(operations.health(self._retry))

    async def _call(self, steps: Steps[T]) -> T:
        line = _Line(self._http, self._url)
        try:
            effect = advance(steps, None)
            while not isinstance(effect, Done):
                effect = advance(steps, await line.perform(effect))
            return effect.value
        finally:
            await line.close()


class _Line:
    """Performs the effects of one operation; holds its WebSocket."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self._url = http, url
        self._socket: ClientConnection | None = None

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def perform(self, effect: Effect) -> Any:
        """What came of the effect; failures are returned, not raised."""
        try:
            match effect:
                case Send():
                    return await self._send(effect)
                case Put():
                    return await self._put(effect)
                case Fetch():
                    return await self._fetch(effect)
                case Sleep(seconds):
                    return await asyncio.sleep(seconds)
                case Connect():
                    return await self._connect(effect)
                case Receive(timeout):
                    return await self._receive(timeout)
                case Emit():
                    return None
        except Failure as failure:
            return failure
        except transport.HTTP_ERRORS as error:
            return transport.http_failure(error)

    async def _send(self, effect: Send) -> Reply:
        response = await self._http.request(
            effect.method, self._url + effect.path, **transport.request_options(effect)
        )
        return transport.reply(response, response.content)

    async def _put(self, effect: Put) -> Reply:
        url = transport.absolute(self._url, effect.url)
        response = await self._http.put(url, content=effect.body, headers=dict(effect.headers))
        return transport.reply(response, response.content)

    async def _fetch(self, effect: Fetch) -> Reply:
        async with self._http.stream("GET", transport.absolute(self._url, effect.url)) as response:
            if not response.is_success:
                return transport.reply(response, await response.aread())
            with atomic(effect.target) as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
            return transport.reply(response, b"")

    async def _connect(self, effect: Connect) -> None:
        await self.close()
        try:
            url = transport.ws_url(self._url, effect.path)
            self._socket = await connect(url, **transport.ws_options(effect.timeout))
        except transport.CONNECT_ERRORS as error:
            raise transport.connect_failure(error) from error

    async def _receive(self, timeout: float) -> str | bytes:
        assert self._socket is not None, "Connect comes before Receive"
        try:
            async with asyncio.timeout(None if timeout == math.inf else timeout):
                return await self._socket.recv()
        except TimeoutError as error:
            raise Expired("no message in time") from error
        except ConnectionClosed as error:
            raise transport.closed(error) from error
