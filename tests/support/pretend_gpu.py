"""ONNX Runtime as on a machine with a GPU: what ``runners.Runtime`` asks of it, computed on the CPU.

It stands in for the one part that cannot run here. Its CUDA graphs behave as ONNX Runtime's: a replay reads and writes
the buffers that were bound when the graph was recorded, whatever is bound now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from runners import CPU, CUDA, NO_GRAPH, Array


class Buffer:
    """A value in the GPU's memory."""

    def __init__(self, shape: Sequence[int], dtype: Any, device: str, device_id: int) -> None:
        assert device == "cuda"
        self.array: Array = np.zeros(tuple(shape), dtype)
        self.device_id = device_id

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Sequence[int], dtype: Any, device: str, device_id: int
    ) -> Buffer:
        return cls(shape, dtype, device, device_id)

    def update_inplace(self, array: Array) -> None:
        assert array.flags.c_contiguous
        assert (array.shape, array.dtype) == (self.array.shape, self.array.dtype)
        self.array[...] = array


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, Array | Buffer] = {}
        self.outputs: dict[str, Buffer | int] = {}
        """A buffer, or the device on which one is made by the run."""
        self.results: dict[str, Array] = {}
        self.synchronized = False

    def bind_cpu_input(self, name: str, array: Array) -> None:
        assert name not in self.inputs, "copied twice"
        assert array.flags.c_contiguous
        self.inputs[name] = array.copy()

    def bind_output(self, name: str, device: str, device_id: int) -> None:
        assert device == "cuda"
        assert name not in self.outputs, "bound twice"
        self.outputs[name] = device_id

    def bind_ortvalue_input(self, name: str, value: Buffer) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: Buffer) -> None:
        self.outputs[name] = value

    def synchronize_inputs(self) -> None:
        self.synchronized = True

    def copy_outputs_to_cpu(self) -> list[Array]:
        return [self.results[name].copy() for name in self.outputs]


class Session:
    """Computes on the CPU, and says it is on the GPU unless it ``falls_back``."""

    def __init__(self, gpu: PretendGpu, session: Any, options: Mapping[str, str]) -> None:
        self._gpu, self._session, self.options = gpu, session, options
        self.graphs: dict[int, tuple[dict[str, Buffer], dict[str, Buffer]]] = {}
        """The recorded ones: the buffers of their inputs and outputs."""
        self.runs: list[int] = []
        """The graph of each run."""
        self.broken = False

    def get_providers(self) -> list[str]:
        return [CPU] if self._gpu.falls_back else [CUDA, CPU]

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: onnxruntime.RunOptions) -> None:
        graph = int(options.get_run_config_entry("gpu_graph_id"))
        self.runs.append(graph)
        assert binding.synchronized, "the copies of the inputs may not have ended"
        binding.synchronized = False
        if self.broken:
            raise RuntimeError("the stream is still recording")
        if graph == NO_GRAPH:
            inputs = {name: _array(value) for name, value in binding.inputs.items()}
            outputs = self._session.run(list(binding.outputs), inputs)
            binding.results = dict(zip(binding.outputs, outputs, strict=True))
            return
        assert self.options["enable_cuda_graph"] == "1"
        if graph not in self.graphs:
            if self._gpu.cannot_record:
                self.broken = True
                raise RuntimeError("operation not permitted when stream is capturing")
            self.graphs[graph] = (_buffers(binding.inputs), _buffers(binding.outputs))
        from_, into = self.graphs[graph]
        outputs = self._session.run(list(into), {name: value.array for name, value in from_.items()})
        for buffer, output in zip(into.values(), outputs, strict=True):
            buffer.array[...] = output
        binding.results = {name: _array(value) for name, value in _buffers(binding.outputs).items()}


def _array(value: Array | Buffer) -> Array:
    return value.array if isinstance(value, Buffer) else value


def _buffers(bound: Mapping[str, Any]) -> dict[str, Buffer]:
    assert all(isinstance(value, Buffer) for value in bound.values()), "a graph needs addresses that stay"
    return dict(bound)


class PretendGpu:
    """``runners.Runtime``. What may go wrong on a machine is an attribute."""

    OrtValue, RunOptions = Buffer, onnxruntime.RunOptions

    def __init__(self) -> None:
        self.has_provider = True
        """Whether the wheel is the one with CUDA."""
        self.falls_back = False
        """Whether sessions run on the CPU, without an error."""
        self.refuses = ""
        """Why a session cannot be made."""
        self.refuses_graphs = False
        """Whether a session that may record cannot be made, for a graph with control flow."""
        self.cannot_record = False
        """Whether recording fails, and leaves a session that fails too."""
        self.preloaded = False
        self.sessions: list[Session] = []

    def get_available_providers(self) -> list[str]:
        return [CUDA, CPU] if self.has_provider else [CPU]

    def preload_dlls(self) -> None:
        self.preloaded = True

    def InferenceSession(
        self, file: Path, session_options: Any, *, providers: Sequence[Any], enable_fallback: int = 1
    ) -> Any:
        session = onnxruntime.InferenceSession(file, session_options, providers=[CPU])
        if providers == [CPU]:
            return session
        assert self.preloaded, "CUDA's libraries are not found by themselves"
        assert not enable_fallback
        (name, options), last = providers
        assert (name, last) == (CUDA, CPU)
        assert all(isinstance(value, str) for value in options.values())
        if self.refuses:
            raise RuntimeError(self.refuses)
        if self.refuses_graphs and options["enable_cuda_graph"] == "1":
            raise RuntimeError("the model has control flow nodes")
        self.sessions.append(Session(self, session, options))
        return self.sessions[-1]
