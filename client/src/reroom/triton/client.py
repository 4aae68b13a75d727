"""The client: one gRPC channel, one stream per request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from numpy import uint8
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from reroom.triton import wire
from reroom.triton.errors import RestyleError, failure, from_call, from_message, from_transport
from reroom.triton.messages import (
    Alive,
    ModelStatistics,
    PhotoAnalysis,
    RestyleEvent,
    RestyleRequest,
    Result,
)
from reroom.triton.probe import is_process, smallest_inputs
from reroom.triton.wire import ANALYSE, RESTYLE

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes: a 12-megapixel photo is 36 MB as a tensor."""
ENDING_SECONDS = 5.0
"""How long a stream that has failed may take to end by itself before it is cancelled."""

_CHANNEL = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # A gRPC server with default settings closes a silent stream, such as a queued request's, that is pinged more often
    # than every 5 minutes (too_many_pings; at 30 s it did after 4 minutes). Deadlines notice a lost server sooner.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


T = TypeVar("T")


class TritonClient:
    """A client of the models ``restyle`` and ``analyse`` on a Triton server; ``url`` = host:port of its gRPC endpoint.

    Use it as an async context manager, or call :meth:`close`. Any number of requests may run at once on its one
    channel, which reconnects by itself.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: InferenceServerClient | None = None
        self._probes: dict[tuple[str, str], list[InferInput] | None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; running requests are cancelled. The client may be used again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def restyle(
        self, request: RestyleRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[RestyleEvent, None]:
        """Run a request; yields events as they happen, the last being :class:`Result`.

        Closing the iterator (``aclose``), cancelling the task, or the deadline (seconds) stops the work on the server
        within one step. ``break`` alone closes an async generator only when it is garbage collected: wrap it in
        ``contextlib.aclosing``. Raises RestyleError.
        """
        result: Result | None = None
        async with aclosing(
            self._stream(RESTYLE, wire.encode(request), wire.wanted(), deadline, wire.decode)
        ) as events:
            async for event in events:
                if isinstance(event, Result):
                    # Kept until the stream has ended: a caller that stops at the result would cancel a request that is
                    # about to end, and Triton 2.51 sometimes never releases such a request and then cannot stop.
                    result = event
                elif event is not None:
                    yield event
        if result is None:
            raise failure("model_error", "the stream ended without a result")
        yield result

    async def analyse(self, image: NDArray[uint8], *, deadline: float | None = None) -> PhotoAnalysis:
        """What is in a photo, RGB uint8 [H, W, 3]: depth, edges, objects and the type of room.

        It changes nothing on the server, so it may be repeated. Cancelling the task, or the deadline (seconds), gives
        up the request, but the networks that have begun run to their end; and Triton 2.51 may crash when many requests
        are cancelled just as they end. Raises RestyleError.
        """
        found: PhotoAnalysis | None = None
        inputs, outputs = wire.encode_photo(image), wire.wanted_from_analyse()
        async with aclosing(self._stream(ANALYSE, inputs, outputs, deadline, wire.decode_analysis)) as events:
            # Read to the end of the stream, for the reason in restyle().
            async for event in events:
                found = event or found
        if found is None:
            raise failure("model_error", "the stream ended without an analysis")
        return found

    async def probe(self, model: str = RESTYLE, *, deadline: float) -> Alive:
        """Check that the process of ``model``, restyle or analyse, answers; returns the models that it calls.

        No network runs. From a server whose ``model`` does not know this request the answer is empty, which proves
        nothing. Raises RestyleError.
        """
        alive = Alive()
        try:
            outputs = [InferRequestedOutput("event")]
            async with aclosing(
                self._stream(model, wire.encode_probe(model), outputs, deadline, wire.decode_probe)
            ) as answers:
                async for answer in answers:
                    alive = answer
        except RestyleError as error:
            if error.code != "invalid_request":
                raise
        return alive

    async def probe_model(self, model: str, version: int, *, deadline: float) -> bool:
        """Check that the process of another model answers the smallest request; False for one without its own process.

        Raises RestyleError: ``unavailable`` when the process is dead, ``deadline_exceeded`` when it did not answer
        within ``deadline`` seconds. A model's error about the request itself counts as an answer.
        """
        name, number = model, "" if version < 0 else str(version)
        try:
            if (name, number) not in self._probes:
                config = (
                    await self._connected().get_model_config(name, number, client_timeout=deadline)
                ).config
                self._probes[name, number] = smallest_inputs(config) if is_process(config) else None
            if (inputs := self._probes[name, number]) is None:
                return False
            await self._connected().infer(name, inputs, number, client_timeout=deadline)
        except InferenceServerException as error:
            failed = from_call(error)
            if failed.code in ("unavailable", "deadline_exceeded"):
                self._probes.pop((name, number), None)  # the server may come back as another
                raise failed from error
        return True

    async def _stream(
        self,
        model: str,
        inputs: list[InferInput],
        outputs: list[InferRequestedOutput],
        deadline: float | None,
        decode: Callable[[InferResult], T],
    ) -> AsyncGenerator[T, None]:
        """The responses to one request, decoded; closing the iterator cancels it. Raises RestyleError."""

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "inputs": inputs, "outputs": outputs}

        responses = self._connected().stream_infer(requests(), stream_timeout=deadline)
        try:
            async for response, error in responses:
                try:
                    if error is not None:
                        raise from_message(str(error.message()))
                    decoded = decode(response)
                except RestyleError:
                    await self._let_end(responses)
                    raise
                yield decoded
        except grpc.aio.AioRpcError as error:
            raise from_transport(error) from error
        except asyncio.CancelledError:
            raise self._cancelled() from None
        finally:
            responses.cancel()

    async def _let_end(self, responses: AsyncIterator[Any]) -> None:
        """Read on until a request that has failed is over. It is about to end, and a cancel that meets the end of a
        request can crash Triton 2.51."""
        with suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(ENDING_SECONDS):
                async for _ in responses:
                    pass

    def _cancelled(self) -> BaseException:
        """The error for a CancelledError, which gRPC raises also when the channel is closed, in tasks not cancelled."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return asyncio.CancelledError()
        return failure("cancelled", "the client was closed")

    async def statistics(self, *, deadline: float) -> dict[str, ModelStatistics]:
        """What each model has done, by name, answered within ``deadline`` seconds. Raises RestyleError."""
        try:
            told = await self._connected().get_inference_statistics(client_timeout=deadline)
        except InferenceServerException as error:
            raise from_call(error) from error
        found: dict[str, ModelStatistics] = {}
        for each in told.model_stats:
            of, before = each.inference_stats, found.get(each.name, ModelStatistics())
            # Several versions may be loaded.
            found[each.name] = ModelStatistics(
                succeeded=before.succeeded + of.success.count,
                failed=before.failed + of.fail.count,
                items=before.items + each.inference_count,
                runs=before.runs + each.execution_count,
                compute_seconds=before.compute_seconds
                + sum(batch.compute_infer.ns for batch in each.batch_stats) / 1e9,
                queue_seconds=before.queue_seconds + of.queue.ns / 1e9,
            )
        return found

    async def server_ready(self) -> bool:
        """Whether the server is ready; False, not an error, when it cannot be reached."""
        return await self._ready(self._connected().is_server_ready(client_timeout=5.0))

    async def model_ready(self, name: str = RESTYLE) -> bool:
        """Whether the model can serve; False, not an error, when the server cannot be reached."""
        return await self._ready(self._connected().is_model_ready(name, client_timeout=5.0))

    async def _ready(self, answer: Any) -> bool:
        try:
            return bool(await answer)
        except InferenceServerException:
            return False

    def _connected(self) -> InferenceServerClient:
        # Not in __init__: a channel belongs to the event loop that is running when it is made.
        if self._client is None:
            self._client = InferenceServerClient(self._url, channel_args=_CHANNEL)
        return self._client
