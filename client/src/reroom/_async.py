"""The asyncio client."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from reroom import _hooks as hooks
from reroom import _many as many
from reroom import _operations as operations
from reroom import _transport as transport
from reroom._effects import (
    Connect,
    Done,
    Effect,
    Emit,
    Failure,
    Operation,
    Read,
    Receive,
    Save,
    Send,
    Sleep,
    T,
    TimedOut,
    advance,
)
from reroom._files import Output, Photo, read_photo, save
from reroom._http import RetryPolicy
from reroom._sse import Parser
from reroom._watch import Way
from reroom.errors import ApiError
from reroom.events import Event
from reroom.models import (
    Analysis,
    BatchItem,
    Delivery,
    Health,
    JobRef,
    JobStatus,
    PhotoUrl,
    PreferencesLike,
    Style,
    Submitted,
    Uploaded,
    Webhook,
    WebhookMade,
)

OnEvent = Callable[[Event], Awaitable[None] | None]
"""Is called with each event of a job; may be a coroutine function."""


class AsyncClient:
    """A reroom service, for asyncio. Use it as an async context manager, or call :meth:`close`.

    ``url`` is the service's. ``api_key`` is the key to it, else what REROOM_API_KEY is; a service in open mode needs
    none. It is sent to the service alone, not to the storage that links may lead to. ``timeout`` is in seconds, for one
    answer. Tasks may share a client. Every method raises
    subclasses of :class:`reroom.ReroomError`; :mod:`reroom.errors` lists them.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._service = transport.Service(url, api_key)
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
        photo: Photo | Uploaded | PhotoUrl,
        style: str = "modern",
        preferences: PreferencesLike | None = None,
        *,
        keep_mask: Photo | None = None,
        reference: Photo | None = None,
        cancel_after: float | None = None,
        wait: float | None = None,
        styles: Sequence[str] = (),
        variations: int = 1,
    ) -> Submitted:
        """Submit a photo (path, bytes, open file, an upload, or where it is) to be restyled; returns the job's receipt.

        ``keep_mask`` is a picture of the photo's shape: what is light in it stays as photographed. ``reference`` is one
        whose colours and contrasts are wanted. The service cancels the job unless it has ended within ``cancel_after``
        seconds, rounded up. With ``wait`` it answers when the job ends, after so many seconds at the latest; the
        receipt's ``job`` is the job then, if it has ended.

        ``variations`` pictures are made of each of the ``styles``, which take the place of ``style``. When that is more
        than one picture, the job is their parent: its ``children`` are jobs as well, each with a result of its own.

        An upload can be submitted once. A submission is retried under the same ``Idempotency-Key``, so that the service
        makes one job of it. Raises also OSError when the photo cannot be read.
        """
        return await self._call(
            operations.submit(
                photo,
                style,
                preferences,
                keep_mask,
                reference,
                cancel_after,
                wait,
                styles,
                variations,
                self._retry,
            )
        )

    async def analyze(self, photo: Photo) -> Analysis:
        """Find what is in a photo (path, bytes or open file): depth, edges, objects and the type of room.

        The service stores nothing, so this is retried after most failures. Raises also OSError when the photo cannot be
        read.
        """
        return await self._call(operations.analyze(photo, self._retry))

    async def upload(self, photo: Photo) -> Uploaded:
        """Put a photo (path, bytes or open file) directly into the service's storage, to be submitted afterwards.

        Raises also OSError when the photo cannot be read.
        """
        return await self._call(operations.upload(photo, self._retry))

    async def status(self, job: JobRef) -> JobStatus:
        """The job's present state, with freshly signed URLs when it is completed."""
        return await self._call(operations.status(job, self._retry))

    async def events(
        self,
        job: JobRef,
        *,
        after: str | None = None,
        timeout: float | None = None,
        over: Way = "websocket",
    ) -> AsyncGenerator[Event, None]:
        """The job's events as they happen, each once and in order; ends after the terminal event.

        A lost connection is opened again and resumed. ``after`` says where to begin: None = now, with a
        :class:`reroom.events.Snapshot` first; "0" = at the job's first event; a ``seq`` = after that event. Raises
        Timeout when the job has not ended within ``timeout`` seconds.

        ``over="http"`` takes server-sent events, where WebSockets do not get through; ``timeout`` may then be noticed
        up to ten seconds late.
        """
        session = _Session(self._http, self._service)
        operation = operations.follow(job, after, timeout, self._retry, over)
        try:
            effect = advance(operation, None)
            while not isinstance(effect, Done):
                if isinstance(effect, Emit):
                    yield effect.event
                effect = advance(operation, await session.perform(effect))
        finally:
            await session.close()

    async def wait(
        self,
        job: JobRef,
        *,
        after: str | None = None,
        timeout: float | None = None,
        on_event: OnEvent | None = None,
        over: Way = "websocket",
    ) -> JobStatus:
        """Wait until the job is completed. Raises JobFailed, JobCancelled, or Timeout after ``timeout`` seconds.

        ``on_event`` is called with every event that :meth:`events` would give.
        """
        return await self._call(operations.wait(job, after, timeout, self._retry, over), on_event)

    async def cancel(self, job: JobRef) -> JobStatus:
        """Cancel the job, including its work on the GPU; no error when it is cancelled already.

        A running job becomes ``cancelled`` shortly afterwards. Raises Conflict when it has completed or failed.
        """
        return await self._call(operations.cancel(job, self._retry))

    async def jobs(
        self,
        *,
        status: str | Sequence[str] | None = None,
        style: str | None = None,
        favourite: bool | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page: int = 50,
    ) -> AsyncGenerator[JobStatus, None]:
        """Your jobs, the newest first; those that the filters mean, if any is given. ``page`` are asked for at a time.

        Jobs that are submitted meanwhile are not among them, and none comes twice.
        """
        which = many.Filter(
            status=status,
            style=style,
            favourite=favourite,
            created_after=created_after,
            created_before=created_before,
        )
        cursor = None
        while True:
            found = await self._call(many.page(which, page, cursor, self._retry))
            for job in found.data:
                yield job
            cursor = found.next
            if cursor is None:
                return

    async def favourite(self, job: JobRef, keep: bool = True) -> JobStatus:
        """Keep a job and its pictures beyond their time, until it is unmarked (``keep=False``) or erased.

        Raises Conflict for a job that has failed or was cancelled.
        """
        return await self._call(many.favourite(job, keep, self._retry))

    async def submit_batch(
        self, items: Iterable[BatchItem], *, cancel_after: float | None = None
    ) -> list[Submitted | ApiError]:
        """Submit several photos; the answer for each, in their order: its receipt, or why it was refused.

        Photos that are no uploads yet are put into the service's storage first. ``cancel_after`` counts for each.
        Raises also OSError when a photo cannot be read.
        """
        return await self._call(many.submit_batch(items, cancel_after, self._retry))

    async def cancel_jobs(
        self,
        jobs: Iterable[JobRef] = (),
        *,
        status: str | Sequence[str] | None = None,
        style: str | None = None,
        favourite: bool | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> dict[str, JobStatus | ApiError]:
        """Cancel these jobs, and those waiting and running ones that the filters mean, if any is given: the job
        afterwards by its id, or why it was not cancelled."""
        which = many.Filter(
            status=status,
            style=style,
            favourite=favourite,
            created_after=created_after,
            created_before=created_before,
        )
        return await self._call(many.cancel_jobs(jobs, which, self._retry))

    async def erase(self, job: JobRef) -> None:
        """Erase a job that has ended, and its pictures. Raises Conflict before it has ended: cancel it first."""
        await self._call(operations.erase(job, self._retry))

    async def restyle(
        self,
        photo: Photo | Uploaded | PhotoUrl,
        style: str = "modern",
        preferences: PreferencesLike | None = None,
        *,
        keep_mask: Photo | None = None,
        reference: Photo | None = None,
        out: Output | None = None,
        timeout: float | None = None,
        on_event: OnEvent | None = None,
        styles: Sequence[str] = (),
        variations: int = 1,
    ) -> JobStatus:
        """Submit a photo, wait for the result and save it to ``out``, if given; returns the completed job.

        With several ``styles`` or ``variations`` (see :meth:`submit`), that is the parent, whose ``children`` have the
        results; at least one of them is completed. ``out`` must be a folder then, in which the files are named after
        the style and the variation. Otherwise ``out`` is a file or a folder as for :meth:`download`.

        ``on_event`` is called with every event of the job. After a timeout, Ctrl-C or an error of ``on_event`` the job
        goes on; every event has its id. Raises what :meth:`submit`, :meth:`wait` and :meth:`download` raise.
        """
        operation = operations.restyle(
            photo, style, preferences, keep_mask, reference, out, timeout, styles, variations, self._retry
        )
        return await self._call(operation, on_event)

    async def picture(self, source: JobRef, which: str = "transformed") -> bytes:
        """The bytes of a picture as the service stores it, a JPEG file; ``source`` is a job or a URL of its result.

        ``which`` picture of a job: "transformed", "thumbnail", "original", "before_after" (the photo beside the result)
        or, of the parent of several, "contact_sheet". Raises JobNotFinished, JobFailed, JobCancelled.
        """
        return await self._call(operations.picture(source, which, self._retry))

    async def download(self, source: JobRef, file: Output, which: str = "transformed") -> Path:
        """Save a picture; ``source`` and ``which`` are as for :meth:`picture`. Returns the path of the file.

        The extension of ``file`` chooses the format: .jpg, .jpeg, .png or .webp; without one it is JPEG, as the service
        stores it. In a folder the file is named after the job. A plain file is written whole or not at all; symbolic
        links are followed; pipes and devices are written to. Raises JobNotFinished, JobFailed, JobCancelled, OSError
        when the file cannot be written, and ValueError for another extension.
        """
        return await self._call(operations.download(source, file, which, self._retry))

    async def styles(self) -> list[Style]:
        """The styles to choose from, with the key's own at the end. A service before ``GET /styles`` says only their
        names."""
        return await self._call(operations.styles(self._retry))

    async def create_style(
        self,
        name: str,
        title: str,
        prompt: str,
        negative_prompt: str = "",
        *,
        rooms: Sequence[str] = (),
        colors: Sequence[str] = (),
    ) -> Style:
        """Make a style of the key's own, or replace it. ``name`` begins with ``my-``; ``colors`` are sRGB
        ``#rrggbb``."""
        words = {"name": name, "title": title, "prompt": prompt, "negative_prompt": negative_prompt}
        body = {**words, "rooms": list(rooms), "colors": list(colors)}
        return await self._call(operations.create_style(body, self._retry))

    async def delete_style(self, name: str) -> None:
        """Delete a style of the key's own. Jobs that were submitted with it keep its words."""
        await self._call(operations.delete_style(name, self._retry))

    async def webhooks(self) -> list[Webhook]:
        """The key's endpoints for webhooks, the oldest first."""
        return await self._call(hooks.webhooks(self._retry))

    async def webhook(self, webhook_id: str) -> Webhook:
        """An endpoint."""
        return await self._call(hooks.webhook(webhook_id, self._retry))

    async def create_webhook(
        self, url: str, events: Sequence[str] = (), description: str = ""
    ) -> WebhookMade:
        """Make an endpoint that is told of the key's jobs from now on, and give its secret, which the service shows
        this once. ``events``: the three ends of a job unless others are named (``job.started``)."""
        return await self._call(hooks.create_webhook(url, events, description, self._retry))

    async def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change an endpoint, disable it, or enable it again; what is None stays."""
        members = {"url": url, "events": events, "description": description, "enabled": enabled}
        return await self._call(hooks.change_webhook(webhook_id, members, self._retry))

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete an endpoint, and what waits for it."""
        await self._call(hooks.delete_webhook(webhook_id, self._retry))

    async def rotate_webhook(self, webhook_id: str, grace: int | None = None) -> WebhookMade:
        """Give an endpoint a new secret. The one before goes on signing beside it for ``grace`` seconds, a day unless
        given. It is not sent again when its answer is lost: a second one would end the secret that receivers know."""
        return await self._call(hooks.rotate_webhook(webhook_id, grace, self._retry))

    async def test_webhook(self, webhook_id: str) -> str:
        """Send an endpoint an event of the type ``webhook.test``; returns the event's id."""
        return await self._call(hooks.test_webhook(webhook_id, self._retry))

    async def deliveries(self, webhook_id: str, limit: int = 20) -> list[Delivery]:
        """What became of an endpoint's last events, the newest first."""
        return await self._call(hooks.deliveries(webhook_id, limit, self._retry))

    async def health(self) -> Health:
        """The state of the service and its parts; no error when it is degraded."""
        return await self._call(operations.health(self._retry))

    async def _call(self, operation: Operation[T], on_event: OnEvent | None = None) -> T:
        session = _Session(self._http, self._service)
        try:
            effect = advance(operation, None)
            while not isinstance(effect, Done):
                if isinstance(effect, Emit) and on_event is not None:
                    pending = on_event(effect.event)
                    if pending is not None:
                        await pending
                effect = advance(operation, await session.perform(effect))
            return effect.value
        finally:
            await session.close()


class _Session:
    """Performs the effects of one operation, and holds its WebSocket or its stream of events."""

    def __init__(self, http: httpx2.AsyncClient, service: transport.Service) -> None:
        self._http, self._service = http, service
        self._socket: ClientConnection | None = None
        self._stream: httpx2.Response | None = None
        self._lines: Any = None
        self._parser = Parser()

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._stream is not None:
            await self._stream.aclose()

    async def perform(self, effect: Effect) -> Any:
        """The effect's result; a failure is returned, not raised."""
        try:
            match effect:
                case Read(photo):
                    return await asyncio.to_thread(read_photo, photo)
                case Send():
                    url = self._service.absolute(effect.url)
                    credentials = self._service.headers_for(url)
                    options = transport.request_options(effect, credentials, self._http.timeout)
                    return transport.reply(await self._http.request(effect.method, url, **options))
                case Save(picture, output, stem):
                    return save(picture, output, stem)
                case Sleep(seconds):
                    return await asyncio.sleep(seconds)
                case Connect(stream=True):
                    return await self._open_stream(effect)
                case Connect():
                    return await self._connect(effect)
                case Receive(timeout) if self._stream is not None:
                    return await self._next_event(timeout)
                case Receive(timeout):
                    return await self._receive(timeout)
                case Emit():
                    return None
        except Failure as failure:
            return failure
        except transport.HTTP_ERRORS as error:
            return transport.http_failure(error)

    async def _connect(self, effect: Connect) -> None:
        await self.close()
        try:
            url = self._service.ws_url(effect.path)
            options = transport.ws_options(effect.timeout, self._service.headers_for(url))
            self._socket = await connect(url, **options)
        except transport.CONNECT_ERRORS as error:
            raise transport.connect_failure(error) from error

    async def _receive(self, timeout: float) -> str | bytes:
        assert self._socket is not None, "Connect comes before Receive"
        limit = None if timeout == math.inf else timeout
        try:
            async with asyncio.timeout(limit):
                return await self._socket.recv()
        except TimeoutError as error:
            raise TimedOut("no message in time") from error
        except ConnectionClosed as error:
            raise transport.closed(error) from error

    async def _open_stream(self, effect: Connect) -> None:
        await self.close()
        url = self._service.absolute(effect.path)
        options = transport.stream_options(effect.timeout, self._service.headers_for(url))
        self._stream = await self._http.send(self._http.build_request("GET", url, **options), stream=True)
        if self._stream.status_code != 200:
            await self._stream.aread()
            raise transport.no_stream(self._stream)
        self._lines, self._parser = self._stream.aiter_lines(), Parser()

    async def _next_event(self, timeout: float) -> str:
        end = time.monotonic() + timeout
        async for line in self._lines:
            event = self._parser.feed(line)
            if event is not None:
                return event.data
            if time.monotonic() > end:
                raise TimedOut("no message in time")
        raise transport.stream_ended()
