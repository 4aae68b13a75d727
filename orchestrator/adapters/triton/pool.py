"""Several model servers behind one port: requests are shared among those that are up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.adapters.triton.routing import Job, Line, Load, Policy, least_delay, least_requests
from orchestrator.domain.codes import FailureCode
from orchestrator.domain.cost import Work, WorkTable
from orchestrator.ports import UNAVAILABLE, Inference, InferenceError, ModelServer, PortError, Unavailable
from orchestrator.telemetry import metrics, tracing
from reroom.triton import PhotoAnalysis, RestyleEvent, RestyleRequest, Result, Stage, Step

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

HOLD_SECONDS = 60.0
"""The longest time that a request waits for a better moment to begin. Whoever sent it sees no event meanwhile, and the
runner takes a model for hanging that sends none for STALL_SECONDS."""

UNKNOWN = Work(steps=0, step=0.0, rest=1.0)
"""The work of requests as long as no server has said what they cost."""

_log = logging.getLogger("reroom.inference")
_END: Any = object()
T = TypeVar("T")


class InferencePool(Inference):
    """Shares requests among ``servers``, given by name. With one server it only adds the check of silent requests.

    ``policy`` chooses where a request begins, and may let it wait until something has changed, but not for longer than
    HOLD_SECONDS. It needs to know what requests cost, which the servers say when they answer a ping; until then, and
    for a single server, each request begins at once where the fewest run. A process knows its own requests only. It
    does not matter that other processes load the same servers: each spreads its own evenly, so their sum is even too. A
    request that failed counts for PENALTY_SECONDS as if it still ran, or a server that fails at once would always be
    the least loaded.

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
        policy: Policy = least_delay,
        answer_seconds: float = ANSWER_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._servers = [
            _Server(name, inference, answer_seconds, self._assign) for name, inference in servers.items()
        ]
        self._policy, self._silence_seconds = policy, silence_seconds
        self._line = Line()
        self._coming: dict[Job, asyncio.Future[_Server | None]] = {}
        """What the jobs of the line wait for; None = they look anew."""

    def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        job = Job(self._work(request), request.photo_id)

        async def watched(inference: Inference) -> AsyncGenerator[RestyleEvent, None]:
            async with aclosing(inference.restyle(request)) as events:
                async for event in events:
                    if isinstance(event, Stage | Step):
                        _note(job, event)
                        self._assign()
                    yield event

        return self._run("restyle", watched, job, request.release)

    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        async def ask(inference: Inference) -> AsyncGenerator[PhotoAnalysis, None]:
            yield await inference.analyse(photo)

        table = self.work_table()
        work = table.analysis(*photo.shape[:2]) if table else UNKNOWN
        async with aclosing(self._run("analyse", ask, Job(work, waits=False))) as answers:
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

    def releases(self) -> frozenset[int] | None:
        told = [server.inference.releases() for server in self._servers if server.up]
        known = [versions for versions in told if versions is not None]
        return frozenset().union(*known) if known else None

    def devices(self) -> frozenset[str]:
        return frozenset().union(*(server.inference.devices() for server in self._servers if server.up))

    def models(self) -> dict[str, int]:
        return next((server.inference.models() for server in self._servers if server.up), {})

    async def servers(self) -> list[ModelServer]:
        await asyncio.wait([server.ask() for server in self._servers])
        return list(await asyncio.gather(*(server.state() for server in self._servers)))

    def work_table(self) -> WorkTable | None:
        return next((table for server in self._servers if (table := server.inference.work_table())), None)

    async def aclose(self) -> None:
        """Stop the pings. The caller closes the servers."""
        for server in self._servers:
            await server.stop_asking()

    def _work(self, request: RestyleRequest) -> Work:
        table = self.work_table()
        if table is None:
            return UNKNOWN
        return table.work(
            *request.image.shape[:2],
            quality=request.quality,
            steps=request.steps,
            strength=request.strength,
            max_strength=request.max_strength,
            guidance_scale=request.guidance_scale,
        )

    async def _run(
        self,
        name: str,
        call: Callable[[Inference], AsyncGenerator[T, None]],
        job: Job,
        release: int | None = None,
    ) -> AsyncGenerator[T, None]:
        """The items that ``call`` yields on the server that the policy chooses. Raises InferenceError. ``name`` is for
        metrics and traces, ``release`` what the request names."""
        tried: list[_Server] = []
        while True:
            server = await self._choose(job, tried, release)
            tried.append(server)
            yielded = broken = False
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
                error.server = server.name
                seen.failed(error.code)
                if error.code == FailureCode.RELEASE_NOT_HERE:
                    # Another host may be further with a rollout.
                    if all(other in tried for other in self._servers if other.up):
                        raise
                    continue
                if error.code != UNAVAILABLE:
                    broken = error.retryable
                    raise
                server.mark_down(error.detail)
                if yielded or all(other in tried for other in self._servers if other.up):
                    raise
            finally:
                server.unload(job, PENALTY_SECONDS if broken else 0.0)
                seen.ended()

    async def _choose(self, job: Job, tried: list[_Server], release: int | None) -> _Server:
        """A server that is up and was not tried, whose load has the job already; one that has the release, where not
        all have. Raises InferenceError."""
        until = time.monotonic() + HOLD_SECONDS
        while True:
            able = await self._able(tried)
            having = [server for server in able if server.has(release)]
            if 0 < len(having) < len(able):
                load = least_requests(job, [server.running for server in having])
                load.begin(job)
                return next(server for server in having if server.running is load)
            # A job that has tried a server has waited before.
            if tried or not job.waits or time.monotonic() >= until:
                loads = [server.running for server in able]
                load = self._usable_policy(job, loads) or least_requests(job, loads)
                load.begin(job)
                return next(server for server in able if server.running is load)
            if server := await self._wait_in_line(job, until):
                return server

    async def _able(self, tried: list[_Server]) -> list[_Server]:
        """The servers that are up and were not tried. Raises InferenceError when there is none."""
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
        return able

    async def _wait_in_line(self, job: Job, until: float) -> _Server | None:
        """The server that the job begins on, or None when all are down or the time is over."""
        coming = self._coming[job] = asyncio.get_running_loop().create_future()
        self._line.join(job)
        try:
            self._assign()
            await asyncio.wait([coming], timeout=max(0.0, until - time.monotonic()))
            return coming.result() if coming.done() else None
        except BaseException:
            if coming.done() and (server := coming.result()):
                server.unload(job, 0.0)
            raise
        finally:
            self._line.leave(job)
            del self._coming[job]

    def _assign(self) -> None:
        """Let those of the line begin for whom it is time; call it whenever something has changed."""
        up = {id(server.running): server for server in self._servers if server.up}
        loads = [server.running for server in up.values()]
        for job, load in self._line.begin(self._usable_policy, loads):
            self._coming[job].set_result(up[id(load)])
        if not up:
            for job in list(self._line.waiting):
                self._line.leave(job)
                self._coming[job].set_result(None)

    @property
    def _usable_policy(self) -> Policy:
        known = len(self._servers) > 1 and self.work_table() is not None
        return self._policy if known else least_requests

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
    """A server of the pool: its name, what it runs, and whether it is up. ``changed`` is called when one of the last
    two has changed."""

    def __init__(
        self, name: str, inference: Inference, answer_seconds: float, changed: Callable[[], None]
    ) -> None:
        self.name, self.inference = name, inference
        self.running = Load()
        self.fault = ""
        """Why it counts as down; empty when it is up."""
        self._changed = changed
        self._answer_seconds = answer_seconds
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = time.monotonic()

    @property
    def up(self) -> bool:
        return not self.fault

    def has(self, release: int | None) -> bool:
        """Whether it makes pictures of that release, as far as it says; None = any."""
        told = self.inference.releases()
        return release is None or told is None or release in told

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

    async def state(self) -> ModelServer:
        load = None
        if self.up:
            with contextlib.suppress(Unavailable):
                load = await self.inference.load()
        return ModelServer(
            name=self.name,
            fault=self.fault,
            devices=self.inference.devices() if self.up else frozenset(),
            models=self.inference.models() if self.up else {},
            requests=len(self.running.jobs),
            load=load,
        )

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
        self._changed()

    def _serves(self) -> None:
        metrics.TRITON_UP.labels(self.name).set(1)
        if not self.up:
            _log.info("%s serves again", self.name)
        self.fault = ""
        self._changed()

    def unload(self, job: Job, after: float) -> None:
        """A request has ended here; it counts as load for ``after`` more seconds."""
        if after:
            job.done, job.ending = 0, False
            asyncio.get_running_loop().call_later(after, self.unload, job, 0.0)
        else:
            self.running.end(job)
            self._changed()


def _note(job: Job, event: Stage | Step) -> None:
    """Record how far a job has come."""
    match event:
        case Step(step=step):
            job.done = step
        case Stage(name="finalizing"):
            job.ending = True
        case Stage(name="transforming"):
            # Perhaps once more: a second attempt.
            job.done, job.ending = 0, False
