"""The model server behind its port: Triton, through the client library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from orchestrator.ports import Inference, InferenceError, Unavailable
from reroom.triton import Analysed, RestyleError, RestyleEvent, RestyleRequest, TritonClient


class TritonInference(Inference):
    """``url`` is host:port of Triton's gRPC endpoint, as Settings takes it."""

    def __init__(self, url: str) -> None:
        self._client = TritonClient(url)

    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        try:
            async with aclosing(self._client.restyle(request)) as stream:
                async for event in stream:
                    yield event
        except RestyleError as error:
            raise _inference_error(error) from error

    async def analyse(self, photo: NDArray[np.uint8]) -> Analysed:
        try:
            return await self._client.analyse(photo)
        except RestyleError as error:
            raise _inference_error(error) from error

    async def ping(self) -> None:
        if not await self._client.model_ready():
            raise Unavailable("Triton does not serve the model restyle now")

    async def aclose(self) -> None:
        """Close the channel; running requests end."""
        await self._client.close()


def _inference_error(error: RestyleError) -> InferenceError:
    # Who asks here cancels by closing the iterator or the task, so this cancel came from the server's side.
    retryable = error.retryable or error.code == "cancelled"
    return InferenceError(error.code, error.detail, retryable=retryable)
