"""The inputs that performance engineers are given, on a real Triton: every model answers them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import np_to_triton_dtype

from benchmarks import perf
from benchmarks.perf_inputs import inputs_of, specs
from benchmarks.perf_program import PERF
from export.contract import python_specs
from measuring.counters import difference
from measuring.releases import find_release
from measuring.sample import sample_request
from measuring.service import Service
from stack.triton import TritonServer
from tests.support.programs import ran

TINY = find_release("tiny")
SPECS = specs(TINY)
Capture = pytest.CaptureFixture[str]


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
        assert events[-1] == {"restyle": "result", "analyse": "analysis"}[model]


@pytest.mark.skipif(not PERF.exists(), reason="perf_analyzer is not installed: run `make .perf`")
@pytest.mark.parametrize("model", SPECS)
def test_the_command_that_is_printed_runs_as_it_stands(
    triton: TritonServer, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    folder = tmp_path / "in puts"
    asked = ["--bundle", "tiny", "--model", model, "--jobs", "1", "--requests", "1", "--url", triton.grpc]
    for _ in range(2):  # the folder may be there already
        monkeypatch.setattr(sys, "argv", ["perf", *asked, "--inputs", str(folder)])
        assert perf.main() == 0
    (command,) = set(capfd.readouterr().out.splitlines())
    assert (" -x 1 " in command) == (model not in python_specs())
    assert ("--async --streaming" in command) == SPECS[model].decoupled
    for _ in range(3):
        done = ran("/bin/sh", "-c", command, cwd=tmp_path)
        # On a busy machine perf_analyzer sometimes finds no statistics of a model whose version it was not given: seen
        # in 1 of 24 to 1 of 8 calls, and in none of 96 others.
        if "failed to find the requested model version" not in done.stderr + done.stdout:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Request count: 1\n" in done.stdout


async def test_tritons_statistics_tell_what_a_restyle_did(triton: TritonServer) -> None:
    async with Service(triton.grpc, TINY) as service:
        before = await service.counters()
        await service.answer(sample_request(TINY, steps=5))
        done = difference(await service.counters(), before)
    assert {name: done[name].requests for name in done} == {
        "restyle": 1, "depth": 2, "edges": 2, "detector": 2, "text_encoder": 1, "denoiser": 5,
        "vae_decoder": 1,
    }  # fmt: skip
    assert done["denoiser"].batch == 1.0
    assert 0 < done["denoiser"].compute_infer <= done["denoiser"].seconds
