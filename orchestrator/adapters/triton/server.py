"""One Triton, called through the client library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.adapters.triton.probing import Prober
from orchestrator.domain.cost import WorkTable
from orchestrator.ports import UNAVAILABLE, Inference, InferenceError, ModelLoad, Unavailable
from reroom.triton import PhotoAnalysis, RestyleError, RestyleEvent, RestyleRequest, TritonClient

RESTYLE, DENOISER = "restyle", "denoiser"
"""The models whose work tells how busy a server is."""

LOAD_SECONDS = 2.0
"""Seconds within which a server must say what it has done."""


class TritonInference(Inference):
    """``url`` is host:port of Triton's gRPC endpoint, as in Settings."""

    def __init__(self, url: str) -> None:
        self._client = TritonClient(url)
        self._prober = Prober(self._client)

    async def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        try:
            if request.release is not None and not await self._prober.knows_releases():
                # A model of an older version refuses inputs that it does not know.
                request = msgspec.structs.replace(request, release=None)
            async with aclosing(self._client.restyle(request)) as stream:
                async for event in stream:
                    yield event
        except RestyleError as error:
            raise self._failed(error) from error

    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        try:
            return await self._client.analyse(photo)
        except RestyleError as error:
            raise self._failed(error) from error

    async def ping(self) -> None:
        if not await self._client.model_ready():
            self._prober.doubt()
            raise Unavailable("Triton does not serve the model restyle now")
        await self._prober.check()

    def devices(self) -> frozenset[str]:
        return self._prober.devices

    def models(self) -> dict[str, int]:
        return self._prober.models

    async def load(self) -> ModelLoad | None:
        try:
            told = await self._client.statistics(deadline=LOAD_SECONDS)
        except RestyleError as error:
            raise Unavailable(error.detail) from error
        restyle, denoiser = told.get(RESTYLE), told.get(DENOISER)
        if restyle is None or denoiser is None:
            return None
        return ModelLoad(
            failures=restyle.failed,
            steps=denoiser.items,
            batches=denoiser.runs,
            busy_seconds=denoiser.compute_seconds,
            queue_seconds=denoiser.queue_seconds,
        )

    def releases(self) -> frozenset[int] | None:
        return self._prober.releases

    def work_table(self) -> WorkTable | None:
        return self._prober.work_table

    async def aclose(self) -> None:
        """Close the channel; running requests end."""
        await self._prober.aclose()
        await self._client.close()

    def _failed(self, error: RestyleError) -> InferenceError:
        # Callers cancel by closing the iterator or the task, so this cancellation comes from a server that stops.
        code = UNAVAILABLE if error.code == "cancelled" else error.code
        if code == UNAVAILABLE:
            self._prober.doubt()
        return InferenceError(code, error.detail, retryable=error.retryable or code == UNAVAILABLE)
