"""The Python-based ``onnxruntime`` backend and the embedded server, on a real Triton with graphs made here."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpc
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from configuration import setup_of
from measuring.memory import stubs_of
from stack.process import StackError
from stack.triton import TritonServer, devices_of

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: {batch}
input [{{ name: "x" data_type: {type} dims: [{dims}] }}]
output [{{ name: "y" data_type: TYPE_FP32 dims: [{dims}] }}, {{ name: "rows" data_type: TYPE_INT64 dims: [1] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
parameters [{{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}]
{more}
"""


def graph(file: Path, batched: bool) -> None:
    """y = table[int(x)]: fails for x outside 0…3; rows = the size of the batch that the graph saw, per sample."""
    shape: list[str | int] = ["B", "N"] if batched else ["N"]
    table = helper.make_tensor("table", TensorProto.FLOAT, [4], [0.0, 10.0, 20.0, 30.0])
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"]),
        helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
    ]
    if batched:
        one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
        nodes += [
            helper.make_node("Concat", ["size", "one"], ["wanted"], axis=0),
            helper.make_node("Expand", ["size", "wanted"], ["rows"]),
        ]
    else:
        one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
        nodes.append(helper.make_node("Mul", ["size", "one"], ["rows"]))
    built = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("rows", TensorProto.INT64, ["B", 1] if batched else [1]),
        ],
        [table, one],
    )
    file.parent.mkdir(parents=True)
    onnx.save(helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


def write_model(
    repository: Path,
    name: str,
    *,
    batch: int = 0,
    dims: str = "-1",
    type: str = "TYPE_FP32",
    more: str = "",
    file: str = "model.onnx",
) -> None:
    graph(repository / name / "1" / file, batched=batch > 0)
    text = CONFIG.format(name=name, batch=batch, dims=dims, type=type, more=more)
    (repository / name / "config.pbtxt").write_text(text)


OTHER_FILE = 'default_model_filename: "other.onnx"'
FOR_A_GPU = """
parameters [{ key: "cuda_graphs" value: { string_value: "3" } }]
optimization { execution_accelerators { gpu_execution_accelerator: [
    { name: "cuda" parameters [{ key: "gpu_mem_limit" value: "1000000000" }] } ] } }
"""
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 300000 }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("models")
    write_model(repository, "batching", batch=8, more=BATCHING)
    write_model(repository, "plain", more=OTHER_FILE + FOR_A_GPU, file="other.onnx")
    with TritonServer([repository], tmp_path_factory.mktemp("triton"), device="cpu") as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(server.grpc) as each:
        yield each


def ask(
    client: grpc.InferenceServerClient, model: str, x: NDArray[np.float32]
) -> tuple[NDArray[np.float32], int]:
    """The table's values for ``x`` and how many samples were in the batch."""
    tensor = grpc.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)
    result = client.infer(model, [tensor])
    return result.as_numpy("y"), int(result.as_numpy("rows").flat[0])


def metric(server: TritonServer, name: str, model: str) -> float:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith(name) and f'model="{model}"' in line
    )


def test_unbatched_model_with_another_file_name(client: grpc.InferenceServerClient) -> None:
    y, _ = ask(client, "plain", np.array([3, 0, 1], np.float32))
    assert y.tolist() == [30, 0, 10]


def test_requests_are_merged_into_one_run_and_split_back(
    server: TritonServer, client: grpc.InferenceServerClient
) -> None:
    names = ("nv_inference_count", "nv_inference_exec_count")
    before = [metric(server, name, "batching") for name in names]
    inputs = [np.full((1 + i % 2, 5), i % 4, np.float32) for i in range(5)]  # 7 samples
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda x: ask(client, "batching", x), inputs))
    for x, (y, rows) in zip(inputs, answers, strict=True):
        assert np.array_equal(y, x * 10)
        assert rows == 7
    deadline = time.monotonic() + 5  # Triton counts a request after its answer was sent
    while metric(server, names[0], "batching") - before[0] < 7 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [metric(server, name, "batching") - old for name, old in zip(names, before, strict=True)] == [7, 1]


def test_different_shapes_in_flight_at_once_are_each_answered(client: grpc.InferenceServerClient) -> None:
    inputs = [np.full((1, 1 + i % 3), i % 4, np.float32) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda x: ask(client, "batching", x), inputs))
    for x, (y, _) in zip(inputs, answers, strict=True):
        assert np.array_equal(y, x * 10)


def test_a_bad_request_fails_alone_and_the_server_lives_on(client: grpc.InferenceServerClient) -> None:
    def outcome(value: int) -> float | str:
        try:
            return float(ask(client, "batching", np.full((1, 2), value, np.float32))[0][0, 0])
        except InferenceServerException as error:
            return str(error.message())

    with ThreadPoolExecutor(4) as pool:
        good, bad, other = pool.map(outcome, [1, 99, 2])
    assert (good, other) == (10, 20)
    assert isinstance(bad, str)
    assert "model batching:" in bad
    assert "99" in bad
    assert outcome(3) == 30


def test_only_requested_outputs_are_sent(client: grpc.InferenceServerClient) -> None:
    x = np.ones((1, 2), np.float32)
    tensor = grpc.InferInput("x", [1, 2], "FP32").set_data_from_numpy(x)
    result = client.infer("batching", [tensor], outputs=[grpc.InferRequestedOutput("rows")])
    assert [output.name for output in result.get_response().outputs] == ["rows"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"type": "TYPE_INT64"}, "input x is TYPE_INT64 in config.pbtxt, but it is TYPE_FP32 in the graph"),
        ({"file": "elsewhere.onnx"}, "there is no"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_a_sentence(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    write_model(tmp_path / "models", "wrong", **change)  # type: ignore[arg-type]
    server = TritonServer([tmp_path / "models"], tmp_path / "run")
    with pytest.raises(StackError, match="while starting") as caught:
        server.start()
    assert sentence in str(caught.value)


def test_each_version_of_a_model_says_what_it_runs_on(server: TritonServer) -> None:
    folder = devices_of(server.run)
    files = {str(file.relative_to(folder)): file.read_text() for file in folder.glob("*/*")}
    assert files == {"batching/1": "cpu", "plain/1": "cpu"}


def test_what_a_configuration_says_of_a_gpu_is_understood(server: TritonServer) -> None:
    with urllib.request.urlopen(f"http://{server.http}/v2/models/plain/config") as response:
        config = json.load(response)
    setup = setup_of(config, {}, {})
    assert (setup.cuda_graphs, setup.cuda_options) == (3, {"gpu_mem_limit": "1000000000"})


def test_a_gpu_that_is_asked_for_and_not_there_keeps_triton_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "models", "plain", more=FOR_A_GPU)
    with pytest.raises(StackError, match=r"^the onnxruntime in .* is the one without CUDA: install"):
        TritonServer([tmp_path / "models"], tmp_path / "run", device="cuda").start()
    # A GPU that goes away later: each model looks for itself too.
    monkeypatch.setattr("stack.triton.chosen_device", lambda device, environment: device)
    with pytest.raises(StackError, match="while starting") as caught:
        TritonServer([tmp_path / "models"], tmp_path / "run", device="cuda").start()
    assert "model plain: this onnxruntime is the one without CUDA" in str(caught.value)


def test_killed_and_stopped_servers_leave_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "plain")
    with TritonServer([tmp_path / "models"], tmp_path / "run") as server:
        assert server.process is not None
        prefix = server.process.part.shared_memory
        assert list(Path("/dev/shm").glob(f"{prefix}*"))
        stubs = list(stubs_of(server.process.pid).values())
        assert stubs
        server.kill()
        assert server.process.stop() == 128 + signal.SIGKILL
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))
    time.sleep(0.1)
    for pid in stubs:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
