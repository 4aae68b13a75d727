# Written by client/unasync.py from _async.py: change that file, then run the script.
"""The blocking client."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

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
    Save,
    Send,
    Sleep,
    Steps,
    T,
    advance,
)
from reroom._files import Output, Photo, read_photo, save
from reroom._http import RetryPolicy
from reroom.events import Event
from reroom.models import Analysis, Health, JobRef, JobStatus, PreferencesLike, Submitted, Uploaded

OnEvent = Callable[[Event], None]
"""Is called with what happens to a job."""


class Client:
    """A reroom service. Use it as a context manager, or call :meth:`close`.

    ``url`` is the service's (default http://localhost:8000), ``timeout`` the seconds that one answer may take.
    Every method raises :class:`reroom.ReroomError`; which, see :mod:`reroom.errors`. Threads may share a client.
    """

    def __init__(
        self, url: str = "http://localhost:8000", *, timeout: float = 30.0, retry: RetryPolicy | None = None
    ) -> None:
        self._url = transport.base_url(url)
        self._retry = retry or RetryPolicy()
        self._http = httpx2.Client(**transport.http_options(timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        photo: Photo | Uploaded,
        style: str = "modern",
        preferences: PreferencesLike | None = None,
    ) -> Submitted:
        """Send a photo (path, bytes or open file) to be restyled, or one that was uploaded; the job's receipt.

        An upload is good for one job. Sent again only when the service cannot have taken it. Raises also OSError when
        the photo cannot be read.
        """
        source = photo if isinstance(photo, Uploaded) else read_photo(photo)
        return self._call(operations.submit(source, style, preferences, self._retry))

    def analyze(self, photo: Photo) -> Analysis:
        """What is in a photo (path, bytes or open file): depth, edges, objects and the kind of room.

        The service keeps nothing of it, so it is sent again after most failures. Raises also OSError when the photo
        cannot be read.
        """
        return self._call(operations.analyze(read_photo(photo), self._retry))

    def upload(self, photo: Photo) -> Uploaded:
        """Put a photo (path, bytes or open file) straight into the service's storage, past its API, to submit it then.

        Raises also OSError when the photo cannot be read.
        """
        return self._call(operations.upload(read_photo(photo), self._retry))

    def status(self, job: JobRef) -> JobStatus:
        """The job as of now, with freshly signed URLs when it is completed."""
        return self._call(operations.status(job, self._retry))

    def events(
        self, job: JobRef, *, after: str | None = None, timeout: float | None = None
    ) -> Generator[Event, None, None]:
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
                effect = advance(steps, line.perform(effect))
        finally:
            line.close()

    def wait(
        self,
        job: JobRef,
        *,
        after: str | None = None,
        timeout: float | None = None,
        on_event: OnEvent | None = None,
    ) -> JobStatus:
        """Wait until the job is completed. Raises JobFailed, JobCancelled, or Timeout after ``timeout`` seconds.

        ``on_event`` is called with everything that :meth:`events` would give.
        """
        return self._call(operations.wait(job, after, timeout, self._retry), on_event)

    def cancel(self, job: JobRef) -> JobStatus:
        """Cancel the job, work on the GPU included; no error when it is cancelled already.

        A running job is told to stop; it is ``cancelled`` shortly after. Raises Conflict when it has ended otherwise.
        """
        return self._call(operations.cancel(job, self._retry))

    def erase(self, job: JobRef) -> None:
        """Erase a finished job and its pictures. Raises Conflict while it is not finished: cancel it first."""
        self._call(operations.erase(job, self._retry))

    def restyle(
        self,
        photo: Photo | Uploaded,
        style: str = "modern",
        preferences: PreferencesLike | None = None,
        *,
        out: Output | None = None,
        timeout: float | None = None,
        on_event: OnEvent | None = None,
    ) -> JobStatus:
        """Submit a photo, wait for the result and save it to ``out``, if that is given; the completed job.

        ``out`` is a file or a folder as for :meth:`download`; ``on_event`` is called with every event of the job. Who
        leaves early (a timeout, Ctrl-C, an error of ``on_event``) leaves the job running; every event has its id.
        Raises what :meth:`submit`, :meth:`wait` and :meth:`download` raise.
        """
        source = photo if isinstance(photo, Uploaded) else read_photo(photo)
        steps = operations.restyle(source, style, preferences, out, timeout, self._retry)
        return self._call(steps, on_event)

    def picture(self, source: JobRef) -> bytes:
        """A job's picture, or what a URL of its result gives, as the service has it: a JPEG file.

        Raises JobNotFinished, JobFailed, JobCancelled.
        """
        return self._call(operations.picture(source, self._retry))

    def download(self, source: JobRef, file: Output) -> Path:
        """Save a job's picture, or what a URL of its result gives; the path of the file.

        The extension of ``file`` names the format: .jpg, .jpeg, .png or .webp; without one it is the service's, JPEG.
        In a folder the file is called after the job. A plain file appears whole or not at all; symbolic links are
        followed, pipes and devices written to. Raises JobNotFinished, JobFailed, JobCancelled, OSError when the file
        cannot be written, and ValueError for another extension.
        """
        return self._call(operations.download(source, file, self._retry))

    def styles(self) -> list[str]:
        """The names of the styles that the service knows."""
        return self._call(operations.styles(self._retry))

    def health(self) -> Health:
        """How the service and its parts are; no error when it is degraded."""
        return self._call(operations.health(self._retry))

    def _call(self, steps: Steps[T], on_event: OnEvent | None = None) -> T:
        line = _Line(self._http, self._url)
        try:
            effect = advance(steps, None)
            while not isinstance(effect, Done):
                if isinstance(effect, Emit) and on_event is not None:
                    on_event(effect.event)
                effect = advance(steps, line.perform(effect))
            return effect.value
        finally:
            line.close()


class _Line:
    """Performs the effects of one operation; holds its WebSocket."""

    def __init__(self, http: httpx2.Client, url: str) -> None:
        self._http, self._url = http, url
        self._socket: ClientConnection | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def perform(self, effect: Effect) -> Any:
        """What came of the effect; failures are returned, not raised."""
        try:
            match effect:
                case Send():
                    return self._send(effect)
                case Put():
                    return self._put(effect)
                case Fetch():
                    return self._fetch(effect)
                case Save(picture, output, stem):
                    return save(picture, output, stem)
                case Sleep(seconds):
                    return time.sleep(seconds)
                case Connect():
                    return self._connect(effect)
                case Receive(timeout):
                    return self._receive(timeout)
                case Emit():
                    return None
        except Failure as failure:
            return failure
        except transport.HTTP_ERRORS as error:
            return transport.http_failure(error)

    def _send(self, effect: Send) -> Reply:
        response = self._http.request(
            effect.method, self._url + effect.path, **transport.request_options(effect)
        )
        return transport.reply(response, response.content)

    def _put(self, effect: Put) -> Reply:
        url = transport.absolute(self._url, effect.url)
        response = self._http.put(url, content=effect.body, headers=dict(effect.headers))
        return transport.reply(response, response.content)

    def _fetch(self, effect: Fetch) -> Reply:
        response = self._http.get(transport.absolute(self._url, effect.url))
        return transport.reply(response, response.content)

    def _connect(self, effect: Connect) -> None:
        self.close()
        try:
            url = transport.ws_url(self._url, effect.path)
            self._socket = connect(url, legacy=True, **transport.ws_options(effect.timeout))
        except transport.CONNECT_ERRORS as error:
            raise transport.connect_failure(error) from error

    def _receive(self, timeout: float) -> str | bytes:
        assert self._socket is not None, "Connect comes before Receive"
        limit = None if timeout == math.inf else timeout
        try:
            return self._socket.recv(limit)
        except TimeoutError as error:
            raise Expired("no message in time") from error
        except ConnectionClosed as error:
            raise transport.closed(error) from error
