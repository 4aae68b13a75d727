"""Talking to the real server, model by model, and to `restyle` with its exact output."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from measuring.counters import read_counters
from stack.triton import TritonServer

from .baseline import Case


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these take torch several times as long in two threads, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(name: str, array: NDArray[Any]) -> InferInput:
    kind = "BYTES" if array.dtype == np.object_ else np_to_triton_dtype(array.dtype)
    given = InferInput(name, list(array.shape), kind)
    given.set_data_from_numpy(np.ascontiguousarray(array))
    return given


@dataclass(frozen=True)
class Server:
    """The models of a running Triton."""

    client: InferenceServerClient

    async def __call__(
        self, model: str, outputs: tuple[str, ...], **tensors: NDArray[Any]
    ) -> list[NDArray[Any]]:
        """One unary call: the same signature as the calls that `restyle` makes inside the server."""
        inputs = [tensor(name, array) for name, array in tensors.items()]
        wanted = [InferRequestedOutput(name) for name in outputs]
        answer = await self.client.infer(model, inputs, outputs=wanted)
        return [answer.as_numpy(name) for name in outputs]

    async def restyle_exact(
        self, photo: NDArray[np.uint8], case: Case
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """`restyle` for a case: its picture before rounding, FP32 [H,W,3] in 0..255, and the result event."""
        inputs = [tensor("image", photo), tensor("latents", case.noise[0])]
        for name in ("prompt", "negative_prompt", "solver"):
            inputs.append(tensor(name, np.array([getattr(case, name).encode()], np.object_)))
        inputs.append(tensor("steps", np.array([case.steps], np.int32)))
        for name in ("guidance_scale", "strength"):
            inputs.append(tensor(name, np.array([getattr(case, name)], np.float32)))
        inputs.append(tensor("control_scale", np.array(case.control_scale, np.float32)))
        wanted = [InferRequestedOutput("event"), InferRequestedOutput("image_exact")]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": "restyle", "inputs": inputs, "outputs": wanted}

        async for response, error in self.client.stream_infer(requests()):
            assert error is None, error
            if response.as_numpy("image_exact") is not None:
                return response.as_numpy("image_exact"), json.loads(response.as_numpy("event")[0])
        raise AssertionError("the stream ended without a picture")

    async def counts(self, model: str) -> tuple[int, int]:
        """Triton's own counters: (samples inferred, executions)."""
        counters = (await read_counters(self.client))[model]
        return counters.samples, counters.executions

    async def with_hints(self, photo: NDArray[np.uint8], case: Case) -> Case:
        """The case with the hints that the server's own networks make of the photo."""
        (depth,) = await self("depth", ("depth",), image=photo[None])
        (edges,) = await self("edges", ("edges",), image=photo)
        return replace(case, depth=depth[0], edges=edges)


@pytest.fixture
async def server(triton: TritonServer) -> AsyncIterator[Server]:
    async with InferenceServerClient(triton.grpc) as client:
        yield Server(client)
