"""A real Triton reads what plans are served with.

It has no TensorRT here: the embedded ``onnxruntime`` backend stands in as its backend ``tensorrt``, since the fake's
plans are ONNX files. So what is tried is everything around the engines: both repositories, the configurations' choice,
their warm-up and fields, and links.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.grpc import aio

from export.plans import making, serving
from export.plans.making import make_plans
from export.proofs import parity
from export.releases.specs import release_specs
from measuring.counters import read_counters
from stack.triton import BACKENDS, TritonServer
from tests.conftest import RELEASE, ROOT
from tests.support.fake_engines import FakeEngines
from tests.support.releases import read_document


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(BACKENDS / "onnxruntime", folder / "backends" / "tensorrt")
    engines = FakeEngines(refused=["detector"])
    with pytest.MonkeyPatch.context() as patch:
        # Proving is tests/contract/test_plans.py's.
        patch.setattr(making, "compare_with_graph", lambda *_: {"y": parity.Difference(0.0, 0.0)})
        make_plans(RELEASE, folder / "plans", engines, lambda line: None)
    (models, name), sentence = serving.options(RELEASE, folder / "plans", engines.machine, "")
    assert sentence.endswith("but for detector: plan.json says why")
    repositories = [ROOT / "model_repository", Path(models.removeprefix("--model-repository="))]
    with TritonServer(repositories, folder, release=RELEASE, options=[name]) as running:
        yield running


def test_one_name_chooses_plans_graphs_and_models_that_are_code(server: TritonServer) -> None:
    with grpc.InferenceServerClient(server.grpc) as client:
        backends = {
            model.name: client.get_model_config(model.name).config.backend
            for model in client.get_model_repository_index().models
        }
    assert backends.pop("perception") == ""  # an ensemble
    assert {name for name, backend in backends.items() if backend == "python"} == {
        "edges",
        "restyle",
        "analyse",
    }
    assert {name for name, backend in backends.items() if backend == "onnxruntime"} == {"detector"}
    assert {name for name, backend in backends.items() if backend == "tensorrt"} == {
        *read_document(RELEASE)["models"]
    } - {"detector"}


async def test_plans_answer(server: TritonServer) -> None:
    spec = release_specs(read_document(RELEASE))["vae_decoder"]
    (array,) = spec.example(2).values()
    given = grpc.InferInput("latents", array.shape, "FP32")
    given.set_data_from_numpy(array)
    async with aio.InferenceServerClient(server.grpc) as client:
        answer = await client.infer("vae_decoder", [given], model_version="1")
        counters = (await read_counters(client))["vae_decoder"]
    (expected,) = making.onnx_outputs(
        spec, RELEASE / "models" / "vae_decoder" / "1" / "model.onnx", [{"latents": array}]
    )
    np.testing.assert_allclose(answer.as_numpy("image"), expected["image"], atol=1e-5)
    # Triton counts its warm-up: one sample and a full batch, before the model was ready.
    assert (counters.executions, counters.samples) == (3, 1 + spec.max_batch_size + 2)
