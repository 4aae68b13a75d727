"""What a running Triton answers to the service's own requests, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from measuring.counters import Counters, read_counters
from measuring.releases import Release
from orchestrator.domain.job import Job
from orchestrator.domain.preferences import Preferences
from orchestrator.domain.styles import STYLES, StyleWords
from orchestrator.services.running.translation import request
from reroom.triton import Analysis, RestyleRequest, Result, TritonClient, wire

DEADLINE = 600.0
"""Seconds that one request may take."""


@dataclass(frozen=True)
class Restyled:
    """``room_type`` is that of the photo, by the service's rule."""

    result: Result
    room_type: str


class Service:
    """A release behind ``address`` (host:port of Triton's gRPC endpoint). Use it as an async context manager."""

    def __init__(self, address: str, release: Release) -> None:
        self.restyling, self._models = TritonClient(address), InferenceServerClient(address)
        self.release = release

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.restyling.close()
        await self._models.close()

    async def restyle(
        self,
        photo: NDArray[np.uint8],
        style: str,
        preferences: Preferences | None = None,
        words: StyleWords | None = None,
    ) -> Restyled:
        """A photo UINT8 [H,W,3] in a style, with the words and defaults of a worker. Raises RestyleError.

        ``words``: of a style that does not come with this version.
        """
        job = Job(
            id="benchmark",
            style=style,
            preferences=preferences or Preferences(),
            original_key="",
            created_at=0.0,
            updated_at=0.0,
        )
        room_type = ""
        async with aclosing(
            self.restyling.restyle(request(job, words or STYLES[style], photo), deadline=DEADLINE)
        ) as events:
            async for event in events:
                match event:
                    case Analysis():
                        room_type = event.room_type
                    case Result():
                        return Restyled(event, room_type)
        raise AssertionError("the stream ended without a result")

    async def answer(self, asked: RestyleRequest) -> Result:
        """A request as internal tools send it; its last event. Raises RestyleError."""
        async with aclosing(self.restyling.restyle(asked, deadline=DEADLINE)) as events:
            async for event in events:
                if isinstance(event, Result):
                    return event
        raise AssertionError("the stream ended without a result")

    async def exact(self, asked: RestyleRequest) -> NDArray[np.float32]:
        """The picture of a request before rounding, FP32 [H,W,3] in 0..255."""
        wanted = [InferRequestedOutput("event"), InferRequestedOutput("image_exact")]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": "restyle", "inputs": wire.encode(asked), "outputs": wanted}

        async for response, error in self._models.stream_infer(requests()):
            if error is not None:
                raise error
            picture: NDArray[np.float32] | None = response.as_numpy("image_exact")
            if picture is not None:
                return picture
        raise AssertionError("the stream ended without a picture")

    async def counters(self) -> dict[str, Counters]:
        """Triton's statistics by model; to be read while no request is running."""
        return await read_counters(self._models)

    async def perceive(self, picture: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The answers of ``depth``, ``edges`` and ``detector`` to UINT8 [H,W,3]: their tensors by name."""
        image = InferInput("image", list(picture.shape), "UINT8")
        image.set_data_from_numpy(np.ascontiguousarray(picture))
        answer = await self._models.infer("perception", [image])
        return {name: answer.as_numpy(name) for name in ("depth", "edges", "boxes", "scores", "labels")}
