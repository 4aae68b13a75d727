"""Several model servers behind one port: each request goes to the least loaded server that is up."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.codes import FailureCode
from orchestrator.ports import UNAVAILABLE, Inference, InferenceError, PortError, Unavailable
from orchestrator.telemetry import metrics, tracing
from reroom.triton import PhotoAnalysis, RestyleEvent, RestyleRequest, Result

ANSWER_SECONDS = 5.0
"""Seconds within which a server must answer a ping; otherwise it counts as down."""

SILENCE_SECONDS = 5.0
"""Seconds of silence on a request after which its server is pinged, each time anew. Silence alone does not end a
request: a step of Stable Diffusion takes half a minute on a CPU."""

REVIVAL_SECONDS = 1.0
"""The least time between two pings that requests send to a server that is down."""

SETTLE_SECONDS = 0.1
"""How long ``ping`` waits for the other servers when one has answered, so that ``degradation`` is up to date. A server
that hangs delays a worker's claim by no more than this."""

PENALTY_SECONDS = 30.0
"""How long a request that failed on a server still counts as load of that server."""

_log = logging.getLogger("reroom.inference")
_END: Any = object()
T = TypeVar("T")


class InferencePool(Inference):
    """Shares requests among ``servers``, given by name. With one server it only adds the check of silent requests.

    *Least loaded* is the server with the fewest requests of this process in flight; equals are chosen at random, so
    that several processes do not all begin with the first. It does not matter that other processes load the same
    servers: each spreads its own requests evenly, so their sum is even too (Envoy's and gRPC's "least request" policies
    count in the same way). A request that failed counts for PENALTY_SECONDS as if it still ran, or a server that fails
    at once would always be the least loaded.

    *Down* is a server that a request found unavailable, or that did not answer a ping. It gets no requests until it
    answers a ping again. :meth:`ping` sends pings, and so do requests, at most once in REVIVAL_SECONDS; there is no
    background task.

    When a server turns out to be down before a request has yielded anything, the request begins again on another
    server, and the caller does not notice. Once it has yielded, it raises a retryable error: after a second beginning,
    watchers would see the job go backwards. A request ends as unavailable when its server is silent and does not answer
    a ping.
    """

    def __init__(
        self,
        servers: Mapping[str, Inference],
        *,
        answer_seconds: float = ANSWER_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._servers = [_Server(name, inference, answer_seconds) for name, inference in servers.items()]
        self._silence_seconds = silence_seconds

    def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        return self._run("restyle", lambda inference: inference.restyle(request))

    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        async def ask(inference: Inference) -> AsyncGenerator[PhotoAnalysis, None]:
            yield await inference.analyse(photo)

        async with aclosing(self._run("analyse", ask)) as answers:
            return await anext(answers)

    async def ping(self) -> None:
        """Raises Unavailable if no server is ready; returns soon after the first one has answered."""
        asked = {server.ask(): server for server in self._servers}
        waiting = set(asked)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            answered = [task for task in done if not task.cancelled()]
            for task in answered:
                task.result()  # raises what a ping must not raise: a bug
            if any(asked[task].up for task in answered):
                if waiting:
                    await asyncio.wait(waiting, timeout=SETTLE_SECONDS)
                return
        raise Unavailable(self._why_down())

    def degradation(self) -> str:
        down = [server.name for server in self._servers if not server.up]
        return f"{len(down)} of {len(self._servers)} down: {', '.join(down)}" if down else ""

    def devices(self) -> frozenset[str]:
        return frozenset().union(*(server.inference.devices() for server in self._servers if server.up))

    async def aclose(self) -> None:
        """Stop the pings. The caller closes the servers."""
        for server in self._servers:
            await server.stop_asking()

    async def _run(
        self, name: str, call: Callable[[Inference], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        """The items that ``call`` yields on the least loaded server. Raises InferenceError. ``name`` is for metrics and
        traces."""
        tried: list[_Server] = []
        while True:
            server = await self._choose(tried)
            tried.append(server)
            yielded = broken = False
            server.load += 1
            seen = _Seen(server.name, name)
            try:
                async with aclosing(call(server.inference)) as items:
                    while (item := await self._next(server, items)) is not _END:
                        yielded = True
                        if isinstance(item, Result | PhotoAnalysis):
                            seen.succeeded()  # here, since callers may ask for no more
                        yield item
                return
            except InferenceError as error:
                seen.failed(error.code)
                if error.code != UNAVAILABLE:
                    broken = error.retryable
                    raise
                server.mark_down(error.detail)
                if yielded or all(other in tried for other in self._servers if other.up):
                    raise
            finally:
                server.unload(PENALTY_SECONDS if broken else 0.0)
                seen.ended()

    async def _choose(self, tried: list[_Server]) -> _Server:
        """The least loaded server that is up and was not tried. Raises InferenceError."""
        for server in self._servers:
            if not server.up and server.asked_before(REVIVAL_SECONDS):
                server.ask()
        if not any(server.up for server in self._servers):
            try:
                await self.ping()
            except Unavailable as error:
                raise InferenceError(UNAVAILABLE, str(error), retryable=True) from error
        able = [server for server in self._servers if server.up and server not in tried]
        if not able:
            raise InferenceError(UNAVAILABLE, self._why_down(), retryable=True)
        return min(able, key=lambda server: (server.load, random.random()))

    async def _next(self, server: _Server, items: AsyncGenerator[T, None]) -> T:
        """The next item, or _END. Raises InferenceError, also when the server is silent and does not answer a ping."""

        async def step() -> T:
            return await anext(items, _END)

        coming = asyncio.create_task(step())
        try:
            while True:
                await asyncio.wait([coming], timeout=self._silence_seconds)
                if not coming.done():
                    await asyncio.wait([coming, server.ask()], return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    return coming.result()
                if not server.up:
                    detail = f"{server.name} fell silent: {server.fault}"
                    raise InferenceError(UNAVAILABLE, detail, retryable=True)
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])

    def _why_down(self) -> str:
        return "; ".join(f"{server.name}: {server.fault}" for server in self._servers if not server.up)


class _Seen:
    """The metrics and the span of a request to a server, from its beginning to ``ended``."""

    def __init__(self, server: str, call: str) -> None:
        self._server, self._call = server, call
        self._began = time.monotonic()
        self._span = tracing.begin(f"triton {call}", "CLIENT", server__address=server)
        metrics.TRITON_REQUESTS.labels(server).inc()

    def succeeded(self) -> None:
        metrics.TRITON_SECONDS.labels(self._server, self._call).observe(time.monotonic() - self._began)

    def failed(self, code: str) -> None:
        known = FailureCode.of(code)
        metrics.TRITON_FAILURES.labels(self._server, self._call, known).inc()
        self._span.failed(known)

    def ended(self) -> None:
        metrics.TRITON_REQUESTS.labels(self._server).dec()
        self._span.end()


class _Server:
    """A server of the pool: its name, its load, and whether it is up."""

    def __init__(self, name: str, inference: Inference, answer_seconds: float) -> None:
        self.name, self.inference = name, inference
        self.load = 0
        self.fault = ""
        """Why it counts as down; empty when it is up."""
        self._answer_seconds = answer_seconds
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = time.monotonic()

    @property
    def up(self) -> bool:
        return not self.fault

    def ask(self) -> asyncio.Task[None]:
        """Ping it. The task ends within answer_seconds, when ``fault`` reflects the answer. Calls during a ping share
        it."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name=f"ping {self.name}")
        return self._asking

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._answer_seconds):
                await self.inference.ping()
        except TimeoutError:
            self.mark_down(f"no answer within {self._answer_seconds:g} s")
        except PortError as error:
            self.mark_down(str(error))
        else:
            self._serves()
        finally:
            self._asked_at = time.monotonic()

    def asked_before(self, seconds: float) -> bool:
        """Whether no ping is under way and the last one ended at least ``seconds`` ago."""
        idle = self._asking is None or self._asking.done()
        return idle and time.monotonic() - self._asked_at >= seconds

    async def stop_asking(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def mark_down(self, reason: str) -> None:
        """It gets no requests until it answers a ping."""
        metrics.TRITON_UP.labels(self.name).set(0)
        if self.up:
            _log.warning("%s is down: %s", self.name, reason)
            self._asked_at = time.monotonic()
        self.fault = reason or "no reason given"

    def _serves(self) -> None:
        metrics.TRITON_UP.labels(self.name).set(1)
        if not self.up:
            _log.info("%s serves again", self.name)
        self.fault = ""

    def unload(self, after: float) -> None:
        """A request has ended here; it counts as load for ``after`` more seconds."""
        if after:
            asyncio.get_running_loop().call_later(after, self.unload, 0.0)
        else:
            self.load -= 1
