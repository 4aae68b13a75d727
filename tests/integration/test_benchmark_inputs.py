"""The inputs that performance engineers are given, on a real Triton: every model answers them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import np_to_triton_dtype

from benchmarks.counters import difference
from benchmarks.perf_inputs import inputs_of, specs
from benchmarks.releases import find_release
from benchmarks.sample import sample_request
from benchmarks.service import Service
from orchestrator.embedded.triton import TritonServer

TINY = find_release("tiny")
SPECS = specs(TINY)


@pytest.mark.parametrize("model", SPECS)
async def test_the_model_answers(triton: TritonServer, model: str) -> None:
    spec = SPECS[model]
    tensors = []
    for name, array in inputs_of(spec, TINY).items():
        array = array[None] if spec.max_batch_size else array
        kind = "BYTES" if array.dtype == np.object_ else np_to_triton_dtype(array.dtype)
        tensors.append(InferInput(name, list(array.shape), kind))
        tensors[-1].set_data_from_numpy(np.ascontiguousarray(array))
    async with InferenceServerClient(triton.grpc) as client:
        if not spec.decoupled:
            answer = await client.infer(model, tensors)
            assert {output.name for output in answer.get_response().outputs} == {
                each.name for each in spec.outputs
            }
            return

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "inputs": tensors}

        events = []
        async for response, error in client.stream_infer(requests()):
            assert error is None, error
            events.append(json.loads(response.as_numpy("event")[0])["type"])
        assert events[-1] == "result"


async def test_tritons_statistics_tell_what_a_restyle_did(triton: TritonServer) -> None:
    async with Service(triton.grpc, TINY) as service:
        before = await service.counters()
        await service.answer(sample_request(TINY, steps=5))
        done = difference(await service.counters(), before)
    assert {name: done[name].requests for name in done} == {
        "restyle": 1,
        "depth": 2,
        "edges": 2,
        "detector": 1,
        "text_encoder": 1,
        "denoiser": 5,
        "vae_decoder": 1,
    }
    assert done["denoiser"].batch == 1.0
    assert 0 < done["denoiser"].compute_infer <= done["denoiser"].seconds
