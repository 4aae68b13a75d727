"""The embedded backend's runners: the same contract on the CPU and on a GPU, which is pretended here.

What a real GPU does is checked by ``python -m benchmarks.device_check`` on a machine that has one.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import check_cuda
from configuration import setup_of
from runners import (
    CPU,
    CUDA,
    CUDA_OPTIONS,
    NO_GRAPH,
    CpuRunner,
    CudaRunner,
    CudaUnavailable,
    Runner,
    Setup,
    open_runner,
    require_cuda,
)
from tests.support.pretend_gpu import PretendGpu

OUTPUTS = ["sum", "twice"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sum = x + y in FP32, twice = 2·y in UINT8; x FP32 and y UINT8 of the same shape, whatever it is."""
    shape = ["B", "N"]
    two = helper.make_tensor("two", TensorProto.INT32, [], [2])
    nodes = [
        helper.make_node("Cast", ["y"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "float"], ["sum"]),
        helper.make_node("Cast", ["y"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Mul", ["whole", "two"], ["double"]),
        helper.make_node("Cast", ["double"], ["twice"], to=TensorProto.UINT8),
    ]
    kinds = {
        "x": TensorProto.FLOAT,
        "y": TensorProto.UINT8,
        "sum": TensorProto.FLOAT,
        "twice": TensorProto.UINT8,
    }
    x, y, added, twice = (helper.make_tensor_value_info(name, kind, shape) for name, kind in kinds.items())
    built = helper.make_graph(nodes, "sums", [x, y], [added, twice], [two])
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    return file


@pytest.fixture
def gpu() -> PretendGpu:
    return PretendGpu()


@pytest.fixture
def said() -> list[str]:
    return []


Open = Callable[[int], CudaRunner]


@pytest.fixture
def opened(graph: Path, gpu: PretendGpu, said: list[str]) -> Open:
    """A runner on the pretended GPU that may record so many shapes."""
    return lambda graphs: CudaRunner(graph, Setup(device="cuda", cuda_graphs=graphs), said.append, gpu)


@pytest.fixture(params=["cpu", "cuda", "cuda with graphs"])
def runner(request: pytest.FixtureRequest, graph: Path, opened: Open) -> Runner:
    return CpuRunner(graph, Setup()) if request.param == "cpu" else opened(2 * ("graphs" in request.param))


def inputs(value: int, shape: tuple[int, int] = (2, 3)) -> dict[str, NDArray[np.generic]]:
    return {
        "x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + value,
        "y": np.full(shape, value, np.uint8),
    }


def assert_right(outputs: list[NDArray[np.generic]], given: dict[str, NDArray[np.generic]]) -> None:
    added, twice = outputs
    assert [added.dtype.name, twice.dtype.name] == ["float32", "uint8"]
    np.testing.assert_array_equal(added, given["x"] + given["y"].astype(np.float32))
    np.testing.assert_array_equal(twice, 2 * given["y"])


# The contract.


def test_each_run_computes_from_its_own_inputs_whatever_ran_before(runner: Runner) -> None:
    shapes = [(2, 3), (1, 3), (2, 3), (2, 3), (4, 5), (1, 3), (2, 3), (7, 1), (4, 5), (4, 5), (1, 3)]
    given = [inputs(value, shape) for value, shape in enumerate(shapes)]
    # Compared at the end: a later run must not write into what an earlier one gave.
    found = [runner.run(OUTPUTS, each) for each in given]
    for outputs, each in zip(found, given, strict=True):
        assert_right(outputs, each)


def test_outputs_come_as_they_are_asked_for(runner: Runner) -> None:
    for value in range(4):
        given = inputs(value)
        added, twice = runner.run(OUTPUTS, given)
        backwards = runner.run(OUTPUTS[::-1], given)
        (alone,) = runner.run(["twice"], given)
        assert np.array_equal(backwards[0], twice)
        assert np.array_equal(backwards[1], added)
        assert np.array_equal(alone, twice)


def test_inputs_may_be_views_of_other_arrays(runner: Runner) -> None:
    for value in range(3):
        wide = inputs(value, (2, 6))
        views = {name: array[:, ::2] for name, array in wide.items()}
        assert_right(runner.run(OUTPUTS, views), views)


def test_a_run_that_fails_leaves_a_runner_that_works(runner: Runner) -> None:
    for value in range(3):
        given = inputs(value)
        with pytest.raises(Exception, match="Add node"):
            runner.run(OUTPUTS, given | {"x": np.zeros((5, 4), np.float32)})
        assert_right(runner.run(OUTPUTS, given), given)


def test_the_graph_is_described(runner: Runner) -> None:
    assert {each.name: each.type for each in runner.inputs} == {"x": "tensor(float)", "y": "tensor(uint8)"}
    assert [each.name for each in runner.outputs] == OUTPUTS
    assert runner.device == ("cpu" if isinstance(runner, CpuRunner) else "cuda")


# CUDA graphs.


def test_a_shape_is_recorded_when_it_comes_again_and_then_replayed(opened: Open, gpu: PretendGpu) -> None:
    runner = opened(8)
    for value, shape in enumerate([(1, 2), (1, 3), (1, 2), (1, 2), (1, 3), (1, 4)]):
        runner.run(OUTPUTS, inputs(value, shape))
    (session,) = gpu.sessions
    assert session.runs == [NO_GRAPH, NO_GRAPH, 1, 1, 2, NO_GRAPH]
    assert runner.graphs == len(session.graphs) == 2


def test_shapes_beyond_the_bound_run_without(opened: Open, gpu: PretendGpu) -> None:
    runner = opened(1)
    for width in (2, 2, 3, 3, 3, 2):
        given = inputs(width, (1, width))
        assert_right(runner.run(OUTPUTS, given), given)
    assert gpu.sessions[0].runs == [NO_GRAPH, 1, NO_GRAPH, NO_GRAPH, NO_GRAPH, 1]


def test_shapes_that_come_once_are_forgotten(opened: Open) -> None:
    runner = opened(3)
    for width in range(1, 50):
        runner.run(OUTPUTS, inputs(0, (1, width)))
    assert len(runner._seen) == 3
    assert runner.graphs == 0


def test_without_the_parameter_nothing_is_recorded(opened: Open, gpu: PretendGpu) -> None:
    runner = opened(0)
    for value in range(3):
        runner.run(OUTPUTS, inputs(value))
    assert gpu.sessions[0].runs == [NO_GRAPH] * 3
    assert gpu.sessions[0].options["enable_cuda_graph"] == "0"


def test_a_graph_that_may_not_be_recorded_runs_without(
    opened: Open, gpu: PretendGpu, said: list[str]
) -> None:
    gpu.refuses_graphs = True
    runner = opened(4)
    for value in range(3):
        assert_right(runner.run(OUTPUTS, inputs(value)), inputs(value))
    assert [session.options["enable_cuda_graph"] for session in gpu.sessions] == ["0"]
    (sentence,) = said
    assert "runs without CUDA graphs, since it cannot be recorded: the model has control flow" in sentence


def test_a_recording_that_fails_costs_no_answer(opened: Open, gpu: PretendGpu, said: list[str]) -> None:
    gpu.cannot_record = True
    runner = opened(4)
    for value in range(4):
        assert_right(runner.run(OUTPUTS, inputs(value)), inputs(value))
    broken, session = gpu.sessions
    assert (broken.runs, session.runs) == ([NO_GRAPH, 1], [NO_GRAPH] * 3)
    gpu.sessions.clear()
    left = weakref.ref(broken)
    del broken
    assert left() is None, "a card may have no room for both"
    (sentence,) = said
    assert "cannot be recorded: operation not permitted" in sentence


# Which device.


def test_the_providers_options_are_the_defaults_the_models_and_the_instances(
    graph: Path, gpu: PretendGpu
) -> None:
    config = {
        "parameters": {"cuda_graphs": {"string_value": "5"}, "intra_op_thread_count": {"string_value": "2"}},
        "optimization": {
            "execution_accelerators": {
                "gpu_execution_accelerator": [
                    {"name": "tensorrt", "parameters": {"precision_mode": "FP16"}},
                    {
                        "name": "cuda",
                        "parameters": {"cudnn_conv_algo_search": "EXHAUSTIVE", "gpu_mem_limit": "100"},
                    },
                ]
            }
        },
    }
    instance = {"model_instance_kind": "GPU", "model_instance_device_id": "3"}
    setup = setup_of(config, instance, {"REROOM_DEVICE": "cuda"})
    CudaRunner(graph, setup, pytest.fail, gpu)
    assert gpu.sessions[0].options == CUDA_OPTIONS | {
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "gpu_mem_limit": "100",
        "device_id": "3",
        "enable_cuda_graph": "1",
    }
    assert setup.cuda_graphs == 5
    assert setup.session_options.intra_op_num_threads == 2


@pytest.mark.parametrize("kind", ["CPU", "MODEL"])
def test_an_instance_that_is_no_cards_runs_on_the_first(kind: str) -> None:
    setup = setup_of({"parameters": {}}, {"model_instance_kind": kind, "model_instance_device_id": "7"}, {})
    assert (setup.device, setup.device_id, setup.cuda_graphs, setup.cuda_options) == ("auto", 0, 0, {})


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="REROOM_DEVICE is 'gpu' and must be one of auto, cpu, cuda"):
        setup_of({"parameters": {}}, {}, {"REROOM_DEVICE": "gpu"})


def test_auto_is_the_gpu_where_a_session_runs_there(graph: Path, gpu: PretendGpu, said: list[str]) -> None:
    assert open_runner(graph, Setup(), said.append, gpu).device == "cuda"
    gpu.falls_back = True
    assert open_runner(graph, Setup(), said.append, gpu).device == "cpu"
    gpu.falls_back, gpu.refuses = False, "out of memory"
    assert open_runner(graph, Setup(), said.append, gpu).device == "cpu"
    fell_back, full = said
    assert "asked for CUDA and uses CPUExecutionProvider" in fell_back
    assert full.endswith("cannot run on the GPU: out of memory; it runs on the CPU")
    gpu.has_provider = False
    assert open_runner(graph, Setup(), pytest.fail, gpu).device == "cpu", "nothing to wonder at"


def test_cpu_never_touches_cuda(graph: Path, gpu: PretendGpu) -> None:
    assert open_runner(graph, Setup(device="cpu"), pytest.fail, gpu).device == "cpu"
    assert not gpu.preloaded
    assert not gpu.sessions


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            {"has_provider": False},
            "is the one without CUDA: install the other with `make .triton DEVICE=cuda`",
        ),
        ({"falls_back": True}, "was asked for CUDA and uses CPUExecutionProvider: there is no NVIDIA GPU"),
        ({"refuses": "CUDA failure 100"}, "cannot run on the GPU: CUDA failure 100"),
    ],
)
@pytest.mark.parametrize("graphs", [0, 4])
def test_cuda_that_cannot_be_is_refused_with_a_sentence(
    graph: Path, gpu: PretendGpu, fault: dict[str, object], sentence: str, graphs: int
) -> None:
    vars(gpu).update(fault)
    with pytest.raises(CudaUnavailable) as caught:
        open_runner(graph, Setup(device="cuda", cuda_graphs=graphs), pytest.fail, gpu)
    assert sentence in str(caught.value)
    assert sentence in check_cuda.fault(gpu)


def test_a_check_computes_on_the_gpu(gpu: PretendGpu) -> None:
    assert check_cuda.fault(gpu) == ""
    assert gpu.sessions[0].runs == [NO_GRAPH]


# The real ONNX Runtime, of the wheel for CPUs.


def test_a_real_session_that_fell_back_is_found_out(graph: Path) -> None:
    """It says nothing of its own accord but a warning, and with the wheel for GPUs not even that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = onnxruntime.InferenceSession(graph, providers=[CUDA])
    assert session.get_providers() == [CPU]
    with pytest.raises(CudaUnavailable, match="asked for CUDA and uses CPUExecutionProvider"):
        require_cuda(session)


def test_the_real_one_without_cuda_is_refused_and_auto_takes_the_cpu(graph: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this environment has onnxruntime-gpu")
    with pytest.raises(CudaUnavailable, match="is the one without CUDA"):
        open_runner(graph, Setup(device="cuda"), pytest.fail)
    runner = open_runner(graph, Setup(), pytest.fail)
    assert_right(runner.run(OUTPUTS, inputs(1)), inputs(1))


def test_the_check_is_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, check_cuda.__file__], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "is the one without CUDA" in done.stdout


def test_the_checks_graph_is_what_it_says() -> None:
    number = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    built = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", number[:1], number[1:])
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert model.SerializeToString() == check_cuda.RELU


class Recording:
    """ONNX Runtime whose sessions compute nothing, and remember whether a run was to give its memory back."""

    def __init__(self) -> None:
        self.gave_back: list[bool] = []

    def InferenceSession(self, *_: object, **__: object) -> Recording:
        return self

    def RunOptions(self) -> onnxruntime.RunOptions:
        return onnxruntime.RunOptions()

    def run(self, _: object, __: object, options: onnxruntime.RunOptions | None) -> list[NDArray[np.float32]]:
        key = "memory.enable_memory_arena_shrinkage"
        self.gave_back.append(options is not None and options.get_run_config_entry(key) == "cpu:0")
        return []


def test_memory_is_given_back_when_the_shapes_change(tmp_path: Path) -> None:
    """Or a service would keep what the largest batch of every bucket took, at the same time."""
    runtime = Recording()
    runner = CpuRunner(tmp_path / "model.onnx", Setup(), runtime)  # type: ignore[arg-type]
    for side in (4, 4, 6, 6, 6, 4):
        runner.run([], {"x": np.zeros((1, side), np.float32)})
    assert runtime.gave_back == [True, False, True, False, False, True]
