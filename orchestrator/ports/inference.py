"""The contract of the model server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator

import msgspec
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain.cost import WorkTable
from reroom.triton import PhotoAnalysis, RestyleEvent, RestyleRequest


class ModelLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What a model server has done since it started, whoever asked. Two readings tell how busy it was between them."""

    failures: int
    """Requests of ``restyle`` that failed."""
    steps: int
    """Steps of the denoiser, each picture's counted."""
    batches: int
    """Runs of the denoiser: ``steps / batches`` pictures met in each."""
    busy_seconds: float
    """Time that the denoiser computed."""
    queue_seconds: float
    """Time that steps waited for it, together."""


class ModelServer(msgspec.Struct, frozen=True, kw_only=True):
    """One of the model servers, as of the last ping."""

    name: str
    """host:port."""
    fault: str
    """Why it counts as down; empty when it is up."""
    devices: frozenset[str] = frozenset()
    models: dict[str, int] = {}
    """The models that serve pictures, with their versions; −1 = the latest."""
    requests: int = 0
    """What this process has sent to it and waits for."""
    load: ModelLoad | None = None
    """None from a server that does not say."""


class Inference(ABC):
    """The model server."""

    @abstractmethod
    def restyle(self, request: RestyleRequest) -> AsyncGenerator[RestyleEvent, None]:
        """Run a request and yield its events; the last one is ``Result``. Closing the iterator or cancelling the task
        stops the work on the server within one step. Raises InferenceError."""

    @abstractmethod
    async def analyse(self, photo: NDArray[np.uint8]) -> PhotoAnalysis:
        """The contents of a photo, RGB uint8 [H, W, 3]. The call changes nothing and may be repeated.

        Raises InferenceError.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Raises Unavailable unless the models ``restyle`` and ``analyse``, and every model that they call, can serve.

        Cheap enough for every process to call it once a second.
        """

    def degradation(self) -> str:
        """What the last ``ping`` found wrong although requests can be served, such as "1 of 2 down: HOST:PORT".

        For operators; empty when nothing is wrong.
        """
        return ""

    def devices(self) -> frozenset[str]:
        """What the networks ran on at the last ``ping``: cpu, cuda or both. Empty from a server that does not say."""
        return frozenset()

    def models(self) -> dict[str, int]:
        """The models that serve pictures, with their versions, as of the last ``ping``; empty where nothing says so."""
        return {}

    async def load(self) -> ModelLoad | None:
        """What the server has done since it started; None from one that does not say. Raises Unavailable."""
        return None

    async def servers(self) -> list[ModelServer]:
        """Each server by itself, pinged now; empty where there is nothing to tell apart. Raises nothing."""
        return []

    def releases(self) -> frozenset[int] | None:
        """The versions that a request may name, as the server said at the last ``ping``. None from a server that does
        not say: it takes no notice of what a request names."""
        return None

    def work_table(self) -> WorkTable | None:
        """What pictures cost, as the server said at the last ``ping``. None from a server that does not say."""
        return None
