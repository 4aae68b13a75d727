"""What a running Triton answers to the service's own requests, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from dollhouse.metrics import Found
from dollhouse.render.rooms import LABELS
from measuring.counters import Counters, read_counters
from measuring.releases import Release
from orchestrator.jobs.models import Job, Preferences
from orchestrator.jobs.translate import request
from orchestrator.styles import STYLES
from reroom.triton import Analysis, RestyleRequest, Result, TritonClient, wire

DEADLINE = 600.0
"""Seconds that one request may take."""


@dataclass(frozen=True)
class Seen:
    """A picture UINT8 [H,W,3] and what the models say of it: depth and edges UINT8 [H,W], objects."""

    picture: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    objects: Found


@dataclass(frozen=True)
class Restyled:
    """``room_type`` is that of the photo, by the service's rule."""

    result: Result
    room_type: str


class Service:
    """A release behind ``address`` (host:port of Triton's gRPC endpoint). Use it as an async context manager."""

    def __init__(self, address: str, release: Release) -> None:
        self._restyling, self._models = TritonClient(address), InferenceServerClient(address)
        numbers = [LABELS.index(name) if name in LABELS else -1 for name in release.facts["labels"]]
        self._numbers = np.array([*numbers, -1])
        """By the detector's own, of which the last, −1, is padding."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._restyling.close()
        await self._models.close()

    async def restyle(
        self, photo: NDArray[np.uint8], style: str, preferences: Preferences | None = None
    ) -> Restyled:
        """A photo UINT8 [H,W,3] in a style, with the words and defaults of a worker. Raises RestyleError."""
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
            self._restyling.restyle(request(job, STYLES[style], photo), deadline=DEADLINE)
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
        async with aclosing(self._restyling.restyle(asked, deadline=DEADLINE)) as events:
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

    async def analyse(self, picture: NDArray[np.uint8]) -> Seen:
        """What ``depth``, ``edges`` and ``detector`` say of UINT8 [H,W,3]; objects that LABELS lacks are left out."""
        image = InferInput("image", list(picture.shape), "UINT8")
        image.set_data_from_numpy(np.ascontiguousarray(picture))
        answer = await self._models.infer("analyse", [image])
        tensor: Callable[[str], NDArray[Any]] = answer.as_numpy
        labels = self._numbers[tensor("labels")]
        real = labels >= 0
        found = Found(tensor("boxes")[real], labels[real], tensor("scores")[real])
        return Seen(picture, tensor("depth"), tensor("edges"), found)
