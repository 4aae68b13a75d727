"""TensorRT of NVIDIA's container on this machine's GPU, through ``cuda-bindings``.

Whatever touches the GPU happens in a process of its own, so that all of its memory is free for the next graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from export.graphs.apart import ProcessDied, apart
from export.graphs.tensorrt import TENSORRT, Compiler, first_line, load_library, make_log
from export.plans.engines import EngineError, NoGpuError, built_by
from export.plans.key import Machine
from export.spec import DTYPES, ModelSpec

LIBRARIES = tuple(f"libnvinfer.so.{major}" for major in (10, 11, 12))
"""Triton's container has one of them."""


class NvidiaEngines:
    """The real adapter of :class:`export.plans.engines.Engines`."""

    def machine(self) -> Machine:
        try:
            return apart(machine_to_build_on)
        except ProcessDied as error:
            raise NoGpuError("CUDA crashed when it was asked for the GPU") from error

    def build(self, graph: Path, spec: ModelSpec, plan: Path, timing: Path) -> float:
        return built_by(Compiler(TENSORRT), graph, spec, plan, timing)

    def run(
        self, plan: Path, spec: ModelSpec, inputs: Sequence[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]]:
        try:
            return apart(run_here, plan, spec, list(inputs))
        except ProcessDied as error:
            raise EngineError(
                "the process that ran its plan died: TensorRT crashed, or memory ran out"
            ) from error


def machine_to_build_on() -> Machine:
    """As :meth:`NvidiaEngines.machine`, in this process."""
    machine = find_machine()
    try:
        package = str(load_library(TENSORRT).__version__)
    except ImportError as error:
        raise NoGpuError(f"TensorRT's Python package cannot be imported ({error})") from error
    if package.split(".")[:2] != machine.tensorrt.split(".")[:2]:
        raise NoGpuError(
            f"TensorRT's Python package is of version {package} and its library of {machine.tensorrt}; "
            "requirements/plan.txt must name the library's"
        )
    return machine


def find_machine() -> Machine:
    """This machine as one that serves plans, found in this process, without TensorRT's Python package.

    Raises NoGpuError.
    """
    try:
        cuda = _cuda()
        names = sorted({_gpu(cuda, index) for index in range(_call(cuda.cudaGetDeviceCount()))})
    except ImportError as error:
        raise NoGpuError(f"there is no {error.name}, which speaks with the GPU") from error
    except (CudaError, RuntimeError) as error:
        raise NoGpuError(f"there is no GPU ({error})") from error
    if not names:
        raise NoGpuError("there is no GPU")
    if len(names) > 1:
        kinds = " and ".join(name for name, _ in names)
        raise NoGpuError(f"there is a {kinds}: plans fit one kind, so choose with CUDA_VISIBLE_DEVICES")
    ((name, capability),) = names
    return Machine(gpu=name, compute_capability=capability, tensorrt=library_version())


def library_version() -> str:
    """The version of TensorRT's library, which may differ from its Python package's. Raises NoGpuError."""
    for name in LIBRARIES:
        try:
            number = int(ctypes.CDLL(name).getInferLibVersion())
        except (OSError, AttributeError):
            continue
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    raise NoGpuError(f"there is no {' nor '.join(LIBRARIES)}, the library of TensorRT")


def run_here(
    plan: Path, spec: ModelSpec, inputs: Sequence[dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """As :meth:`NvidiaEngines.run`, in this process."""
    trt, cuda = load_library(TENSORRT), _cuda()
    log = make_log(trt)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    context = None if engine is None else engine.create_execution_context()
    if context is None:
        raise EngineError(f"TensorRT cannot load its plan: {first_line(log.errors)}")
    try:
        with _stream(cuda) as stream:
            return [_run_one(cuda, context, stream, spec, arrays, log) for arrays in inputs]
    except CudaError as error:
        raise EngineError(f"CUDA cannot run its plan: {error}") from error


def _run_one(
    cuda: Any, context: Any, stream: Any, spec: ModelSpec, arrays: dict[str, np.ndarray], log: Any
) -> dict[str, np.ndarray]:
    held: list[Any] = []
    try:
        for tensor in spec.inputs:
            array = np.ascontiguousarray(arrays[tensor.name])
            if not context.set_input_shape(tensor.name, array.shape):
                raise EngineError(f"TensorRT refuses {tensor.name}{array.shape}: {first_line(log.errors)}")
            held.append(_call(cuda.cudaMalloc(max(1, array.nbytes))))
            _call(
                cuda.cudaMemcpy(
                    held[-1], array.ctypes.data, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
                )
            )
            context.set_tensor_address(tensor.name, int(held[-1]))
        outputs = {}
        for tensor in spec.outputs:
            # Known once all inputs have their shapes.
            shape = tuple(context.get_tensor_shape(tensor.name))
            outputs[tensor.name] = np.empty(shape, DTYPES[tensor.dtype])
            held.append(_call(cuda.cudaMalloc(max(1, outputs[tensor.name].nbytes))))
            context.set_tensor_address(tensor.name, int(held[-1]))
        if not context.execute_async_v3(int(stream)):
            raise EngineError(f"TensorRT cannot run its plan: {first_line(log.errors)}")
        _call(cuda.cudaStreamSynchronize(stream))
        for pointer, array in zip(held[len(spec.inputs) :], outputs.values(), strict=True):
            _call(
                cuda.cudaMemcpy(
                    array.ctypes.data, pointer, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
                )
            )
        return outputs
    finally:
        for pointer in held:
            cuda.cudaFree(pointer)


class CudaError(Exception):
    """CUDA's name of what went wrong."""


def _cuda() -> Any:
    from cuda.bindings import runtime

    return runtime


def _call(answer: tuple[Any, ...]) -> Any:
    """The result of a call of CUDA's runtime, which answers with its status first. Raises CudaError."""
    status, *results = answer
    if int(status):
        raise CudaError(status.name)
    return results[0] if results else None


def _gpu(cuda: Any, index: int) -> tuple[str, str]:
    facts = _call(cuda.cudaGetDeviceProperties(index))
    return facts.name.split(b"\0")[0].decode(), f"{facts.major}.{facts.minor}"


@contextmanager
def _stream(cuda: Any) -> Iterator[Any]:
    stream = _call(cuda.cudaStreamCreate())
    try:
        yield stream
    finally:
        cuda.cudaStreamDestroy(stream)
